//! Live handles under a policy.

use std::time::Duration;

use nebula_credential::Clock as _;
use nebula_credential::access::AccessPolicy;
use nebula_credential::cache::ChangeKind;
use nebula_credential::prelude::*;
use nebula_credential_testkit::TestClock;

use crate::place::{Note, POLICY, Place, note, rule, user};

#[tokio::test]
async fn a_handle_ends_when_the_policy_denies_what_it_holds() {
    let readers = rule("bob-reads", "allow", "user:bob", "read", "tenants = [\"*\"]");
    let knows = rule("bob-knows", "allow", "user:bob", "test", "tenants = [\"*\"]");
    let place = Place::new(&format!("{POLICY}{readers}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let held = alice.handle::<Note>("n").await.unwrap();
    let handle = alice
        .with_principal(user("bob"))
        .handle::<Note>("n")
        .await
        .unwrap();
    let mut changes = handle.changes();
    assert_eq!(handle.with(|note| note.text.clone()).unwrap(), "one");
    // To know of it is not to have it.
    let policy = AccessPolicy::parse(&format!("{POLICY}{knows}")).unwrap();
    place.policies.replace(policy);
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Revoked);
    assert!(handle.load().unwrap_err().is_access_denied());
    let denied = place.records().pop().unwrap();
    assert_eq!(
        (denied.event.as_str(), denied.principal.as_deref()),
        ("permission_denied", Some("user:bob"))
    );
    assert!(changes.next().await.is_none(), "nothing drives it any more");
    assert_eq!(held.load().unwrap().text, "one");
    assert!(held.is_driven());
}

#[tokio::test]
async fn a_handle_gives_out_nothing_past_the_expiry_of_what_is_stored() {
    let clock = TestClock::new();
    let place = Place::new(POLICY);
    let alice = place.builder().clock(clock.clone()).build();
    let hour = Duration::from_secs(3600);
    let stored = alice.store("n", note("one")).expires_at(clock.now() + hour);
    stored.await.unwrap();
    let handle = alice.handle::<Note>("n").await.unwrap();
    assert!(handle.load().is_ok());
    clock.advance(hour);
    assert!(matches!(handle.load(), Err(CredentialError::Expired(_))));
    let mut changes = handle.changes();
    alice
        .rotate("n", note("two"))
        .expires_at(clock.now() + hour)
        .await
        .unwrap();
    assert_eq!(changes.next().await.unwrap().kind, ChangeKind::Rotated);
    assert_eq!(handle.load().unwrap().text, "two");
    clock.advance(hour);
    assert!(matches!(handle.load(), Err(CredentialError::Expired(_))));
}
