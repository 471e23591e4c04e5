//! Several processes. A test starts its own binary again, as a child that plays the other side.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nebula_credential_fs::{FileLock, PrivateDir};

/// Names the directory; only a child has it.
const CHILD: &str = "NEBULA_FS_TEST_CHILD";

fn child_dir() -> Option<PrivateDir> {
    env::var_os(CHILD).map(|path| PrivateDir::open(PathBuf::from(path)).unwrap())
}

/// Tells the parent, on a line that the test harness leaves alone.
fn ready() {
    let mut out = std::io::stdout().lock();
    out.write_all(b"\nready\n").unwrap();
    out.flush().unwrap();
}

struct Other(Child);

impl Other {
    /// Runs `test` of this binary as a child, and waits until it is ready.
    fn start(test: &str, dir: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "ready");
        let child = Self(child);
        assert!(ready, "the child died");
        child
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_lock_excludes_other_processes_and_dies_with_its_holder() {
    if let Some(dir) = child_dir() {
        let _lock = FileLock::lock(&dir, "lock").unwrap();
        ready();
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
    let other = Other::start(
        "a_lock_excludes_other_processes_and_dies_with_its_holder",
        dir.path(),
    );
    assert!(FileLock::try_lock(&dir, "lock").unwrap().is_none());
    // Another name is another lock.
    assert!(FileLock::try_lock(&dir, "free").unwrap().is_some());

    let inherited = thread::scope(|scope| {
        let waiter = scope.spawn(|| FileLock::lock(&dir, "lock").unwrap());
        thread::sleep(Duration::from_millis(100));
        assert!(!waiter.is_finished(), "the lock did not wait");
        other.kill();
        waiter.join().unwrap()
    });
    assert!(FileLock::try_lock(&dir, "lock").unwrap().is_none());
    drop(inherited);
    assert!(FileLock::try_lock(&dir, "lock").unwrap().is_some());
}

#[test]
fn a_lock_excludes_other_threads_and_survives_the_removal_of_its_file() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
    // A waiter that sleeps, one that sleeps after it has looked in vain, and one that looks all the time.
    for spin in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(60)] {
        let held = FileLock::lock(&dir, "lock").unwrap();
        assert!(FileLock::try_lock(&dir, "lock").unwrap().is_none());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| FileLock::lock_spinning(&dir, "lock", spin).unwrap());
            thread::sleep(Duration::from_millis(50));
            assert!(!waiter.is_finished(), "the lock did not wait");
            // The waiter now waits on a file that is no longer the lock's.
            fs::remove_file(dir.path().join("lock")).unwrap();
            drop(held);
            let lock = waiter.join().unwrap();
            assert!(FileLock::try_lock(&dir, "lock").unwrap().is_none(), "two holders");
            drop(lock);
        });
    }
}

/// Content number `n`: its length and every word follow from `n`.
fn content(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(2000 + usize::try_from(n % 500).unwrap())
}

#[test]
fn a_killed_writer_leaves_a_whole_file_and_nothing_that_stays() {
    if let Some(dir) = child_dir() {
        ready();
        for n in 1.. {
            dir.replace("key", &content(n)).unwrap();
        }
    }
    let cycles = env::var("NEBULA_FS_KILLS").map_or(20_u64, |n| n.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
    let mut changed = 0;
    for cycle in 0..cycles {
        dir.replace("key", &content(0)).unwrap();
        let other = Other::start(
            "a_killed_writer_leaves_a_whole_file_and_nothing_that_stays",
            dir.path(),
        );
        thread::sleep(Duration::from_micros(3000 + cycle * 7919 % 20_000));
        other.kill();
        let found = dir.read("key", 1 << 20).unwrap().unwrap();
        let n = u32::from_le_bytes(found[..4].try_into().unwrap());
        assert!(*found == content(n), "a mixture, or a part, of contents");
        changed += u64::from(n > 0);
    }
    println!("kills: {cycles}, of which {changed} amid changes; every file was whole");
    assert!(
        changed * 2 > cycles,
        "only {changed} of {cycles} writers wrote anything"
    );
    dir.replace("key", b"x").unwrap();
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "a temporary file stayed"
    );
}
