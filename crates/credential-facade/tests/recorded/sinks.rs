//! Sinks whose other end does not do its part.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nebula_credential::audit::{AuditSink as _, Entry, WriterSink};
use nebula_credential::prelude::*;

use crate::{Place, value};

/// A manager with one credential whose records are copied to the other end of what is returned; four of them may wait.
async fn copied_to_a_socket(place: &Place) -> (CredentialManager, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sink = WriterSink::new("siem", ours, 4).unwrap();
    let alice = place.ungoverned(place.log().sink(sink).build()).build();
    alice.store("db", value()).await.unwrap();
    (alice, theirs)
}

#[tokio::test]
async fn a_socket_whose_peer_dies_holds_nothing_up_and_its_losses_are_on_record() {
    let place = Place::new();
    let (alice, theirs) = copied_to_a_socket(&place).await;
    let mut peer = BufReader::new(theirs);
    let mut copy = String::new();
    while !copy.contains("\"created\",\"stage\":\"outcome\"") {
        peer.read_line(&mut copy).unwrap();
    }
    assert!(
        fs::read_to_string(place.path("audit.log"))
            .unwrap()
            .starts_with(&copy)
    );
    drop(peer);
    let since = Instant::now();
    let is_lost = |entry: &Entry| {
        let detail = entry.detail.as_deref().unwrap_or_default();
        entry.event == "records_lost" && detail.ends_with(" by siem")
    };
    while !place.entries().iter().any(is_lost) {
        alice.get::<BasicCredential>("db").await.unwrap();
        assert!(since.elapsed() < Duration::from_secs(20), "no loss was recorded");
    }
    assert!(place.is_intact());
}

#[tokio::test]
async fn a_socket_whose_peer_does_not_read_holds_nothing_up() {
    let place = Place::new();
    let (alice, mut theirs) = copied_to_a_socket(&place).await;
    let since = Instant::now();
    while !place
        .entries()
        .iter()
        .rev()
        .take(2)
        .any(|entry| entry.event == "records_lost")
    {
        // The system takes some hundred kilobytes before the queue fills.
        for _ in 0..200 {
            alice.get::<BasicCredential>("db").await.unwrap();
        }
        assert!(since.elapsed() < Duration::from_secs(20), "no loss was recorded");
    }
    assert!(theirs.read(&mut [0]).is_ok());
    assert!(place.is_intact());
}

/// The most memory this process has had, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn a_sink_that_is_stuck_holds_no_more_than_its_queue() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sink = WriterSink::new("siem", ours, 100).unwrap();
    let record = "x".repeat(60_000);
    let before = peak();
    let taken = (0..5000).filter(|_| sink.take(&record)).count();
    // Of 300 MB, 6 MB wait in the queue, and what the socket holds is the system's.
    assert!((100..400).contains(&taken), "{taken}");
    assert!(peak() - before < 64 << 20, "{}", peak() - before);
    drop(theirs);
}
