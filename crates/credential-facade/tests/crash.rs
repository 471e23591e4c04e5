//! A writer that is killed at random loses nothing it acknowledged and leaves nothing unreadable.
//!
//! The writer is this test binary, started again. It says what it is about to do and what was acknowledged; the test
//! kills it, opens the store anew and compares. `NEBULA_PROOF_COUNT` sets the number of kills.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nebula_credential::prelude::*;

const DIRECTORY: &str = "NEBULA_CRASH_DIRECTORY";
const SEED: &str = "NEBULA_CRASH_SEED";

#[derive(Credential)]
struct Counter {
    #[secret]
    value: String,
}

fn manager(directory: &Path) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
        .keep_versions(5)
        .build()
}

/// xorshift64*: the same kills for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// The writer: changes credentials until it is killed.
#[tokio::test]
async fn writer() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let mut random = Random(std::env::var(SEED).unwrap().parse().unwrap());
    let manager = manager(&directory);
    manager.open().await.unwrap();
    say("ready");
    for i in 0.. {
        let name = format!("c{}", random.below(6));
        let value = format!("{}-{i}", std::process::id());
        match random.below(20) {
            0 => {
                say(&format!("try delete {name} -"));
                say(outcome(manager.delete(&name).await));
            }
            1 => match manager.rotate_key().await {
                Ok(_) => say("key"),
                // A ring remembers so many keys; a long run comes there.
                Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}"),
            },
            2 => {
                manager.rewrap(|_| ()).await.unwrap();
                say("rewrapped");
            }
            n => {
                say(&format!("try put {name} {value}"));
                let cred = Counter { value };
                if n < 10 {
                    manager.store(&name, cred).await.unwrap();
                    say("ack");
                } else {
                    say(outcome(manager.rotate(&name, cred).await));
                }
            }
        }
    }
}

/// A change that finds nothing is refused; any other error is a failure of the test.
fn outcome<T>(result: Result<T, CredentialError>) -> &'static str {
    match result {
        Ok(_) => "ack",
        Err(error) if error.is_not_found() => "no",
        Err(error) => panic!("{error}"),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").unwrap();
    out.flush().unwrap();
}

/// What the writer said of one name: what it must be, and what it may have become meanwhile.
#[derive(Default)]
struct Known {
    acknowledged: Option<String>,
    attempted: Option<Option<String>>,
}

#[test]
fn killed_writers_lose_nothing() {
    let kills = std::env::var("NEBULA_PROOF_COUNT").map_or(15_u64, |n| n.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut known = BTreeMap::<String, Known>::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut done, mut versions, mut slowest) = (Done::default(), 0_u64, Duration::ZERO);
    for _ in 0..kills {
        run_and_kill(directory.path(), &mut known, &mut random, &mut done);
        let begun = Instant::now();
        let manager = manager(directory.path());
        runtime.block_on(manager.open()).unwrap();
        runtime.block_on(manager.list()).unwrap();
        slowest = slowest.max(begun.elapsed());
        for (name, known) in &mut known {
            let found = runtime.block_on(current(&manager, name));
            let lawful = found == known.acknowledged || known.attempted.as_ref() == Some(&found);
            assert!(
                lawful,
                "{name}: found {found:?}, acknowledged {:?}, attempted {:?}",
                known.acknowledged, known.attempted
            );
            *known = Known {
                acknowledged: found.clone(),
                attempted: None,
            };
            if found.is_some() {
                versions += runtime.block_on(read_all(&manager, name));
            }
        }
    }
    let Done {
        writes,
        keys,
        rewraps,
    } = done;
    println!(
        "kills: {kills}, acknowledged writes: {writes}, lost: 0, among {keys} key rotations and {rewraps} rewraps, \
         versions read: {versions}, unreadable: 0, slowest reopening: {slowest:?}"
    );
    assert!(writes > 0);
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

/// What the writers brought to an end before they were killed.
#[derive(Default)]
struct Done {
    writes: u64,
    keys: u64,
    rewraps: u64,
}

fn run_and_kill(directory: &Path, known: &mut BTreeMap<String, Known>, random: &mut Random, done: &mut Done) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(SEED, (random.below(u64::from(u32::MAX)) + 1).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(writer.stdout.take().unwrap());
    let delay = Duration::from_micros(random.below(60_000));
    let (ready, wait_ready) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        // The test harness writes before and after what the writer says on its first line.
        for line in output.lines().map_while(Result::ok) {
            if let Some((_, said)) = line.split_once('@') {
                if said == "ready" {
                    let _ = ready.send(());
                }
                lines.push(said.to_owned());
            }
        }
        lines
    });
    wait_ready
        .recv_timeout(Duration::from_secs(30))
        .expect("the writer opens the store");
    std::thread::sleep(delay);
    writer.kill().unwrap();
    let status = writer.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the writer failed before it was killed");
    let mut attempt: Option<(String, Option<String>)> = None;
    for line in reader.join().unwrap() {
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["try", "put", name, value] => attempt = Some(((*name).to_owned(), Some((*value).to_owned()))),
            ["try", "delete", name, _] => attempt = Some(((*name).to_owned(), None)),
            ["ack"] => {
                let (name, value) = attempt.take().expect("an attempt");
                known.insert(
                    name,
                    Known {
                        acknowledged: value,
                        attempted: None,
                    },
                );
                done.writes += 1;
            }
            ["key"] => done.keys += 1,
            ["rewrapped"] => done.rewraps += 1,
            // Refused: there is nothing to rotate or delete.
            ["no"] => {
                let (name, _) = attempt.take().expect("an attempt");
                known.entry(name).or_default().attempted = None;
            }
            _ => {}
        }
        if let Some((name, value)) = &attempt {
            known.entry(name.clone()).or_default().attempted = Some(value.clone());
        }
    }
}

async fn current(manager: &CredentialManager, name: &str) -> Option<String> {
    match manager.get::<Counter>(name).await {
        Ok(counter) => Some(counter.value.clone()),
        Err(error) if error.is_not_found() => None,
        Err(error) => panic!("{name} is unreadable: {error}"),
    }
}

async fn read_all(manager: &CredentialManager, name: &str) -> u64 {
    let versions = manager.versions(name).await.unwrap();
    for version in &versions {
        manager
            .get_version::<Counter>(name, version.version)
            .await
            .unwrap();
    }
    versions.len() as u64
}
