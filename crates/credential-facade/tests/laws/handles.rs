//! Live handles do not outlive the right to what they hold, nor its time, nor the store for long.

use std::time::Duration;

use nebula_credential::access::{AccessPolicy, Permissions, Sharing};
use nebula_credential::cache::{ChangeKind, Changed, Changes};
use nebula_credential::prelude::*;
use nebula_credential::resilience::FallbackStore;
use nebula_credential::{Clock as _, CredentialRef, Permission, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore, TestClock};

use crate::place::{Note, POLICY, Place, SHARED, note, rule, user};
use crate::shelf;

/// The next change; a handle that is not told of it in time has escaped.
async fn next(changes: &mut Changes) -> Changed {
    let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await;
    change.unwrap().unwrap()
}

fn text(handle: &CredentialHandle<Note>) -> Result<String, CredentialError> {
    handle.with(|note| note.text.clone())
}

fn replace(place: &Place, policy: &str) {
    place.policies.replace(AccessPolicy::parse(policy).unwrap());
}

fn shared_until(until: Option<DateTime<Utc>>) -> Sharing {
    Sharing::Grant {
        to: user("bob"),
        permissions: Permissions::only(Permission::Read),
        until,
    }
}

#[tokio::test]
async fn a_handle_ends_when_another_policy_denies_it() {
    let bob_reads = rule("bob-reads", "allow", "user:bob", "read", "tenants = [\"*\"]");
    let place = Place::new(&format!("{POLICY}{bob_reads}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    let (of_alice, of_bob): (CredentialHandle<Note>, CredentialHandle<Note>) =
        (alice.handle("n").await.unwrap(), bob.handle("n").await.unwrap());
    let mut changes = of_bob.changes();
    let reads = place.records().len();

    // To know of it is not to have it.
    let bob_knows = rule("bob-knows", "allow", "user:bob", "test", "tenants = [\"*\"]");
    replace(&place, &format!("{POLICY}{bob_knows}"));
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Revoked);
    assert!(text(&of_bob).unwrap_err().is_access_denied());
    assert!(of_bob.load().unwrap_err().is_access_denied());
    assert!(!of_bob.is_driven());
    // What was decided by the new policy is on record, for who keeps it as well.
    let decided = async || {
        let records = place.records().split_off(reads);
        let of = |who: &str| {
            records
                .iter()
                .any(|entry| entry.principal.as_deref() == Some(who))
        };
        of("user:alice") && of("user:bob")
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        while !decided().await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(text(&of_alice).unwrap(), "one");
    let denials = place
        .records()
        .into_iter()
        .filter(|entry| entry.event == "permission_denied");
    assert_eq!(denials.count(), 1);

    // Allowed again, bob asks again.
    replace(&place, &format!("{POLICY}{bob_reads}"));
    assert!(of_bob.load().is_err());
    let again: CredentialHandle<Note> = bob.handle("n").await.unwrap();
    assert_eq!(text(&again).unwrap(), "one");
}

#[tokio::test]
async fn a_handle_ends_with_the_grant_it_was_made_under() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let clock = TestClock::new();
    let alice = place.builder().clock(clock.clone()).build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    let until = clock.now() + Duration::from_secs(3600);

    alice.share("n", &shared_until(Some(until))).await.unwrap();
    let handle: CredentialHandle<Note> = bob.handle("n").await.unwrap();
    let mut changes = handle.changes();
    clock.set(until);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Revoked);
    assert!(handle.load().is_err());

    alice.share("n", &shared_until(None)).await.unwrap();
    let handle: CredentialHandle<Note> = bob.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let revoke = Sharing::Revoke { from: user("bob") };
    alice.share("n", &revoke).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Revoked);
    assert!(handle.load().is_err());
}

#[tokio::test]
async fn a_policy_that_denies_ends_a_handle_also_while_the_store_is_away() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.share("n", &shared_until(None)).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    let handle: CredentialHandle<Note> = bob.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let away = Fault::Refuse(CredentialError::unavailable("away"));
    for op in ["head", "get"] {
        place.faults.always(op, away.clone());
    }
    replace(&place, POLICY);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Revoked);
    assert!(handle.load().unwrap_err().is_access_denied());
}

#[tokio::test]
async fn a_grant_that_is_over_ends_a_handle_on_record_also_while_the_store_is_away() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let clock = TestClock::new();
    let alice = place.builder().clock(clock.clone()).build();
    alice.store("n", note("one")).await.unwrap();
    let until = clock.now() + Duration::from_secs(3600);
    alice.share("n", &shared_until(Some(until))).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    let handle: CredentialHandle<Note> = bob.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let away = Fault::Refuse(CredentialError::unavailable("away"));
    place.faults.always("head", away.clone());
    place.faults.always("get", away);
    clock.set(until);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Revoked);
    assert!(handle.load().unwrap_err().is_access_denied());
    let denials = place
        .records()
        .into_iter()
        .filter(|entry| entry.event == "permission_denied")
        .map(|entry| entry.principal);
    assert_eq!(denials.collect::<Vec<_>>(), [Some("user:bob".to_owned())]);
}

#[tokio::test]
async fn a_handle_gives_out_nothing_past_the_expiry_and_goes_on_with_the_next_value() {
    let place = Place::new(POLICY);
    let clock = TestClock::new();
    let alice = place.builder().clock(clock.clone()).build();
    let minute = Duration::from_secs(60);
    let end = clock.now() + minute;
    alice.store("n", note("one")).expires_at(end).await.unwrap();
    let handle: CredentialHandle<Note> = alice.handle("n").await.unwrap();
    let mut changes = handle.changes();
    assert_eq!(text(&handle).unwrap(), "one");
    clock.set(end);
    // At that moment, whether or not anybody else has been at work.
    assert!(text(&handle).unwrap_err().is_expired());
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    assert!(handle.load().unwrap_err().is_expired());

    let later = clock.now() + minute;
    alice.rotate("n", note("two")).expires_at(later).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Rotated);
    assert_eq!(text(&handle).unwrap(), "two");
    clock.set(later);
    assert!(text(&handle).unwrap_err().is_expired());
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    // It was not so late after all.
    clock.jump(end);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Refreshed);
    assert_eq!(text(&handle).unwrap(), "two");
}

#[tokio::test]
async fn what_cannot_be_checked_is_served_for_as_long_as_was_said() {
    let place = Place::new(POLICY);
    let clock = TestClock::new();
    // As a process that has the store open apart from ours.
    let theirs = LocalStorage::new(place.directory.path().join("secrets"));
    let theirs = place.builder().storage(theirs).clock(clock.clone()).build();
    theirs.store("n", note("one")).await.unwrap();
    let bound = Duration::from_secs(600);
    let ours = place
        .builder()
        .clock(clock.clone())
        .handle_stale_if_error(bound)
        .build();
    // A store tells of changes once it is open.
    ours.get::<Note>("n").await.unwrap();
    let handle: CredentialHandle<Note> = ours.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let away = || {
        place
            .faults
            .always("head", Fault::Refuse(CredentialError::unavailable("away")));
    };

    // While the store says that nothing changed, there is nothing to check.
    away();
    clock.advance(2 * bound);
    let quiet = tokio::time::timeout(Duration::from_millis(300), changes.next()).await;
    assert!(quiet.is_err(), "{quiet:?} {:?}", handle.load().err());
    assert_eq!(text(&handle).unwrap(), "one");

    let tries = place.faults.count("head");
    theirs.rotate("n", note("two")).await.unwrap();
    while place.faults.count("head") == tries {
        tokio::task::yield_now().await;
    }
    clock.advance(bound - Duration::from_secs(1));
    assert_eq!(text(&handle).unwrap(), "one");
    clock.advance(Duration::from_secs(1));
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    let error = handle.load().unwrap_err();
    assert_eq!(error, CredentialError::unavailable("away"));

    place.faults.heal();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Rotated);
    assert_eq!(text(&handle).unwrap(), "two");

    // What is back and did not change is no rotation.
    away();
    let tags = Tags::from_pairs([("team", "a")]).unwrap();
    theirs.set_tags("n", tags).await.unwrap();
    while place.faults.calls().last().is_some_and(|call| !call.faulted) {
        tokio::task::yield_now().await;
    }
    clock.advance(bound);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    place.faults.heal();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Refreshed);
    assert_eq!(text(&handle).unwrap(), "two");
}

#[tokio::test]
async fn what_could_not_be_checked_comes_back_also_where_nothing_changed() {
    let place = Place::new(POLICY);
    let clock = TestClock::new();
    let bound = Duration::from_secs(600);
    let alice = place
        .builder()
        .clock(clock.clone())
        .handle_stale_if_error(bound)
        .build();
    alice.store("n", note("one")).await.unwrap();
    let handle: CredentialHandle<Note> = alice.handle("n").await.unwrap();
    let mut changes = handle.changes();
    place
        .faults
        .always("head", Fault::Refuse(CredentialError::unavailable("away")));
    // Another with the same counter: by that, the handle has a reason to ask.
    let theirs = LocalStorage::new(place.directory.path().join("secrets"));
    let counters = StoreHandle::new(theirs.clone()).changes().unwrap();
    let counter_of = |name: &str| {
        let name = CredentialName::new(name).unwrap();
        counters.counter_of(&CredentialRef::new(TenantId::default(), Scope::default(), name))
    };
    let other = (0..).map(|number| format!("other-{number}"));
    let other = other
        .into_iter()
        .find(|name| counter_of(name) == counter_of("n"))
        .unwrap();
    let theirs = place.builder().storage(theirs).clock(clock.clone()).build();
    let tries = place.faults.count("head");
    theirs.store(&other, note("other")).await.unwrap();
    while place.faults.count("head") == tries {
        tokio::task::yield_now().await;
    }
    clock.advance(bound);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    assert!(handle.load().is_err());
    place.faults.heal();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Refreshed);
    assert_eq!(text(&handle).unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn what_changed_and_cannot_be_had_is_not_confirmed_by_counters_that_were_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets");
    let clock = TestClock::new();
    let bound = Duration::from_secs(600);
    let over = |store| {
        CredentialManager::builder()
            .storage_handle(store)
            .key_ring_dir(directory.path().join("keys"))
            .keys(Keys::key_file(directory.path().join("config/key")))
            .clock(clock.clone())
            .handle_stale_if_error(bound)
            .build()
    };
    let faults = FaultStore::new(StoreHandle::new(LocalStorage::new(&path)));
    let ours = over(faults.handle());
    ours.store("n", note("one")).await.unwrap();
    let handle: CredentialHandle<Note> = ours.handle("n").await.unwrap();
    let mut changes = handle.changes();
    std::fs::remove_file(path.join("changes")).unwrap();
    faults.always("get", Fault::Refuse(CredentialError::unavailable("away")));
    let theirs = over(StoreHandle::new(LocalStorage::new(&path)));
    theirs.rotate("n", note("two")).await.unwrap();
    let asked = faults.count("get");
    while faults.count("get") == asked {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(text(&handle).unwrap(), "one");
    clock.advance(bound);
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Suspended);
    faults.heal();
    // The longest pause between two attempts.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Rotated);
    assert_eq!(text(&handle).unwrap(), "two");
}

#[tokio::test]
async fn a_handle_outlives_the_deadline_of_the_request_that_made_it() {
    let place = Place::new(POLICY);
    let clock = TestClock::new();
    let alice = place.builder().clock(clock.clone()).build();
    alice.store("n", note("one")).await.unwrap();
    let soon = alice.with_deadline(clock.now() + Duration::from_secs(1));
    let handle: CredentialHandle<Note> = soon.handle("n").await.unwrap();
    let mut changes = handle.changes();
    clock.advance(Duration::from_secs(2));
    alice.rotate("n", note("two")).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Rotated);
    assert_eq!(text(&handle).unwrap(), "two");
}

#[test]
fn a_handle_ends_with_the_runtime_that_kept_it_current() {
    let place = Place::new(POLICY);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle: CredentialHandle<Note> = runtime.block_on(async {
        let alice = place.builder().build();
        alice.store("n", note("one")).await.unwrap();
        alice.handle("n").await.unwrap()
    });
    assert_eq!(text(&handle).unwrap(), "one");
    drop(runtime);
    let error = text(&handle).unwrap_err();
    assert!(error.to_string().contains("nobody keeps"), "{error}");
}

#[tokio::test]
async fn a_store_that_does_not_tell_of_changes_does_not_put_off_the_policy() {
    let bob_reads = rule("bob-reads", "allow", "user:bob", "read", "tenants = [\"*\"]");
    let place = Place::new(&format!("{POLICY}{bob_reads}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let silent = StoreHandle::new(shelf::ShelfStore::default());
    let silent = FallbackStore::new("first", place.faults.handle()).then("silent", silent);
    let bob = place
        .builder()
        .storage_handle(StoreHandle::new(silent))
        .key_ring_dir(place.directory.path().join("secrets"))
        .principal(user("bob"))
        .build();
    let handle: CredentialHandle<Note> = bob.handle("n").await.unwrap();
    let mut changes = handle.changes();
    replace(&place, POLICY);
    let change = tokio::time::timeout(Duration::from_secs(10), changes.next()).await;
    assert_eq!(change.unwrap().unwrap().kind, ChangeKind::Revoked);
    assert!(handle.load().unwrap_err().is_access_denied());
}

#[tokio::test]
async fn a_change_of_another_credential_is_no_reason_to_ask() {
    const CHANGES: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let silent = FaultStore::new(StoreHandle::new(shelf::ShelfStore::default()));
    let manager = CredentialManager::builder()
        .storage_handle(silent.handle())
        .key_ring_dir(directory.path().join("keys"))
        .keys(Keys::key_file(directory.path().join("config/key")))
        .build();
    manager.store("n", note("one")).await.unwrap();
    let handle: CredentialHandle<Note> = manager.handle("n").await.unwrap();
    let mut changes = handle.changes();
    let asked = silent.count("head");
    for _ in 0..CHANGES {
        manager.store("other", note("one")).await.unwrap();
        tokio::task::yield_now().await;
    }
    // Three times as long as a handle waits for news.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        silent.count("head") - asked,
        CHANGES,
        "each by the one who stores"
    );

    manager.rotate("n", note("two")).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, ChangeKind::Rotated);
    assert_eq!(text(&handle).unwrap(), "two");
}
