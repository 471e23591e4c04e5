//! A rotation in one process is seen by the next read in another that keeps values in memory.
//!
//! The other process is this test binary, started again: it reads from its cache without pause, and says of each new
//! value when the last read of the old one began, and when the first of the new one did.

#![cfg(feature = "cache")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its figure"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential::{Clock as _, SystemClock};

const DIRECTORY: &str = "NEBULA_FRESHNESS_DIRECTORY";
const ROUNDS: u32 = 100;

#[derive(Credential)]
struct Counter {
    #[secret]
    value: String,
}

fn counter(value: u32) -> Counter {
    Counter {
        value: value.to_string(),
    }
}

fn manager(directory: &Path) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
        .cache_ttl(Duration::from_secs(300))
        .build()
}

fn now() -> i64 {
    SystemClock.now().timestamp_micros()
}

async fn read(manager: &CredentialManager) -> u32 {
    manager.get::<Counter>("n").await.unwrap().value.parse().unwrap()
}

/// The other process.
#[tokio::test]
async fn reader() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let manager = manager(&directory);
    let (mut seen, mut previous) = (None, 0);
    while seen != Some(ROUNDS) {
        let began = now();
        let value = read(&manager).await;
        if seen != Some(value) {
            println!("@{value} {previous} {began}");
            seen = Some(value);
        }
        previous = began;
        std::thread::yield_now();
    }
    let stats = manager.cache_stats().unwrap();
    println!("@hits {}", stats.hits);
}

#[tokio::test]
async fn a_rotation_is_seen_by_the_next_read_in_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let manager = manager(directory.path());
    manager.store("n", counter(0)).await.unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reader", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| Some(line.split_once('@')?.1.to_owned()));
    assert!(lines.next().unwrap().starts_with("0 "));

    let mut longest = i64::MIN;
    for value in 1..=ROUNDS {
        manager.rotate("n", counter(value)).await.unwrap();
        let acknowledged = now();
        let line = lines.next().unwrap();
        let told: Vec<i64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [seen, last_old, first_new] = told[..] else {
            panic!("{line}")
        };
        assert_eq!(seen, i64::from(value), "no value is skipped, and none comes back");
        assert!(
            last_old <= acknowledged,
            "an old value was read {} µs late",
            last_old - acknowledged
        );
        longest = longest.max(first_new - acknowledged);
    }
    let hits: u64 = lines
        .next()
        .unwrap()
        .strip_prefix("hits ")
        .unwrap()
        .parse()
        .unwrap();
    assert!(child.wait().unwrap().success());
    println!(
        "{ROUNDS} rotations, each seen by a process that served {hits} reads from memory; no read that began after an \
         acknowledgement saw an old value; the first to see a new one began at most {longest} µs after it"
    );
    // How many depends on how much of a processor the other process gets.
    assert!(hits > 0, "no read was served from memory");
}
