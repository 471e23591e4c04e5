//! Work on the keys and on the whole store: who may, and what is recorded of it.

use std::fs;

use nebula_credential::access::AccessPolicy;
use nebula_credential::crypto::{KeyFile, SlotId};
use nebula_credential::prelude::*;
use nebula_credential::{Clock as _, Permission, SystemClock};
use nebula_credential_testkit::{Fault, Gate};

use crate::place::{Note, POLICY, Place, note, rule, user};

const WORK: [&str; 3] = ["rotate_key", "rewrap", "re_encrypt_all"];

/// Does work of that name.
async fn work(manager: &CredentialManager, name: &str) -> Result<(), CredentialError> {
    match name {
        "key_ring" => manager.key_ring().await.map(drop),
        "rotate_key" => manager.rotate_key().await.map(drop),
        "rewrap" => manager.rewrap(|_| {}).await.map(drop),
        _ => manager.re_encrypt_all(|_| {}).await.map(drop),
    }
}

#[tokio::test]
async fn work_on_the_keys_is_recorded_before_and_after_and_not_done_without_a_record() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    for name in WORK {
        work(&alice, name).await.unwrap();
        let record = place.last();
        assert_eq!(
            (record.allowed, record.rule.as_deref()),
            (Some(true), Some("alice-does-all"))
        );
        assert_eq!(record.permission.as_deref(), Some("admin"));
    }
    let told: Vec<_> = WORK
        .into_iter()
        .flat_map(|operation| {
            [
                (operation.to_owned(), "intent".to_owned(), None),
                (operation.to_owned(), "outcome".to_owned(), Some("ok".to_owned())),
            ]
        })
        .collect();
    assert_eq!(place.key_work(), told);

    let ring = alice.key_ring().await.unwrap();
    let given = place.last();
    assert_eq!(
        (given.event.as_str(), given.operation.as_deref()),
        ("accessed", Some("key_ring"))
    );
    assert_eq!(
        (given.rule.as_deref(), given.outcome.as_deref()),
        (Some("alice-does-all"), Some("ok"))
    );
    fs::rename(place.log(), place.directory.path().join("elsewhere")).unwrap();
    let before = ring.ring().status();
    for name in [WORK.as_slice(), &["key_ring"]].concat() {
        let error = work(&alice, name).await.unwrap_err();
        assert!(
            matches!(error, CredentialError::AuditUnavailable(_)),
            "{name}: {error}"
        );
    }
    assert_eq!(ring.ring().status(), before);
}

#[tokio::test]
async fn nobody_works_on_the_keys_but_who_administers_every_tenant() {
    let all = "tenants = [\"*\"]";
    let policy = [
        POLICY,
        &rule("all-but-admin", "allow", "user:bob", "write", all),
        &rule(
            "of-one-tenant",
            "allow",
            "user:carol",
            "admin",
            "tenants = [\"default\"]",
        ),
        &rule(
            "of-some-names",
            "allow",
            "user:dave",
            "admin",
            &format!("{all}\nnames = [\"n\"]"),
        ),
        &rule("of-what-one-owns", "allow", "owner", "admin", all),
        &rule("erin-administers", "allow", "user:erin", "admin", all),
        &rule(
            "not-payments",
            "deny",
            "user:erin",
            "admin",
            "tenants = [\"payments\"]",
        ),
        &rule(
            "on-call",
            "allow",
            "user:frank",
            "admin",
            &format!("{all}\nemergency = true"),
        ),
    ]
    .concat();
    let place = Place::new(&policy);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let ring = alice.key_ring().await.unwrap();
    let (before, calls) = (ring.ring().status(), place.calls());
    for (who, decided) in [
        ("bob", "default-deny"),
        ("carol", "default-deny"),
        ("dave", "default-deny"),
        ("erin", "not-payments"),
        ("frank", "default-deny"),
    ] {
        let refused = alice.with_principal(user(who));
        for name in [WORK.as_slice(), &["key_ring"]].concat() {
            let error = work(&refused, name).await.unwrap_err();
            assert!(error.is_access_denied(), "{who} {name}: {error}");
            let text = error.to_string();
            assert!(
                text.contains(name) && text.contains("tenants = [\"*\"]"),
                "{text}"
            );
            let record = place.last();
            assert_eq!(record.event, "permission_denied");
            assert_eq!(record.principal, Some(format!("user:{who}")));
            assert_eq!(record.operation.as_deref(), Some(name));
            assert_eq!(record.permission.as_deref(), Some("admin"));
            assert_eq!(
                (record.allowed, record.rule.as_deref()),
                (Some(false), Some(decided))
            );
            assert_eq!(record.outcome.as_deref(), Some("access_denied"));
        }
    }
    assert_eq!(place.calls(), calls, "nothing was asked of the store");
    assert_eq!(ring.ring().status(), before);
    assert_eq!(place.key_work(), []);

    let frank = alice
        .with_principal(user("frank"))
        .with_purpose("INC-7: a key leaked");
    frank.rotate_key().await.unwrap();
    let record = place.last();
    assert_eq!(
        (record.event.as_str(), record.operation.as_deref()),
        ("emergency_access", Some("rotate_key"))
    );
    assert_eq!(record.rule.as_deref(), Some("emergency:on-call"));
    assert_eq!(record.purpose.as_deref(), Some("INC-7: a key leaked"));
    // What is decided is decided by the policy of that moment.
    place.policies.replace(AccessPolicy::parse(POLICY).unwrap());
    assert!(work(&frank, "rewrap").await.unwrap_err().is_access_denied());
}

#[tokio::test]
async fn other_work_on_the_keys_is_asked_for_and_recorded_likewise() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let ring = alice.key_ring().await.unwrap();
    let slots = || ring.ring().status().slots.len();
    let (second, _) = KeyFile::open_or_create(place.directory.path().join("config/second")).unwrap();
    let add = async || ring.update(|draft| draft.add_slot(&second, SystemClock.now()));
    let remove = async |slot| ring.update(|draft| draft.remove_slot(SlotId::new(slot)));

    let before = place.entries().len();
    alice.may_administer("add_slot").await.unwrap();
    assert_eq!(place.entries().len(), before, "leave alone is not recorded");
    alice.administer("add_slot", add()).await.unwrap();
    assert_eq!(slots(), 2);
    let record = place.last();
    assert_eq!(
        (record.principal.as_deref(), record.rule.as_deref()),
        (Some("user:alice"), Some("alice-does-all"))
    );
    alice.administer("remove_slot", remove(9)).await.unwrap_err();
    let told = place.key_work();
    let told: Vec<_> = told
        .iter()
        .map(|(operation, stage, outcome)| (operation.as_str(), stage.as_str(), outcome.as_deref()))
        .collect();
    let failed = told.last().and_then(|(.., outcome)| *outcome);
    assert_ne!(failed, Some("ok"));
    assert_eq!(
        told,
        [
            ("add_slot", "intent", None),
            ("add_slot", "outcome", Some("ok")),
            ("remove_slot", "intent", None),
            ("remove_slot", "outcome", failed),
        ]
    );

    let bob = alice.with_principal(user("bob"));
    for refusal in [
        bob.may_administer("remove_slot").await,
        bob.administer("remove_slot", remove(1)).await,
    ] {
        assert!(refusal.unwrap_err().is_access_denied());
        let record = place.last();
        assert_eq!(
            (record.event.as_str(), record.operation.as_deref()),
            ("permission_denied", Some("remove_slot"))
        );
    }
    fs::rename(place.log(), place.directory.path().join("elsewhere")).unwrap();
    for unrecorded in [
        alice.administer("remove_slot", remove(1)).await,
        bob.may_administer("remove_slot").await,
    ] {
        let error = unrecorded.unwrap_err();
        assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    }
    assert_eq!(slots(), 2, "nothing was begun");
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_is_a_refusal_all_the_same() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let ring = alice.key_ring().await.unwrap();
    fs::rename(place.log(), place.directory.path().join("elsewhere")).unwrap();
    let error = alice.with_principal(user("bob")).rotate_key().await.unwrap_err();
    assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    assert_eq!(ring.ring().status().epochs.len(), 1);
}

#[tokio::test]
async fn work_that_is_given_up_half_way_has_an_end_on_record() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    for name in WORK {
        let gate = Gate::new();
        place.faults.once("scan", Fault::HoldAfter(gate.clone()));
        let worker = alice.clone();
        let given_up = tokio::spawn(async move { work(&worker, name).await });
        gate.arrival().await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
        let records = place.key_work();
        let [.., intent, outcome] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert_eq!((&*intent.0, &*intent.1), (name, "intent"));
        assert_eq!((&*outcome.0, outcome.2.as_deref()), (name, Some("abandoned")));
        // It can be done again.
        work(&alice, name).await.unwrap();
    }
    assert_eq!(alice.get::<Note>("n").await.unwrap().text, "one");
}

#[tokio::test]
async fn what_is_exported_and_purged_is_asked_for_by_name() {
    let readers = rule(
        "reads-one",
        "allow",
        "user:bob",
        "read",
        "tenants = [\"*\"]\nnames = [\"n\"]",
    );
    let place = Place::new(&format!("{POLICY}{readers}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.store("m", note("two")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    assert_eq!(bob.export(["n"]).await.unwrap().credentials().len(), 1);
    for (error, permission) in [
        (bob.export(["n", "m"]).await.unwrap_err(), Permission::Read),
        (bob.purge("m").await.unwrap_err(), Permission::Delete),
    ] {
        assert!(error.is_access_denied(), "{error}");
        let denied = place.records();
        let denied = denied.iter().filter(|entry| entry.event == "permission_denied");
        assert!(denied.into_iter().any(|entry| {
            entry.name.as_deref() == Some("m") && entry.permission.as_deref() == Some(permission.as_str())
        }));
    }
    assert!(alice.exists("m").await.unwrap());
}
