//! The laws of the order of the layers, through the manager.

#![cfg(all(feature = "cache", feature = "resilience", feature = "telemetry"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nebula_credential::cache::ChangeKind;
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, FallbackStore, Resilience, RetryConfig};
use nebula_credential::{Labels, ManagerBuilder, MetricsEmitter, NoMetrics, StoreHandle, SystemClock};
use nebula_credential_testkit::{Fault, FaultStore, Gate};
use tempfile::TempDir;

/// What a third party would write: a store that does not tell of changes.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "an example, of which this is not the only user"
)]
#[path = "../../credential-testkit/examples/third_party_store/store.rs"]
mod shelf;

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

async fn text(manager: &CredentialManager) -> String {
    manager.get::<Note>("n").await.unwrap().text.clone()
}

struct Place {
    directory: TempDir,
    faults: FaultStore,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(directory.path().join("secrets"));
        let faults = FaultStore::new(StoreHandle::new(store));
        Self { directory, faults }
    }

    /// A manager of a process that has the store open through the scripted faults.
    fn ours(&self) -> ManagerBuilder {
        self.builder(self.faults.handle())
    }

    /// One of another process, as far as the store can tell: nothing is shared but the files.
    fn theirs(&self) -> ManagerBuilder {
        let store = LocalStorage::new(self.directory.path().join("secrets"));
        self.builder(StoreHandle::new(store))
    }

    fn builder(&self, store: StoreHandle) -> ManagerBuilder {
        CredentialManager::builder()
            .storage_handle(store)
            .keys(Keys::key_file(self.directory.path().join("config/key")))
    }

    fn gets(&self) -> usize {
        self.faults.count("get")
    }
}

const TTL: Duration = Duration::from_secs(300);

/// A store that does not tell of changes: a chain does if each of its stores does.
fn silent(faults: &FaultStore) -> FallbackStore {
    let shelf = StoreHandle::new(shelf::ShelfStore::default());
    FallbackStore::new("only", faults.handle()).then("silent", shelf)
}

#[tokio::test]
async fn a_value_is_read_once_and_then_served_from_memory() {
    let place = Place::new();
    let manager = place.ours().cache_ttl(TTL).build();
    manager.store("n", note("one")).await.unwrap();
    for _ in 0..10 {
        assert_eq!(text(&manager).await, "one");
    }
    assert_eq!(place.gets(), 1);
    let stats = manager.cache_stats().unwrap();
    assert_eq!((stats.hits, stats.misses, stats.entries), (9, 1, 1));
}

#[tokio::test]
async fn ten_thousand_readers_of_a_cold_value_cost_one_read() {
    let place = Place::new();
    let manager = place.ours().cache_ttl(TTL).build();
    manager.store("n", note("one")).await.unwrap();
    let gate = Gate::new();
    place.faults.once("get", Fault::HoldBefore(gate.clone()));
    let readers: Vec<_> = (0..10_000)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { text(&manager).await })
        })
        .collect();
    gate.arrival().await;
    gate.release(1);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "one");
    }
    assert_eq!(place.gets(), 1);
}

#[tokio::test]
async fn a_write_is_seen_by_every_read_after_its_acknowledgement() {
    let place = Place::new();
    let (ours, theirs) = (place.ours().cache_ttl(TTL).build(), place.theirs().build());
    ours.store("n", note("0")).await.unwrap();
    for round in 1..=50 {
        let writer = if round % 2 == 0 { &ours } else { &theirs };
        writer.rotate("n", note(&round.to_string())).await.unwrap();
        assert_eq!(text(&ours).await, round.to_string());
        assert_eq!(text(&ours).await, round.to_string());
    }
    theirs.delete("n").await.unwrap();
    assert!(ours.get::<Note>("n").await.unwrap_err().is_not_found());
    theirs.restore("n").await.unwrap();
    assert_eq!(text(&ours).await, "50");
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_of_a_store_that_does_not_tell_of_changes() {
    let place = Place::new();
    let ring = place.directory.path().join("ring");
    let store = StoreHandle::new(silent(&place.faults));
    assert!(store.changes().is_none());
    let manager = place.builder(store).key_ring_dir(ring).cache_ttl(TTL).build();
    manager.store("n", note("0")).await.unwrap();
    for round in 1..=10 {
        manager.rotate("n", note(&round.to_string())).await.unwrap();
        assert_eq!(text(&manager).await, round.to_string());
        assert_eq!(text(&manager).await, round.to_string());
    }
    assert_eq!(manager.cache_stats().unwrap().hits, 10);
    // One that was made, and of which nobody hears.
    place.faults.once("put", Fault::LoseAnswer);
    manager.rotate("n", note("lost")).await.unwrap_err();
    assert_eq!(text(&manager).await, "lost");
    manager.purge("n").await.unwrap();
    assert!(manager.get::<Note>("n").await.unwrap_err().is_not_found());
    manager.store("n", note("again")).await.unwrap();
    assert_eq!(text(&manager).await, "again");
}

#[tokio::test]
async fn a_value_that_was_refused_elsewhere_is_read_again() {
    let place = Place::new();
    let manager = place.ours().cache_ttl(TTL).build();
    manager.store("n", note("one")).await.unwrap();
    let (version, refused) = manager.get_versioned::<Note>("n").await.unwrap();
    assert_eq!((version, &*refused.text), (Version::FIRST, "one"));
    manager.rejected("n", version).unwrap();
    text(&manager).await;
    assert_eq!(place.gets(), 2);
}

#[tokio::test]
async fn what_is_forgotten_is_read_again_and_nothing_else_is() {
    let place = Place::new();
    let manager = place.ours().cache_ttl(TTL).build();
    manager.forget_all();
    for name in ["n", "m"] {
        manager.store(name, note("one")).await.unwrap();
        manager.get::<Note>(name).await.unwrap();
        manager.get_version::<Note>(name, Version::FIRST).await.unwrap();
    }
    let mut gets = place.gets();
    let mut read = async |name: &str| {
        manager.get::<Note>(name).await.unwrap();
        manager.get_version::<Note>(name, Version::FIRST).await.unwrap();
        let before = std::mem::replace(&mut gets, place.gets());
        place.gets() - before
    };
    manager.forget("n").unwrap();
    assert_eq!((read("n").await, read("m").await), (2, 0));
    assert!(manager.get::<Note>("absent").await.is_err());
    manager.forget("absent").unwrap();
    read("n").await;
    assert!(manager.get::<Note>("absent").await.is_err());
    assert_eq!(read("n").await, 1, "that it is absent is forgotten as well");
    manager.forget_all();
    assert_eq!(manager.cache_stats().unwrap().entries, 0);
    assert_eq!((read("n").await, read("m").await), (2, 2));
    assert!(manager.forget("no name").is_err());
}

#[tokio::test]
async fn a_handle_follows_rotations_by_whomever_and_ends_with_the_credential() {
    let place = Place::new();
    let (ours, theirs) = (place.ours().cache_ttl(TTL).build(), place.theirs().build());
    ours.store("n", note("0")).await.unwrap();
    let handle: CredentialHandle<Note> = ours.handle("n").await.unwrap();
    let mut changes = handle.changes();
    assert_eq!(handle.with(|note| note.text.clone()).unwrap(), "0");
    for (writer, value) in [(&ours, "1"), (&theirs, "2")] {
        writer.rotate("n", note(value)).await.unwrap();
        let change = changes.next().await.unwrap();
        assert_eq!(change.kind, ChangeKind::Rotated);
        let now = handle.load().unwrap();
        assert_eq!((now.text.as_str(), now.version()), (value, change.version));
    }
    theirs.delete("n").await.unwrap();
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Revoked);
    assert!(handle.load().is_err());
    assert!(changes.next().await.is_none(), "nothing drives it any more");
}

#[tokio::test(start_paused = true)]
async fn a_handle_on_a_store_that_does_not_tell_of_changes_is_not_held_back_by_the_cache() {
    let place = Place::new();
    // In memory: it answers before time moves on.
    let shelf = StoreHandle::new(shelf::ShelfStore::default());
    assert!(shelf.changes().is_none());
    let manager = || {
        place
            .builder(shelf.clone())
            .key_ring_dir(place.directory.path().join("secrets"))
    };
    let (ours, theirs) = (manager().cache_ttl(TTL).build(), manager().build());
    theirs.store("n", note("0")).await.unwrap();
    let handle: CredentialHandle<Note> = ours.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let since = tokio::time::Instant::now();
    theirs.rotate("n", note("1")).await.unwrap();
    let change = changes.next().await.unwrap();
    assert_eq!(change.kind, ChangeKind::Rotated);
    assert!(since.elapsed() < Duration::from_secs(31), "{:?}", since.elapsed());
    assert_eq!(handle.with(|note| note.text.clone()).unwrap(), "1");
}

#[tokio::test]
async fn a_handle_hears_of_a_change_whose_outcome_is_not_known() {
    let place = Place::new();
    let theirs = place.theirs().build();
    theirs.store("n", note("0")).await.unwrap();
    let silent = silent(&place.faults);
    let ours = place
        .builder(StoreHandle::new(silent))
        .key_ring_dir(place.directory.path().join("secrets"))
        .build();
    let handle: CredentialHandle<Note> = ours.handle("n").await.unwrap();
    let mut changes = handle.changes();
    place.faults.once("put", Fault::LoseAnswer);
    assert!(
        ours.rotate("n", note("1"))
            .await
            .unwrap_err()
            .is_outcome_unknown()
    );
    let change = tokio::time::timeout(Duration::from_secs(5), changes.next()).await;
    assert_eq!(change.unwrap().unwrap().kind, ChangeKind::Rotated);
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_with_the_last_clone_of_its_handle() {
    let place = Place::new();
    let silent = silent(&place.faults);
    let silent = place
        .builder(StoreHandle::new(silent))
        .key_ring_dir(place.directory.path().join("secrets"));
    for manager in [place.ours().build(), silent.build()] {
        manager.store("n", note("0")).await.unwrap();
        let handle: CredentialHandle<Note> = manager.handle("n").await.unwrap();
        let mut changes = handle.changes();
        let clone = handle.clone();
        // While the task waits for a time to look, of which none comes.
        tokio::task::yield_now().await;
        let since = tokio::time::Instant::now();
        drop(handle);
        tokio::task::yield_now().await;
        assert!(clone.is_driven());
        drop(clone);
        assert!(changes.next().await.is_none());
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_with_its_handle_while_the_store_does_not_answer() {
    let place = Place::new();
    let manager = place.ours().build();
    manager.store("n", note("0")).await.unwrap();
    let handle: CredentialHandle<Note> = manager.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let gate = Gate::new();
    place.faults.always("head", Fault::HoldAfter(gate.clone()));
    place.theirs().build().store("n", note("1")).await.unwrap();
    gate.arrival().await;
    let since = tokio::time::Instant::now();
    drop(handle);
    assert!(changes.next().await.is_none());
    assert_eq!(since.elapsed(), Duration::ZERO);
}

#[test]
fn a_handle_without_a_runtime_is_refused() {
    let place = Place::new();
    let manager = place.ours().build();
    let mut asked = Box::pin(manager.handle::<Note>("n"));
    let waker = std::task::Waker::noop();
    let answer = asked.as_mut().poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Err(error)) = answer else {
        unreachable!("it waits for nothing")
    };
    assert!(matches!(error, CredentialError::Unsupported(_)), "{error}");
}

fn impatient() -> Resilience {
    let breaker = BreakerConfig {
        failure_threshold: 2,
        ..BreakerConfig::default()
    };
    Resilience::new(breaker, Arc::new(SystemClock), Arc::new(NoMetrics)).retry(RetryConfig {
        base: Duration::ZERO,
        ..RetryConfig::default()
    })
}

#[tokio::test]
async fn an_open_breaker_costs_no_attempt_and_does_not_close_the_cache() {
    let place = Place::new();
    let resilience = impatient();
    let manager = place.ours().cache_ttl(TTL).resilience(resilience).build();
    manager.store("n", note("one")).await.unwrap();
    manager.store("m", note("two")).await.unwrap();
    text(&manager).await;
    place
        .faults
        .always("get", Fault::Refuse(CredentialError::unavailable("away")));
    for name in ["m", "x"] {
        let error = manager.get::<Note>(name).await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable { .. }), "{error}");
    }
    // Two operations of three attempts each, after the first read.
    assert_eq!(place.gets(), 7);
    let error = manager.get::<Note>("y").await.unwrap_err();
    assert!(matches!(error, CredentialError::CircuitBreakerOpen(_)), "{error}");
    assert_eq!(place.gets(), 7);
    assert_eq!(text(&manager).await, "one");
}

#[tokio::test]
async fn what_a_limit_refused_is_let_through_as_soon_as_there_is_room() {
    let place = Place::new();
    let resilience = impatient().in_flight(1);
    let manager = place.ours().cache_ttl(TTL).resilience(resilience).build();
    manager.store("n", note("one")).await.unwrap();
    manager.store("m", note("two")).await.unwrap();
    let gate = Gate::new();
    place.faults.once("get", Fault::HoldBefore(gate.clone()));
    let other = manager.clone();
    let first = tokio::spawn(async move { other.get::<Note>("m").await });
    gate.arrival().await;
    let error = manager.get::<Note>("n").await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error}");
    gate.release(1);
    first.await.unwrap().unwrap();
    // No store was unreachable: none is spared.
    assert_eq!(text(&manager).await, "one");
}

#[derive(Clone, Default)]
struct Sources(Arc<Mutex<Vec<&'static str>>>);

impl MetricsEmitter for Sources {
    fn increment(&self, name: &'static str, labels: Labels<'_>, _: u64) {
        if name == nebula_credential::telemetry::names::VALUES {
            self.0
                .lock()
                .unwrap()
                .extend(labels.iter().map(|(_, value)| *value));
        }
    }
    fn gauge(&self, _: &'static str, _: Labels<'_>, _: f64) {}
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

#[tokio::test]
async fn telemetry_sees_hits_and_where_they_came_from() {
    let place = Place::new();
    let sources = Sources::default();
    let manager = place.ours().cache_ttl(TTL).metrics(sources.clone()).build();
    manager.store("n", note("one")).await.unwrap();
    text(&manager).await;
    text(&manager).await;
    assert_eq!(*sources.0.lock().unwrap(), ["store", "cache"]);
}
