//! Looks at names and versions under a policy: what is recorded of them, and what stays with a credential without one.

use serde_json::{Value, json};

use super::governed::{Governed, OPERATED, OWNED};

#[test]
fn a_list_and_versions_that_are_denied_are_recorded_as_a_denied_read_is() {
    let governed = Governed::by(OPERATED);
    governed.put("user:alice", "stripe/live");
    let looks: [(&[&str], Value); 2] = [
        (&["list"], Value::Null),
        (&["versions", "stripe/live"], json!("stripe/live")),
    ];
    for (args, name) in looks {
        let (told, records) = governed.left_by("user:mallory", args);
        assert_eq!((told.code, told.out.as_str()), (4, ""), "{told:?}");
        let [record] = records.as_slice() else {
            panic!("{args:?}: {records:?}")
        };
        assert_eq!(record["event"], "permission_denied");
        assert_eq!(record["principal"], "user:mallory");
        assert_eq!(record["operation"], args[0]);
        assert_eq!((&record["name"], &record["allowed"]), (&name, &json!(false)));
        assert_eq!(record["rule"], "default-deny");
    }
    let said = governed.recorded("user:mallory", &["list"]);
    assert!(!said.err.contains("stripe"), "{said:?}");
}

#[test]
fn a_list_that_is_filtered_is_one_record_and_what_is_suggested_is_none() {
    let governed = Governed::by(OPERATED);
    for name in ["stripe/live", "stripe/test", "db"] {
        governed.put("user:alice", name);
    }
    let (told, records) = governed.left_by("service:billing", &["list"]);
    assert!(
        told.out.contains("stripe/live") && !told.out.contains("db"),
        "{told:?}"
    );
    let [record] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(
        (&record["event"], &record["rule"], &record["allowed"]),
        (&json!("inspected"), &json!("filter"), &json!(true))
    );

    // That names were looked through for the one that was meant is not asked for by anybody.
    let (told, records) = governed.left_by(
        "service:billing",
        &["run", "--set", "P=stripe/life", "--", "true"],
    );
    assert_eq!(told.code, 3, "{told:?}");
    assert!(
        records.iter().all(|record| record["operation"] != "list"),
        "{records:?}"
    );
}

#[test]
fn without_a_policy_owner_and_grants_stay_as_well() {
    let governed = Governed::by(OWNED);
    governed.put("user:alice", "new/db");
    let share = ["share", "new/db", "--with", "user:bob", "--permission", "read"];
    governed.ok("user:alice", &share);
    let place = &governed.place;
    let sharing = || place.json(&["sharing", "new/db"]);
    let before = sharing();
    assert_eq!(before["owner"], "user:alice");
    for tags in [&["--clear"][..], &["team=web"]] {
        place.ok(&[&["tags", "new/db"], tags].concat());
        assert_eq!(sharing(), before, "{tags:?}");
    }
    let forged = place.run(&["tags", "new/db", "nebula.access/owner=user:bob"], "");
    assert_eq!(forged.code, 4, "{forged:?}");
    assert!(forged.err.contains("set by access control alone"), "{forged:?}");
    assert!(
        forged
            .err
            .contains("\nhelp: leave them out, or share the credential"),
        "{forged:?}"
    );
    let json = r#"{"username":"u","password":"p"}"#;
    let put = ["put", "new/db", "--type", "basic", "--tag", "team=db"];
    assert_eq!(place.run(&put, json).code, 0);
    assert_eq!(sharing(), before);
    assert_eq!(
        place
            .json(&["list", "--tag", "team=db"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
