//! `ncred key rotate` and `ncred key rewrap`, killed and resumed beside readers and writers.
//!
//! `NEBULA_REWRAP_RECORDS` sets how many credentials there are, `NEBULA_PROOF_COUNT` how many processes are killed, and
//! `NEBULA_REWRAP_WAIT` how many seconds pass between a rotation and the kills: from 300, an old key may be destroyed as
//! soon as nothing needs it, and only its use protects it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod peer;
mod place;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use peer::{Interval, Peer, Role};
use place::{KeyUse, Place, Random};
use serde_json::Value;

/// Of 10,000 records and more, so many are rewrapped in a second.
const RATE: f64 = 5_000.0;
const FULL: usize = 10_000;
/// Uninterrupted rewraps, alone and beside another process.
const ROUNDS: usize = 5;
/// How long a retired key is kept whatever a scan says, in seconds.
const GRACE: u64 = 300;

fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn records() -> usize {
    from_environment("NEBULA_REWRAP_RECORDS", 200)
}

/// Rotates, and times the rewrap from the start of the process to its end.
fn rewrap(place: &Place) -> Duration {
    place.run(&["key", "rotate"]);
    let begun = Instant::now();
    let report = place.json(&["key", "rewrap"]);
    let took = begun.elapsed();
    assert!(report["rewritten"].as_u64().unwrap() >= place.records as u64);
    assert_eq!((&report["current"], &report["failed"]), (&0.into(), &0.into()));
    took
}

/// An interval in which something was done, and nothing failed.
fn sound(interval: Interval) -> Interval {
    assert_eq!(interval.failed, [""; 0]);
    assert!(interval.count > 0);
    interval
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// What a peer does alone, and what it and the rewraps do to each other.
struct Rounds {
    alone: Vec<Interval>,
    beside: Vec<Interval>,
    /// Records per second.
    rates: Vec<f64>,
    slowed: Vec<f64>,
}

impl Rounds {
    fn run(place: &Place, role: Role) -> Self {
        let mut peer = Peer::start(&place.path(), place.records, role);
        let mut rounds = Self {
            alone: Vec::new(),
            beside: Vec::new(),
            rates: Vec::new(),
            slowed: Vec::new(),
        };
        let rate = |took: Duration| place.records as f64 / took.as_secs_f64();
        for _ in 0..ROUNDS {
            let took = rewrap(place);
            rounds.rates.push(rate(took));
            peer.go();
            std::thread::sleep(took);
            rounds.alone.push(sound(peer.stop()));
            place.run(&["key", "rotate"]);
            peer.go();
            let begun = Instant::now();
            place.json(&["key", "rewrap"]);
            rounds.slowed.push(rate(begun.elapsed()));
            rounds.beside.push(sound(peer.stop()));
        }
        rounds
    }

    fn print(&self, what: &str) {
        let of =
            |intervals: &[Interval], time: fn(&Interval) -> f64| median(intervals.iter().map(time).collect());
        let slowest = |rates: &[f64]| rates.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "rewrap: {:.0} records/s alone (slowest of {ROUNDS}: {:.0}), {:.0} beside a {what} (slowest: {:.0})",
            median(self.rates.clone()),
            slowest(&self.rates),
            median(self.slowed.clone()),
            slowest(&self.slowed),
        );
        let (p50, p99) = (
            of(&self.alone, |interval| interval.p50),
            of(&self.alone, |interval| interval.p99),
        );
        let (p50_beside, p99_beside) = (
            of(&self.beside, |interval| interval.p50),
            of(&self.beside, |interval| interval.p99),
        );
        let longest = |intervals: &[Interval]| intervals.iter().fold(0.0, |max: f64, one| max.max(one.max));
        println!(
            "rewrap: a {what} alone: p50 {p50:.0} us, p99 {p99:.0} us, max {:.0} us; beside a rewrap: p50 {p50_beside:.0} \
             us, p99 {p99_beside:.0} us, max {:.0} us; p99 beside / alone: {:.2}; operations: {}, failed: 0",
            longest(&self.alone),
            longest(&self.beside),
            p99_beside / p99,
            self.alone
                .iter()
                .chain(&self.beside)
                .map(|one| one.count)
                .sum::<usize>(),
        );
    }
}

/// A process that was killed, or ended before.
struct End {
    killed: bool,
    took: Duration,
    report: Option<Value>,
}

fn kill(place: &Place, arguments: &[&str], patience: Duration) -> End {
    let begun = Instant::now();
    let mut child = place.spawn(&[arguments, &["--json"]].concat());
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        std::thread::sleep(left.min(Duration::from_micros(300)));
    };
    let took = begun.elapsed();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let killed = status.signal() == Some(9);
    assert!(killed || status.success(), "{arguments:?}: {status}: {words}");
    End {
        killed,
        took,
        report: status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap()),
    }
}

/// Checks everything after a kill: every value, what the doctor says, and that each key in use is there.
fn check(place: &Place, destroyed: &mut BTreeSet<u64>) -> KeyUse {
    let found = place.key_use();
    assert_eq!(found.total(), place.records as u64);
    for key in found.wraps.keys() {
        let state = found.states.get(key).map(String::as_str);
        assert!(
            matches!(state, Some("primary" | "decrypt_only")),
            "key {key} is in use and {state:?}: {found:?}"
        );
    }
    assert_eq!(found.in_state("primary").len(), 1);
    let gone: BTreeSet<u64> = found.in_state("destroyed").into_iter().collect();
    assert!(
        gone.is_superset(destroyed),
        "a destroyed key came back: {found:?}"
    );
    *destroyed = gone;
    assert_eq!(place.read_all(), (place.records, Vec::new()));
    let mut findings = place.findings();
    assert_eq!(findings.remove("key.rewrap"), found.outdated() > 0, "{found:?}");
    // Old keys that nothing needs, and the new key ring of a process that was killed before it took the old one's place.
    for harmless in ["key.unused", "store.leftover"] {
        findings.remove(harmless);
    }
    assert_eq!(findings, BTreeSet::new());
    found
}

#[test]
fn killed_rewraps_lose_nothing_and_an_old_key_goes_only_when_unused() {
    let kills = from_environment("NEBULA_PROOF_COUNT", 5);
    let wait = from_environment("NEBULA_REWRAP_WAIT", 0) as u64;
    let place = Place::filled(records());
    let rounds = Rounds::run(&place, Role::Reader);
    rounds.print("reader");
    if place.records >= FULL {
        assert!(median(rounds.rates.clone()) >= RATE);
    }

    let whole = Duration::from_secs_f64(place.records as f64 / median(rounds.slowed));
    let begun = Instant::now();
    place.json(&["key", "rewrap"]);
    // To start, and to find that there is nothing to do.
    let mut start = begun.elapsed();
    place.run(&["key", "rotate"]);
    std::thread::sleep(Duration::from_secs(wait));
    let old: BTreeSet<u64> = place.key_use().in_state("decrypt_only").into_iter().collect();

    let seed = u64::from(std::process::id());
    println!("rewrap: seed {seed}");
    let mut random = Random(seed);
    let mut destroyed = BTreeSet::new();
    let mut found = check(&place, &mut destroyed);
    let mut counts = Counts::default();
    let mut rotation = start;
    let mut reader = Peer::start(&place.path(), place.records, Role::Reader);
    reader.go();
    while counts.rewraps + counts.rotations < kills {
        counts.reads += sound(reader.stop()).count;
        reader.go();
        let left = found.outdated();
        if left == 0 {
            let end = kill(&place, &["key", "rotate"], rotation.mul_f64(random.share() * 1.3));
            counts.rotations += usize::from(end.killed);
            if !end.killed {
                rotation = (rotation * 3 + end.took) / 4;
            }
            found = check(&place, &mut destroyed);
            assert!(end.killed || found.outdated() == place.records as u64);
            continue;
        }
        // Most of them are killed after a part of the work, so that many are needed to do it; the last fifth anywhere.
        let undone = left as f64 / place.records as f64;
        let parts = (kills - counts.rewraps - counts.rotations).saturating_sub(kills / 5);
        let work = match parts {
            0 => random.share() * 1.3,
            parts => random.share() * 2.0 * undone / parts as f64,
        };
        let patience = start.mul_f64(1.0 - undone * 0.7) + whole.mul_f64(work);
        let end = kill(&place, &["key", "rewrap", "--destroy-unused"], patience);
        counts.rewraps += usize::from(end.killed);
        found = check(&place, &mut destroyed);
        counts.part_done += usize::from(end.killed && (1..left).contains(&found.outdated()));
        counts.completed += usize::from(found.outdated() == 0);
        assert!(found.outdated() <= left);
        // A busy machine starts a process later than it did.
        start = start.mul_f64(if found.outdated() == left { 1.1 } else { 0.95 });
        if let Some(report) = end.report {
            assert_eq!((&report["failed"], found.outdated()), (&0.into(), 0));
        }
    }
    let end = place.json(&["key", "rewrap", "--destroy-unused"]);
    assert_eq!((&end["failed"], &end["gone"]), (&0.into(), &0.into()));
    let found = check(&place, &mut destroyed);
    assert_eq!(
        found.wraps.keys().copied().collect::<Vec<_>>(),
        found.in_state("primary")
    );
    if wait > GRACE {
        assert!(destroyed.is_superset(&old), "{old:?} of {found:?}");
    } else {
        // Too soon, though nothing needs them.
        assert!(destroyed.is_empty(), "{found:?}");
    }
    for kept in end["kept"].as_array().unwrap() {
        assert!(
            kept["reason"].as_str().unwrap().contains("scan again later"),
            "{kept}"
        );
    }
    counts.reads += sound(reader.stop()).count;
    let Counts {
        reads,
        rewraps,
        rotations,
        part_done,
        completed,
    } = counts;
    // A few processes on a busy machine may all be killed before they begin.
    assert!(part_done > 0 || place.records < FULL);
    println!(
        "kills: {kills} ({rewraps} of rewraps, {part_done} of them in the middle of their work; {rotations} of \
         rotations), rewraps brought to their end: {completed}, records: {}, each read and looked at by doctor after \
         each kill, lost: 0, wrong: 0; reads meanwhile: {reads}, failed: 0",
        place.records
    );
    println!(
        "rewrap: keys destroyed: {} of the {} that were retired {wait} s before the first kill, 0 in use; kept: {}",
        destroyed.intersection(&old).count(),
        old.len(),
        found.in_state("decrypt_only").len()
    );
}

#[derive(Default)]
struct Counts {
    reads: usize,
    rewraps: usize,
    rotations: usize,
    /// Killed rewraps that had done some of their work and not all.
    part_done: usize,
    completed: usize,
}

#[test]
fn a_writer_beside_a_rewrap_is_served() {
    let place = Place::filled(records());
    let rounds = Rounds::run(&place, Role::Writer);
    rounds.print("writer");
    // A rewrap gives way after each group of changes, which takes milliseconds; a slow disk takes longer.
    for interval in rounds.beside {
        assert!(interval.max < 2e6, "{interval:?}");
    }
}
