//! A handle is always at the current value, and who subscribes hears of every change or that there were some.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nebula_credential_cache::{ChangeKind, CredentialHandle, Expiry, HandleUpdater};
use nebula_credential_core::{
    Clock as _, CredentialError, CredentialName, CredentialRef, Scope, TenantId, Version,
};
use nebula_credential_testkit::TestClock;

fn id() -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new("db").unwrap(),
    )
}

fn v(number: u32) -> Version {
    Version::new(number).unwrap()
}

fn handle<C: Send + Sync + 'static>(value: C) -> (CredentialHandle<C>, HandleUpdater<C>) {
    CredentialHandle::new(id(), v(1), value)
}

#[test]
fn readers_see_the_value_that_was_stored_last() {
    let (handle, mut updater) = handle("one");
    let clone = handle.clone();
    let old = handle.load().unwrap();
    updater.rotated(v(2), "two", None).unwrap();
    assert_eq!(clone.with(|value| *value).unwrap(), "two");
    let new = clone.load().unwrap();
    assert_eq!((*new, new.version()), ("two", v(2)));
    assert_eq!(
        (*old, old.version()),
        ("one", v(1)),
        "what is held stays as it was"
    );
    assert_eq!(handle.version().unwrap(), v(2));
}

#[test]
fn a_revoked_credential_is_never_handed_out_again() {
    let (handle, mut updater) = handle("one");
    updater.revoked();
    let revoked = |error: CredentialError| {
        matches!(error, CredentialError::InvalidState(_)) && error.to_string().contains("revoked")
    };
    assert!(revoked(handle.load().unwrap_err()));
    assert!(revoked(handle.version().unwrap_err()));
    assert!(revoked(handle.with(|_| panic!("not read")).unwrap_err()));
    assert!(revoked(updater.refreshed(v(2), "two", None).unwrap_err()));
    assert!(revoked(updater.rotated(v(3), "three", None).unwrap_err()));
    assert!(revoked(handle.load().unwrap_err()));
}

#[test]
fn a_value_is_not_handed_out_from_its_expiry_on_until_another_takes_its_place() {
    let clock = TestClock::new();
    let (handle, mut updater) = handle("one");
    let minute = Duration::from_secs(60);
    let expiry = |clock: &TestClock| Expiry::new(clock.now() + minute, Arc::new(clock.clone()));
    updater.expires(expiry(&clock));
    let held = handle.load().unwrap();
    clock.advance(Duration::from_micros(59_999_999));
    assert_eq!(handle.with(|value| *value).unwrap(), "one");
    clock.advance(Duration::from_micros(1));
    assert!(handle.load().unwrap_err().is_expired());
    assert!(handle.version().unwrap_err().is_expired());
    let error = handle.with(|_| panic!("not read")).unwrap_err();
    assert!(
        error.to_string().contains("2026-01-01 00:01:00 UTC; rotate it"),
        "{error}"
    );
    assert_eq!(*held, "one", "what is held stays as it was");
    assert!(updater.expired().unwrap().is_expired());
    updater.rotated(v(2), "two", None).unwrap();
    clock.advance(Duration::from_secs(3600));
    assert_eq!(*handle.load().unwrap(), "two");
    assert!(updater.expired().is_none());

    // What comes with its expiry is guarded from the moment anybody can have it.
    updater.refreshed(v(2), "fresh", Some(expiry(&clock))).unwrap();
    updater.expires(Expiry::new(clock.now() + 2 * minute, Arc::new(clock.clone())));
    clock.advance(minute);
    assert!(handle.load().unwrap_err().is_expired());
    updater.rotated(v(3), "three", Some(expiry(&clock))).unwrap();
    assert_eq!(*handle.load().unwrap(), "three");
    clock.advance(minute);
    assert!(handle.load().unwrap_err().is_expired());
}

#[tokio::test]
async fn what_is_suspended_comes_back_and_what_has_ended_does_not() {
    let count = Arc::default();
    let (handle, mut updater) = handle(Counted::new(&count));
    let mut changes = handle.changes();
    for why in ["away", "still away"] {
        updater.suspended(CredentialError::unavailable(why));
        assert_eq!(handle.load().unwrap_err(), CredentialError::unavailable(why));
    }
    assert_eq!(
        count.load(Ordering::SeqCst),
        0,
        "a value that may not be read is not kept"
    );
    let change = changes.next().await.unwrap();
    assert_eq!((change.kind, change.version), (ChangeKind::Suspended, v(1)));
    assert!(
        updater
            .rotated(v(1), Counted::new(&count), None)
            .unwrap_err()
            .is_conflict()
    );
    updater.refreshed(v(1), Counted::new(&count), None).unwrap();
    assert_eq!(handle.version().unwrap(), v(1));
    let change = changes.next().await.unwrap();
    assert_eq!((change.kind, change.missed), (ChangeKind::Refreshed, 0));

    let denied = CredentialError::access_denied("no more");
    updater.ended(denied.clone());
    updater.ended(CredentialError::unavailable("later"));
    updater.suspended(CredentialError::unavailable("later"));
    updater.revoked();
    assert_eq!(
        updater.refreshed(v(1), Counted::new(&count), None).unwrap_err(),
        denied
    );
    assert_eq!(handle.load().unwrap_err(), denied);
    let change = changes.next().await.unwrap();
    assert_eq!((change.kind, change.missed), (ChangeKind::Revoked, 0));
}

#[tokio::test]
async fn a_rotation_is_not_missed_because_of_a_suspension_after_it() {
    let (handle, mut updater) = handle(1);
    let mut changes = handle.changes();
    updater.rotated(v(2), 2, None).unwrap();
    updater.suspended(CredentialError::unavailable("away"));
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Suspended);
    updater.refreshed(v(2), 2, None).unwrap();
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Rotated);
    updater.refreshed(v(2), 2, None).unwrap();
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Refreshed);
}

#[test]
fn news_that_come_too_late_change_nothing() {
    let (handle, mut updater) = handle("one");
    updater.rotated(v(3), "three", None).unwrap();
    for late in [
        updater.rotated(v(2), "two", None),
        updater.rotated(v(3), "3", None),
        updater.refreshed(v(2), "two", None),
    ] {
        assert!(late.unwrap_err().is_conflict());
    }
    assert_eq!(*handle.load().unwrap(), "three");
    updater.refreshed(v(3), "a fresh three", None).unwrap();
    assert_eq!(*handle.load().unwrap(), "a fresh three");
}

#[tokio::test]
async fn subscribers_hear_of_every_change() {
    let (handle, mut updater) = handle("one");
    let mut changes = handle.changes();
    updater.rotated(v(2), "two", None).unwrap();
    let change = changes.next().await.unwrap();
    assert_eq!(
        (change.kind, change.version, change.missed),
        (ChangeKind::Rotated, v(2), 0)
    );
    assert_eq!(change.id, id());
    assert_eq!(
        *handle.load().unwrap(),
        "two",
        "the value is there before the news"
    );
    updater.refreshed(v(2), "two'", None).unwrap();
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Refreshed);
    updater.revoked();
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Revoked);
    updater.revoked();
    assert!(handle.is_driven());
    drop(updater);
    assert!(!handle.is_driven());
    assert_eq!(changes.next().await, None, "revoking twice is one change");
}

#[tokio::test]
async fn a_slow_subscriber_learns_what_it_missed_and_misses_no_rotation() {
    let (handle, mut updater) = handle(0);
    let mut changes = handle.changes();
    updater.refreshed(v(2), 2, None).unwrap();
    updater.rotated(v(3), 3, None).unwrap();
    updater.refreshed(v(4), 4, None).unwrap();
    let change = changes.next().await.unwrap();
    assert_eq!(
        (change.kind, change.version, change.missed),
        (ChangeKind::Rotated, v(4), 2)
    );
    updater.refreshed(v(5), 5, None).unwrap();
    updater.refreshed(v(6), 6, None).unwrap();
    let change = changes.next().await.unwrap();
    assert_eq!(
        (change.kind, change.version, change.missed),
        (ChangeKind::Refreshed, v(6), 1)
    );

    // The last word is heard although nobody is left to say it.
    let mut late = handle.changes();
    updater.rotated(v(7), 7, None).unwrap();
    updater.revoked();
    drop(updater);
    let change = late.next().await.unwrap();
    assert_eq!(
        (change.kind, change.version, change.missed),
        (ChangeKind::Revoked, v(7), 1)
    );
    assert_eq!(late.next().await, None);
}

/// Counts how many there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_replaced_value_is_dropped_with_its_last_reader() {
    let count = Arc::default();
    let (handle, mut updater) = handle(Counted::new(&count));
    let held = handle.load().unwrap();
    updater.rotated(v(2), Counted::new(&count), None).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
    drop(held);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    updater.revoked();
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn readers_on_many_threads_see_versions_in_order_and_values_whole() {
    const LAST: u32 = 2_000;
    let (handle, mut updater) = handle([1_u32; 64]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let handle = handle.clone();
            scope.spawn(move || {
                let mut last = 0;
                while last < LAST {
                    let (seen, whole) = handle
                        .with(|value| (value[0], value.iter().all(|part| *part == value[0])))
                        .unwrap();
                    assert!(whole && seen >= last);
                    let snapshot = handle.load().unwrap();
                    assert_eq!(snapshot.version().get(), snapshot[0]);
                    assert!(snapshot[0] >= seen);
                    last = snapshot[0];
                }
            });
        }
        for number in 2..=LAST {
            updater.rotated(v(number), [number; 64], None).unwrap();
        }
    });
}

#[test]
fn no_debug_shows_the_value() {
    let (handle, updater) = handle(String::from("hunter2"));
    let shown = format!("{handle:?} {:?} {updater:?}", handle.load().unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}
