//! Unlocks that come at once do not multiply their memory. One test: it reads the process's peak.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::thread;

use nebula_credential_crypto::Argon2Params;
use nebula_credential_crypto::hazmat::argon2id;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn derivations_take_turns() {
    let derive = || {
        let mut key = [0; 32];
        argon2id(b"correct horse", &[9; 16], Argon2Params::FLOOR, &mut key).unwrap();
        key
    };
    let before = peak_kib();
    let expected = derive();
    let one = peak_kib();
    let derived: Vec<_> = thread::scope(|scope| {
        (0..6)
            .map(|_| scope.spawn(derive))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|t| t.join().unwrap())
            .collect()
    });
    let six = peak_kib();
    println!("peak memory: {before} KiB before, {one} KiB after one, {six} KiB after six at once");
    assert!(derived.iter().all(|key| *key == expected));
    assert!(
        one - before > 15 * 1024,
        "control: one derivation shows in the peak"
    );
    assert!(six - one < 15 * 1024, "six at once take no more than one");
}
