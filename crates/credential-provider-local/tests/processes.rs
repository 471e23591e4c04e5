//! Several processes on one store, and processes that die.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use common::{child_arguments, count, envelope, get, get_version, head, id, process, put, put_of, said, say};
use common::{scratch, version, wait};
use nebula_credential_core::{
    CredentialError, Delete, DeleteMode, Get, OpContext, Precondition, Restore, Rewrite, SecretStore,
    Selector,
};
use nebula_credential_provider_local::LocalStorage;

/// Runs when [`process`] starts this program; otherwise there is nothing to do.
#[test]
fn child() {
    let Some(arguments) = child_arguments() else {
        return;
    };
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["increment", path, times] => increment(path, times.parse().unwrap()),
        ["answer", path] => answer(path),
        ["create", path, name] => {
            put(&LocalStorage::new(path), name, 1, name).unwrap();
        }
        ["work", path, seed, from] => work(path, seed.parse().unwrap(), from.parse().unwrap()),
        ["flat-out", path] => flat_out(path),
        _ => panic!("unknown arguments"),
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn increment(path: &str, times: u64) {
    let store = LocalStorage::existing(path);
    let ctx = OpContext::default();
    for _ in 0..times {
        loop {
            let latest = Get {
                id: id("counter"),
                version: Selector::Latest,
            };
            let record = wait(store.get(&ctx, latest)).unwrap();
            let value: u64 = common::text(&record).parse().unwrap();
            let seen = record.head.latest;
            let mut op = put_of("counter", seen.get() + 1, &(value + 1).to_string());
            op.precondition = Precondition::IfVersion(seen);
            match wait(store.put(&ctx, op)) {
                Ok(_) => break,
                Err(CredentialError::VersionConflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn increments_of_four_processes_are_never_lost() {
    let times = count("NEBULA_PROOF_COUNT", 200);
    let (_dir, store) = scratch();
    put(&store, "counter", 1, "0").unwrap();
    let times_text = times.to_string();
    let children: Vec<_> = (0..4)
        .map(|_| {
            process(&["increment", text_of(store.path()), &times_text])
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let counter = get(&store, "counter").unwrap();
    println!("increments: 4 processes of {times} each, the counter stands at {counter}");
    assert_eq!(counter, (4 * times).to_string());
    assert_eq!(
        u64::from(head(&store, "counter").unwrap().latest.get()),
        4 * times + 1
    );
}

fn answer(path: &str) {
    let store = LocalStorage::existing(path);
    for line in std::io::stdin().lines() {
        let number = line.unwrap().parse().unwrap();
        let seen = get(&store, "ping").unwrap();
        put(&store, "pong", number, &seen).unwrap();
        say("");
    }
}

#[test]
fn two_processes_see_what_the_other_wrote_as_soon_as_it_is_written() {
    let (_dir, store) = scratch();
    store.open_blocking().unwrap();
    let mut child = process(&["answer", text_of(store.path())]).spawn().unwrap();
    let mut questions = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 1..=50 {
        let word = format!("word {number}");
        put(&store, "ping", number, &word).unwrap();
        writeln!(questions, "{number}").unwrap();
        while answers.next().unwrap().unwrap() != "@" {}
        assert_eq!(get(&store, "pong").unwrap(), word);
    }
    drop(questions);
    assert!(child.wait().unwrap().success());
}

/// A copy is taken while a counter stands somewhere, and served only while it still stands there.
#[test]
fn a_copy_is_current_as_long_as_its_counter_stands_still() {
    let (_dir, store) = scratch();
    put(&store, "still", 1, "x").unwrap();
    let changes = SecretStore::changes(&store).unwrap();
    let (counter, still) = (changes.counter_of(&id("peer")), changes.counter_of(&id("still")));
    assert_ne!(counter, still);
    let untouched = changes.read(still).unwrap();
    let mut peer = Killed(process(&["flat-out", text_of(store.path())]).spawn().unwrap());
    let mut lines = BufReader::new(peer.0.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "@ready" {}
    while head(&store, "peer").is_err() {}

    let (mut held, mut moved) = (0, 0);
    let latest = || head(&store, "peer").unwrap().latest;
    while held < 1000 || moved < 1000 {
        let stood = changes.read(counter);
        let (first, second) = (latest(), latest());
        if stood.is_some() && changes.read(counter) == stood {
            assert_eq!(first, second);
            held += 1;
        } else {
            moved += 1;
        }
    }
    assert_eq!(changes.read(still), Some(untouched));

    // Whatever the writer was doing when it was killed, the next change settles it at the latest.
    drop(peer);
    put(&store, "still", 2, "y").unwrap();
    assert!(changes.read(counter).is_some());
    assert!(changes.read(still).unwrap() > untouched);
}

/// Where nobody writes after that, caches do not stand still for good.
#[test]
fn what_a_killed_writer_left_under_way_is_settled_by_those_who_only_read() {
    let (_dir, store) = scratch();
    store.open_blocking().unwrap();
    let changes = SecretStore::changes(&store).unwrap();
    let counter = changes.counter_of(&id("peer"));
    let mut kills = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    // Most of a change lies between the two moves of its counter.
    let left = loop {
        let mut peer = Killed(process(&["flat-out", text_of(store.path())]).spawn().unwrap());
        let mut lines = BufReader::new(peer.0.stdout.take().unwrap()).lines();
        while lines.next().unwrap().unwrap() != "@ready" {}
        let before = wait(store.generation()).unwrap();
        while wait(store.generation()).unwrap() == before {}
        drop(peer);
        kills += 1;
        // Looked at in the file, so that nobody was asked.
        if is_odd(store.path(), counter) {
            break wait(store.generation()).unwrap();
        }
        assert!(
            Instant::now() < deadline,
            "{kills} writers died between two changes"
        );
    };
    // A process that was there, and one that comes later.
    let late = LocalStorage::existing(store.path());
    late.open_blocking().unwrap();
    let late = SecretStore::changes(&late).unwrap();
    let start = Instant::now();
    while changes.read(counter).is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "the counter stays odd");
        std::thread::yield_now();
    }
    println!("{kills} kills, settled after {:?}", start.elapsed());
    assert!(late.read(counter).is_some());
    assert_eq!(wait(store.generation()).unwrap(), left, "nothing was changed");
    let stands = changes.read(counter);
    get(&store, "peer").unwrap();
    assert_eq!(changes.read(counter), stands, "a copy is kept again");
}

/// Whether the counter is odd in the file that the processes share.
fn is_odd(store: &Path, counter: usize) -> bool {
    let words = std::fs::read(store.join("changes")).unwrap();
    u64::from_ne_bytes(words.as_chunks().0[counter]) % 2 == 1
}

#[test]
fn processes_that_create_one_store_at_once_all_find_it() {
    for _ in 0..5 {
        let (_dir, store) = scratch();
        let children: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| process(&["create", text_of(store.path()), name]).spawn().unwrap())
            .into_iter()
            .collect();
        for child in children {
            assert!(child.wait_with_output().unwrap().status.success());
        }
        for name in ["a", "b", "c", "d"] {
            assert_eq!(get(&store, name).unwrap(), name);
        }
    }
}

/// Kills the process when the test ends, however it does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn flat_out(path: &str) {
    let store = LocalStorage::existing(path);
    let from = head(&store, "peer").map_or(1, |head| head.latest.get() + 1);
    say("ready");
    for number in from.. {
        put(&store, "peer", number, "x").unwrap();
    }
}

/// The figure (p50 at most twice a put alone) is held by the benches; here, that nobody starves.
#[test]
fn a_writer_beside_one_that_writes_without_pause_is_served_and_never_told_to_wait() {
    let (_dir, store) = scratch();
    store.open_blocking().unwrap();
    let mut peer = Killed(process(&["flat-out", text_of(store.path())]).spawn().unwrap());
    let mut lines = BufReader::new(peer.0.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "@ready" {}
    let before = wait(store.generation()).unwrap();
    let mut longest = Duration::ZERO;
    for number in 1..=200 {
        let start = Instant::now();
        put(&store, "ours", number, "x").unwrap();
        longest = longest.max(start.elapsed());
    }
    let all = wait(store.generation()).unwrap() - before;
    assert!(longest < Duration::from_secs(2), "one put took {longest:?}");
    // It takes turns: it does not wait for many of the other's changes for each of its own.
    assert!(all < 200 * 6, "{all} changes were made while we made 200");
}

/// What a store should hold, after a number of steps that follow from a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model(BTreeMap<u64, Life>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Life {
    latest: u32,
    exists: bool,
    deleted: bool,
    kept: BTreeMap<u32, String>,
}

#[derive(Debug)]
enum Step {
    Put(u32, String),
    Rewrite(u32, String, String),
    Delete(DeleteMode),
    Restore,
}

const NAMES: u64 = 5;
const KEEP: u32 = 3;

fn random(seed: u64, step: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Model {
    /// The step after `at` others; the model is as it leaves it.
    fn advance(&mut self, seed: u64, at: u64) -> (u64, Step) {
        let dice = random(seed, at);
        let name = dice % NAMES;
        let life = self.0.entry(name).or_default();
        let step = match (dice >> 32) % 10 {
            0 if life.exists && !life.deleted => Step::Delete(DeleteMode::Soft),
            1 if life.exists => Step::Delete(DeleteMode::Purge),
            0..=3 if life.deleted => Step::Restore,
            4..=5 if !life.kept.is_empty() => {
                let (number, old) = life.kept.first_key_value().unwrap();
                Step::Rewrite(*number, old.clone(), format!("rewritten {at}"))
            }
            _ => Step::Put(
                life.latest + 1,
                format!("stored {at} {}", "x".repeat((dice >> 8) as usize % 5000)),
            ),
        };
        match &step {
            Step::Put(number, text) => {
                if life.deleted || !life.exists {
                    life.kept.clear();
                }
                (life.exists, life.deleted, life.latest) = (true, false, *number);
                life.kept.insert(*number, text.clone());
                if life.kept.len() > KEEP as usize {
                    life.kept.pop_first();
                }
            }
            Step::Rewrite(number, _, new) => {
                life.kept.insert(*number, new.clone());
            }
            Step::Delete(DeleteMode::Soft) => life.deleted = true,
            Step::Delete(DeleteMode::Purge) => {
                (life.exists, life.deleted) = (false, false);
                life.kept.clear();
            }
            Step::Restore => life.deleted = false,
        }
        (name, step)
    }

    fn after(seed: u64, steps: u64) -> Self {
        let mut model = Self::default();
        for at in 0..steps {
            model.advance(seed, at);
        }
        model
    }

    /// What a reader can see of it: a purged record is as if it had never been.
    fn visible(mut self) -> Self {
        self.0.retain(|_, life| life.exists);
        self
    }

    /// What of it `store` really holds. Anything that cannot be read fails the test.
    fn read(store: &LocalStorage) -> Self {
        let mut found = Self::default();
        for name in 0..NAMES {
            let text = format!("n{name}");
            let head = match head(store, &text) {
                Ok(head) => head,
                Err(error) if error.is_not_found() => continue,
                Err(error) => panic!("{error}"),
            };
            let deleted = head.deleted_at.is_some();
            if deleted {
                wait(store.restore(&OpContext::default(), Restore { id: id(&text) })).unwrap();
            }
            let kept = wait(store.versions(&OpContext::default(), id(&text))).unwrap();
            let kept = kept.iter().map(|kept| {
                let value = get_version(store, &text, Selector::Exact(kept.version)).unwrap();
                (kept.version.get(), value)
            });
            let life = Life {
                latest: head.latest.get(),
                exists: true,
                deleted,
                kept: kept.collect(),
            };
            if deleted {
                common::delete(store, &text, DeleteMode::Soft).unwrap();
            }
            found.0.insert(name, life);
        }
        found
    }
}

fn work(path: &str, seed: u64, from: u64) {
    let store = LocalStorage::existing(path);
    let ctx = OpContext::default();
    let mut model = Model::after(seed, from);
    for at in from.. {
        let (name, step) = model.advance(seed, at);
        let name = format!("n{name}");
        match step {
            Step::Put(number, text) => {
                let mut op = put_of(&name, number, &text);
                op.keep_versions = KEEP;
                wait(store.put(&ctx, op)).map(drop)
            }
            Step::Rewrite(number, old, new) => wait(store.rewrite(
                &ctx,
                Rewrite {
                    id: id(&name),
                    version: version(number),
                    expected: envelope(&old),
                    payload: envelope(&new),
                },
            )),
            Step::Delete(mode) => wait(store.delete(
                &ctx,
                Delete {
                    id: id(&name),
                    mode,
                    precondition: Precondition::None,
                },
            )),
            Step::Restore => wait(store.restore(&ctx, Restore { id: id(&name) })).map(drop),
        }
        .unwrap();
        say(&(at + 1).to_string());
    }
}

/// One life of a writer: it is killed after `patience`. How many steps were acknowledged since the first.
fn killed_writer(path: &Path, seed: u64, from: u64, patience: Duration) -> u64 {
    let mut writer = Killed(
        process(&["work", text_of(path), &seed.to_string(), &from.to_string()])
            .spawn()
            .unwrap(),
    );
    let mut out = writer.0.stdout.take().unwrap();
    std::thread::sleep(patience);
    writer.0.kill().unwrap();
    let status = writer.0.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "the writer failed before it was killed");
    let mut output = String::new();
    out.read_to_string(&mut output).unwrap();
    // The last line may be cut short.
    let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
    said(whole).last().map_or(from, |number| number.parse().unwrap())
}

#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    let cycles = count("NEBULA_KILL_CYCLES", 20);
    let seed = u64::from(std::process::id());
    let (_dir, store) = scratch();
    let path = store.path().to_owned();
    store.open_blocking().unwrap();
    drop(store);
    let mut steps = 0;
    let mut slowest = Duration::ZERO;
    for cycle in 0..cycles {
        let patience = Duration::from_micros(2_000 + random(seed, u64::MAX - cycle) % 60_000);
        let acknowledged = killed_writer(&path, seed, steps, patience);
        let start = Instant::now();
        let store = LocalStorage::existing(&path);
        store.open_blocking().unwrap();
        wait(store.generation()).unwrap();
        slowest = slowest.max(start.elapsed());
        assert!(slowest < Duration::from_secs(1), "reopening took {slowest:?}");
        // The step it was killed in was made or not.
        let found = Model::read(&store);
        let is_after = |steps| found == Model::after(seed, steps).visible();
        steps = if is_after(acknowledged + 1) {
            acknowledged + 1
        } else {
            assert!(
                is_after(acknowledged),
                "seed {seed}, cycle {cycle}: what is stored is not what {acknowledged} steps leave, nor one more"
            );
            acknowledged
        };
    }
    println!("kills: {cycles}, steps made: {steps}, lost: 0, slowest reopening: {slowest:?}");
    assert!(steps > cycles, "only {steps} steps in {cycles} cycles");
}
