//! What works on the whole store takes `admin` in every tenant.

use super::governed::{Governed, OPERATED, allowing};
use crate::place::{Place, text};

#[test]
fn only_who_administers_every_tenant_works_on_the_whole_store() {
    let administers = allowing("user:root", "admin", "").replace("version = 1\n", "");
    let in_one_tenant = administers
        .replace("user:root", "user:alice")
        .replace("the-rule", "alice-administers-one")
        .replace("\"*\"", "\"default\"");
    let governed = Governed::by(&format!("{OPERATED}{administers}{in_one_tenant}"));
    let place = &governed.place;
    place.store("db");
    let (key, unmade) = (place.path("keys/second"), place.path("keys/unmade"));
    let verbs: [(&str, &[&str]); 8] = [
        ("key_ring", &["key", "status"]),
        ("key_ring", &["key", "list"]),
        ("add_slot", &["key", "add", "--new-key-file", text(&key)]),
        ("remove_slot", &["key", "remove", "2"]),
        ("rotate_key", &["key", "rotate"]),
        ("rewrap", &["key", "rewrap", "--destroy-unused"]),
        ("stats", &["stats"]),
        ("doctor", &["doctor"]),
    ];
    let before = place.json(&["key", "status"]);
    // Without what unlocks the store, too: nobody is asked for that first.
    std::fs::rename(place.key_path(), place.path("away")).unwrap();
    for who in ["user:alice", "service:billing", "process"] {
        for (operation, args) in verbs {
            let (told, records) = governed.left_by(who, args);
            assert_eq!((told.code, told.out.as_str()), (4, ""), "{args:?}: {told:?}");
            let may_not = format!("{who} may not do `{operation}`");
            assert!(told.err.contains(&may_not), "{told:?}");
            assert!(
                told.err
                    .contains("\nhelp: that takes a rule which allows `admin`"),
                "{told:?}"
            );
            assert_eq!(records.len(), 1, "{records:?}");
            for (field, expected) in [
                ("event", "permission_denied"),
                ("principal", who),
                ("operation", operation),
                ("permission", "admin"),
                ("rule", "default-deny"),
                ("outcome", "access_denied"),
            ] {
                assert_eq!(records[0][field], expected, "{}", records[0]);
            }
        }
    }
    let add = ["key", "add", "--new-key-file", text(&unmade)];
    assert_eq!(governed.run("user:alice", &add).code, 4);
    assert!(!unmade.exists());
    std::fs::rename(place.path("away"), place.key_path()).unwrap();
    assert_eq!(place.json(&["key", "status"]), before);

    for (operation, args) in verbs {
        let (told, records) = governed.left_by("user:root", args);
        assert_eq!(told.code, 0, "{args:?}: {told:?}");
        let is_on_record = !["stats", "doctor"].contains(&operation);
        let recorded = records.iter().any(|record| {
            record["operation"] == operation && record["outcome"] == "ok" && record["rule"] == "the-rule"
        });
        assert_eq!(recorded, is_on_record, "{operation}: {records:?}");
    }
}

#[test]
fn a_store_is_made_under_a_policy_that_allows_nobody_to_administer_it() {
    let place = Place::bare();
    let policy = place.file("policy.toml", OPERATED);
    place.ok(&["init", "--policy", text(&policy)]);
    assert_eq!(place.run(&["key", "list", "--policy", text(&policy)], "").code, 4);
    assert_eq!(place.json(&["key", "list"]).as_array().unwrap().len(), 1);
}
