//! Looks at names and versions: what of them is recorded.

use nebula_credential::audit::Entry;
use nebula_credential::prelude::*;

use crate::place::{POLICY, Place, note, rule, user};

/// The records that `look` leaves behind.
async fn left_by<T>(place: &Place, look: impl Future<Output = T>) -> (T, Vec<Entry>) {
    let before = place.entries().len();
    let answer = look.await;
    (answer, place.entries().split_off(before))
}

#[tokio::test]
async fn a_look_that_is_denied_is_recorded_as_a_denied_read_is() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    let denied = |what: &str, error: CredentialError, records: Vec<Entry>, name: Option<&str>| {
        assert!(error.is_access_denied(), "{what}: {error}");
        let [record] = records.as_slice() else {
            panic!("{what}: {records:?}")
        };
        assert_eq!(record.event, "permission_denied", "{what}");
        assert_eq!(record.principal.as_deref(), Some("user:bob"), "{what}");
        assert_eq!(record.name.as_deref(), name, "{what}");
        assert_eq!(
            (record.allowed, record.rule.as_deref(), record.outcome.as_deref()),
            (Some(false), Some("default-deny"), Some("access_denied")),
            "{what}"
        );
    };
    let (answer, records) = left_by(&place, bob.list()).await;
    denied("list", answer.unwrap_err(), records, None);
    for name in ["n", "absent"] {
        let (answer, records) = left_by(&place, bob.metadata(name)).await;
        denied("metadata", answer.unwrap_err(), records, Some(name));
        let (answer, records) = left_by(&place, bob.versions(name)).await;
        denied("versions", answer.unwrap_err(), records, Some(name));
        let (answer, records) = left_by(&place, bob.exists(name)).await;
        denied("exists", answer.unwrap_err(), records, Some(name));
        let (answer, records) = left_by(&place, bob.sharing(name)).await;
        denied("sharing", answer.unwrap_err(), records, Some(name));
    }
    // What may be known of is looked at without a record, as nothing was released.
    let (names, records) = left_by(&place, alice.list()).await;
    assert_eq!((names.unwrap().len(), records.len()), (1, 0));
    let (_, records) = left_by(&place, alice.metadata("n")).await;
    assert_eq!(records.len(), 0);
}

#[tokio::test]
async fn what_one_may_not_know_of_is_recorded_when_it_is_looked_at() {
    let owners = rule("owners", "allow", "owner", "*", "tenants = [\"*\"]");
    let place = Place::new(&format!("{POLICY}{owners}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    for name in ["n", "absent"] {
        let (answer, records) = left_by(&place, bob.metadata(name)).await;
        assert!(answer.unwrap_err().is_not_found());
        assert_eq!(records.len(), 1);
        let record = place.last();
        assert_eq!(
            (record.event.as_str(), record.name.as_deref()),
            ("permission_denied", Some(name))
        );
    }
}

#[tokio::test]
async fn a_list_that_is_filtered_is_one_record_whatever_was_left_out() {
    let some = rule(
        "knows-web",
        "allow",
        "user:bob",
        "use",
        "tenants = [\"*\"]\nnames = [\"web/*\"]",
    );
    let place = Place::new(&format!("{POLICY}{some}"));
    let alice = place.builder().build();
    let bob = alice.with_principal(user("bob"));
    // Beside what bob may not know of, and without: who measures learns nothing from the record.
    for (name, known) in [("db", 0), ("web/a", 1), ("smtp", 1)] {
        alice.store(name, note("one")).await.unwrap();
        let (names, records) = left_by(&place, bob.list()).await;
        assert_eq!(names.unwrap().len(), known);
        let [record] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert_eq!(
            (record.event.as_str(), record.operation.as_deref()),
            ("inspected", Some("list"))
        );
        assert_eq!(
            (record.allowed, record.rule.as_deref()),
            (Some(true), Some("filter"))
        );
        assert_eq!(record.outcome.as_deref(), Some("ok"));
    }
}
