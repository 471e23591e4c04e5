//! What was damaged, lost, expired, read-only or full.

use std::path::Path;

use nebula_credential_testkit::skip;

use super::{VALUE, says};
use crate::place::{ON_A_SMALL_DISK, Place, READ_ONLY, text};

#[test]
fn the_seed_of_another_audit_log_and_a_log_that_was_changed_are_told() {
    let place = Place::with_db();
    let (log, other) = (place.path("audit.log"), place.path("other.log"));
    for log in [&log, &other] {
        place.ok(&["get", "db", "--audit-log", text(log)]);
    }
    let seed = |log: &Path| format!("{}.seed", log.display());
    let verify = |seed: &str| place.run(&["audit", "verify", "--log", text(&log), "--seed", seed], "");
    assert_eq!(verify(&seed(&log)).code, 0);

    let told = verify(&seed(&other));
    assert_eq!(told.code, 6, "{told:?}");
    says(
        "another seed",
        &told,
        &["line 1", "check that this is the seed of this log"],
    );

    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replace("process", "service")).unwrap();
    let told = verify(&seed(&log));
    assert_eq!(told.code, 6, "{told:?}");
    says(
        "a changed log",
        &told,
        &["line 2, where record 2 belongs", "keep the log as evidence"],
    );
}

#[test]
fn a_lost_key_ring_is_not_replaced() {
    let place = Place::with_db();
    std::fs::remove_file(place.store_path().join("keyring")).unwrap();
    let told = place.run(&["get", "db"], "");
    assert_eq!(told.code, 5, "{told:?}");
    says("lost ring", &told, &["no key ring", "backup"]);
    // Not by `init` either: the records would open with no other.
    let told = place.run(&["init"], "");
    assert_eq!(told.code, 5, "{told:?}");
    says("init over records", &told, &["backup"]);
}

#[test]
fn a_damaged_database_is_damaged_and_nothing_else() {
    let place = Place::with_db();
    std::fs::write(
        place.store_path().join("store.db"),
        b"this is no database, and never was one",
    )
    .unwrap();
    for file in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(place.store_path().join(file));
    }
    let told = place.run(&["get", "db"], "");
    assert_eq!(told.code, 6, "{told:?}");
}

#[test]
fn an_expired_credential_is_shown_but_not_handed_out() {
    let place = Place::new();
    let soon = chrono::DateTime::from(std::time::SystemTime::UNIX_EPOCH)
        + std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap()
        + std::time::Duration::from_millis(1500);
    let soon: chrono::DateTime<chrono::Utc> = soon;
    let json = r#"{"username":"u","password":"p"}"#;
    let stored = place.run(
        &["put", "db", "--type", "basic", "--expires-at", &soon.to_rfc3339()],
        json,
    );
    assert_eq!(stored.code, 0, "{stored:?}");
    std::thread::sleep(std::time::Duration::from_millis(1600));
    assert!(place.ok(&["get", "db"]).contains("expired"));
    let told = place.run(&["get", "db", "--reveal", "-f", "password"], "");
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    says("expired", &told, &["expired", "rotate it", "--allow-expired"]);
    assert_eq!(
        place.ok(&["get", "db", "--reveal", "--allow-expired", "-f", "password"]),
        "p"
    );
    assert_eq!(place.json(&["list", "--expiring", "1s"])[0]["state"], "expired");
}

#[test]
fn a_read_only_store_and_a_full_disk_change_nothing() {
    const PUT: &str = "put db --type basic";
    let place = Place::with_db();
    let Some(read_only) = place.in_mounts(READ_ONLY, PUT, VALUE) else {
        return skip(
            "a_read_only_store_and_a_full_disk_change_nothing",
            "this system makes no user namespaces with mounts",
        );
    };
    assert_eq!(read_only.code, 1, "{read_only:?}");
    says("read-only", &read_only, &["read-only"]);

    let long = format!(r#"{{"username":"u","password":"{}"}}"#, "x".repeat(900_000));
    let full = place.in_mounts(ON_A_SMALL_DISK, PUT, &long).unwrap();
    assert_eq!(full.code, 1, "{full:?}");
    says("full disk", &full, &["full"]);
    assert_eq!(place.json(&["versions", "db"]).as_array().unwrap().len(), 1);
}
