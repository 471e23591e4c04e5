//! Another process that uses the store meanwhile: this test program, started again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nebula_credential::types::SecretTextCredential;
use serde::{Deserialize, Serialize};

use crate::place::{Random, manager, name, stored};

const DIRECTORY: &str = "NEBULA_REWRAP_DIRECTORY";
const ROLE: &str = "NEBULA_REWRAP_ROLE";
const RECORDS: &str = "NEBULA_REWRAP_RECORDS_THERE";

/// What a peer does, without pause while it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads credentials by chance and compares them.
    Reader,
    /// Stores versions of one more credential.
    Writer,
}

/// What it did in one interval; times in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) count: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

pub(crate) struct Peer {
    process: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(directory: &Path, records: usize, role: Role) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "peer::peer", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .env(ROLE, format!("{role:?}"))
            .env(RECORDS, records.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut peer = Self {
            orders: process.stdin.take().unwrap(),
            said: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        assert_eq!(peer.hear(), "ready");
        peer
    }

    /// Begins an interval.
    pub(crate) fn go(&mut self) {
        writeln!(self.orders, "go").unwrap();
        assert_eq!(self.hear(), "going");
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) -> Interval {
        writeln!(self.orders, "stop").unwrap();
        serde_json::from_str(&self.hear()).unwrap()
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "the peer ended");
            // The test harness writes before and after what the peer says.
            if let Some((_, said)) = line.trim_end().split_once('@') {
                return said.to_owned();
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The peer itself; without its environment there is nothing to do.
#[tokio::test]
async fn peer() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let records: usize = std::env::var(RECORDS).unwrap().parse().unwrap();
    let role = match std::env::var(ROLE).unwrap().as_str() {
        "Reader" => Role::Reader,
        _ => Role::Writer,
    };
    let manager = manager(&directory);
    manager.open().await.unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let orders = orders();
    say("ready");
    // Whoever gave the orders is gone, one way or the other, when there are no more.
    while let Ok(order) = orders.recv() {
        assert_eq!(order, "go");
        let (mut times, mut failed) = (Vec::new(), Vec::new());
        say("going");
        loop {
            let number = random.below(records);
            let begun = Instant::now();
            let done = match role {
                Role::Reader => manager.get_raw(name(number)).await.map(|found| {
                    let right = found.expose() == stored(number).as_bytes();
                    right.then_some(()).ok_or_else(|| "another value".to_owned())
                }),
                Role::Writer => {
                    let text = SecretTextCredential::new(stored(number));
                    manager.store("beside", text).await.map(|_| Ok(()))
                }
            };
            times.push(begun.elapsed());
            if let Err(why) = done.map_err(|error| error.to_string()).flatten() {
                failed.push(format!("{}: {why}", name(number)));
            }
            if orders.try_recv() != Err(mpsc::TryRecvError::Empty) {
                break;
            }
        }
        say(&serde_json::to_string(&interval(times, failed)).unwrap());
    }
}

fn interval(mut times: Vec<Duration>, failed: Vec<String>) -> Interval {
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        let time = times.get(place.min(times.len().saturating_sub(1)));
        time.copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    Interval {
        count: times.len(),
        failed,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    }
}

fn orders() -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").unwrap();
    out.flush().unwrap();
}
