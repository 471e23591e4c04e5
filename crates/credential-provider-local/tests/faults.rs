//! Disks that fill up and devices that fail: what was acknowledged stays, and nothing else is acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{child_arguments, count, get, head, process_under, put, said, say, scratch, version};
use nebula_credential_core::ErrorKind;
use nebula_credential_provider_local::LocalStorage;
use nebula_credential_testkit::skip;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Runs when [`process_under`] starts this program; otherwise there is nothing to do.
#[test]
fn child() {
    let Some(arguments) = child_arguments() else {
        return;
    };
    let store = LocalStorage::existing(&arguments[0]);
    let from: u32 = arguments[1].parse().unwrap();
    let mut next = from;
    for _ in 0..4 {
        match put(&store, "a", next, &next.to_string()) {
            Ok(_) => {
                say(&format!("stored {next}"));
                next += 1;
            }
            Err(error) => {
                say(&format!("failed {next} {} {error}", error.kind().as_str()));
                // Read before writing again, as the message says. The old value or the new one is there.
                // The fault may strike a read too: strace counts the calls of each thread by themselves.
                let found = head(&store, "a")
                    .or_else(|_| head(&store, "a"))
                    .unwrap()
                    .latest
                    .get();
                assert!(found == next || found == next - 1);
                assert_eq!(get(&store, "a").unwrap(), found.to_string());
                next = found + 1;
            }
        }
    }
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_the_old_value_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = c"size=1m,mode=0700";
    if mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), options).is_err() {
        return skip(
            "a_full_disk_is_a_clear_error_and_the_old_value_stays",
            "cannot mount a file system",
        );
    }
    let _mounted = Mounted(dir.path());
    let filler = dir.path().join("filler");
    fs::write(&filler, vec![1; 300 * 1024]).unwrap();
    let store = LocalStorage::new(dir.path().join("secrets"));
    let text = |number: u32| format!("{number} {}", "x".repeat(20_000));
    let mut stored = 0;
    let error = loop {
        match put(&store, "a", stored + 1, &text(stored + 1)) {
            Ok(head) => stored = head.latest.get(),
            Err(error) => break error,
        }
        assert!(stored < 1000, "a disk of 1 MiB never filled up");
    };
    assert!(stored > 3);
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    for _ in 0..3 {
        assert_eq!(head(&store, "a").unwrap().latest, version(stored));
        assert_eq!(get(&store, "a").unwrap(), text(stored));
        assert_eq!(
            put(&store, "a", stored + 1, &text(stored + 1))
                .unwrap_err()
                .kind(),
            ErrorKind::Storage
        );
    }
    fs::remove_file(&filler).unwrap();
    put(&store, "a", stored + 1, "small").unwrap();
    assert_eq!(get(&store, "a").unwrap(), "small");
    println!("full disk: {stored} versions stored and kept, then: {error}");
    drop(store);
    let store = LocalStorage::existing(dir.path().join("secrets"));
    assert_eq!(get(&store, "a").unwrap(), "small");
}

/// Has `call` fail with `error` the `nth` time a process makes it, while that process stores one version after another.
/// How the failed put was reported.
fn inject(call: &str, error: &str, nth: u64) -> Option<String> {
    let (_dir, store) = scratch();
    for number in 1..=3 {
        put(&store, "a", number, &number.to_string()).unwrap();
    }
    let path = store.path().to_owned();
    drop(store);
    let rule = format!("inject={call}:error={error}:when={nth}");
    let trace = format!("trace={call}");
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &trace,
        "-e",
        &rule,
    ];
    let output = process_under(&strace, &[path.to_str().unwrap(), "4"])
        .output()
        .unwrap();
    let lines = said(&String::from_utf8(output.stdout).unwrap());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{call} {error} {nth}: {lines:?} {stderr}"
    );

    let store = LocalStorage::existing(&path);
    let failed = lines.iter().find_map(|line| line.strip_prefix("failed "));
    let acknowledged = lines
        .iter()
        .filter_map(|line| line.strip_prefix("stored "))
        .map(|number| number.parse::<u32>().unwrap())
        .collect::<Vec<_>>();
    assert!(acknowledged.len() >= 3, "{call} {error} {nth}: {lines:?}");
    // Whatever was acknowledged is there. The last put succeeded or was the one that failed.
    let last = *acknowledged.last().unwrap();
    let found = head(&store, "a").unwrap().latest.get();
    assert!(
        found == last || found == last + 1,
        "{call} {error} {nth}: {found} {lines:?}"
    );
    assert_eq!(get(&store, "a").unwrap(), found.to_string());
    for number in acknowledged {
        let selector = nebula_credential_core::Selector::Exact(version(number));
        assert_eq!(
            common::get_version(&store, "a", selector).unwrap(),
            number.to_string()
        );
    }
    failed.map(str::to_owned)
}

fn strace_works() -> bool {
    Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_failed_sync_is_never_acknowledged() {
    if !strace_works() {
        return skip("a_failed_sync_is_never_acknowledged", "strace cannot trace here");
    }
    let mut reported = 0;
    let mut refused = 0;
    for nth in 1..=count("NEBULA_FAULT_COUNT", 4) {
        if let Some(failed) = inject("fsync,fdatasync", "EIO", nth) {
            let rest = failed.split_once(' ').map_or("", |(_, rest)| rest);
            if rest.starts_with("storage ") {
                // The directory, before anything was written: nothing is in doubt.
                assert!(rest.contains("sync"), "{failed}");
                refused += 1;
                continue;
            }
            assert!(rest.starts_with("outcome_unknown"), "{failed}");
            assert!(
                rest.contains("read the credential before writing again"),
                "{failed}"
            );
            reported += 1;
        }
    }
    println!(
        "failed syncs: {reported} reported as an unknown outcome, {refused} refused before the write, 0 acknowledged"
    );
    assert!(
        reported >= 2 && refused >= 1,
        "only {reported} and {refused} failures reached the store"
    );
}

#[test]
fn a_failed_write_leaves_the_old_value_or_the_new_one() {
    if !strace_works() {
        return skip(
            "a_failed_write_leaves_the_old_value_or_the_new_one",
            "strace cannot trace here",
        );
    }
    let mut reported = 0;
    for (error, kinds) in [
        ("ENOSPC", ["storage "; 2]),
        ("EIO", ["storage ", "outcome_unknown "]),
    ] {
        for nth in 1..=count("NEBULA_FAULT_COUNT", 4) {
            if let Some(failed) = inject("pwrite64", error, nth) {
                let rest = failed.split_once(' ').map_or("", |(_, rest)| rest);
                assert!(
                    kinds.iter().any(|kind| rest.starts_with(kind)),
                    "{error} {nth}: {failed}"
                );
                reported += 1;
            }
        }
    }
    println!("failed writes: {reported} reported, the old value or the new one found after each");
    assert!(reported >= 6, "only {reported} failures reached the store");
}
