//! Nothing that sealing and opening wrote on the stack below them is left there.
//!
//! What matters is the optimised build: `cargo test --release -p nebula-credential-cache --lib reach`.

#![allow(clippy::print_stdout, reason = "a test and its figures")]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use nebula_credential_core::{CredentialName, CredentialRef, Scope, TenantId};

use super::*;

/// How far below the frame of the test it looks.
const WINDOW: usize = 96 * 1024;
/// What the stack is painted with.
const PAINT: u8 = 0xA5;
/// How much of it an operation overwrites when it is done.
const REACH: usize = if cfg!(debug_assertions) {
    32 * 1024
} else {
    STACK_REACH
};
/// What writing the zeros leaves below them: the return address of a call, and registers.
const CALL: usize = 64;
/// What is called after the zeros were written has frames among them: without optimisation, moves are calls.
const AFTER: usize = if cfg!(debug_assertions) { 1024 } else { 0 };

#[inline(never)]
fn paint() {
    black_box(&mut [PAINT; WINDOW]);
}

/// The stack below this frame after `work`, from the deepest byte written on.
#[inline(never)]
fn left_by(mut work: impl FnMut()) -> Vec<u8> {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut stack = vec![0; WINDOW];
    // Whatever happens once only, such as the lookup of a symbol, has happened.
    work();
    let frame = [0_u8; 16];
    let top = black_box(&frame).as_ptr().addr();
    paint();
    work();
    memory.read_exact_at(&mut stack, (top - WINDOW) as u64).unwrap();
    // The paint does not reach all the way up, or down.
    let painted = stack.iter().position(|byte| *byte == PAINT).unwrap();
    let deepest = stack[painted..].iter().position(|byte| *byte != PAINT).unwrap();
    stack.split_off(painted + deepest)
}

fn is_scrubbed(stack: &[u8]) -> bool {
    let call = stack[..CALL]
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let zeros = stack[call..].iter().take_while(|byte| **byte == 0).count();
    println!("{call} bytes, then {zeros} of zeros");
    zeros >= REACH - CALL - AFTER
}

fn key() -> Key {
    Key::latest(&CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new("a".repeat(128)).unwrap(),
    ))
}

#[test]
fn what_seals_and_opens_leaves_zeros_below_it() {
    let (vault, key) = (Vault::new().unwrap(), key());
    for size in [0, 40, 1000, 5000, 100_000] {
        let value = Plaintext::new(vec![0x70; size]);
        let sealed = vault.seal(&key, 0, &value).unwrap();
        assert!(is_scrubbed(&left_by(|| drop(vault.seal(&key, 0, &value)))));
        assert!(is_scrubbed(&left_by(|| drop(vault.open(&key, 0, &sealed)))));
    }
}

#[test]
fn the_look_finds_what_the_cipher_leaves() {
    let vault = Vault::new().unwrap();
    let mut bytes = [0x70; 1000];
    let left = left_by(|| {
        vault.encrypt(&[0; NONCE_LEN], b"an address", &mut bytes).unwrap();
    });
    println!("reaches {} bytes down", left.len());
    assert!(left.len() > 1024 && left.len() < REACH);
    assert!(left[..1024].iter().any(|byte| *byte != 0));
}
