//! What was damaged, lost, expired, read-only or full.

use std::path::Path;

use nebula_credential_testkit::skip;

use super::{VALUE, says};
use crate::place::{Answer, Place, answer, text};

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
    let place = Place::with_db();
    let Some(read_only) = in_mounts(
        &place,
        "mount --bind \"$S\" \"$S\" && mount -o remount,ro,bind \"$S\"",
        VALUE,
    ) else {
        return skip(
            "a_read_only_store_and_a_full_disk_change_nothing",
            "this system makes no user namespaces with mounts",
        );
    };
    assert_eq!(read_only.code, 1, "{read_only:?}");
    says("read-only", &read_only, &["read-only"]);

    let long = format!(r#"{{"username":"u","password":"{}"}}"#, "x".repeat(900_000));
    let full = "cp -a \"$S\" \"$S.old\" && mount -t tmpfs -o size=400k,mode=700 none \"$S\" && cp -a \"$S.old\"/. \"$S\"";
    let full = in_mounts(&place, full, &long).unwrap();
    assert_eq!(full.code, 1, "{full:?}");
    says("full disk", &full, &["full"]);
    assert_eq!(place.json(&["versions", "db"]).as_array().unwrap().len(), 1);
}

/// Runs `ncred put db` where `mounts` were made, in a mount namespace of its own; `None` if there can be none.
fn in_mounts(place: &Place, mounts: &str, stdin: &str) -> Option<Answer> {
    let run = |script: &str, stdin: &str| {
        let mut command = place.wrapped("unshare");
        command
            .args(["-rm", "sh", "-c", script])
            .env("S", place.store_path());
        Path::new("/usr/bin/unshare")
            .exists()
            .then(|| answer(command, stdin))
    };
    if run("mount -t tmpfs none /mnt", "")?.code != 0 {
        return None;
    }
    let program = env!("CARGO_BIN_EXE_ncred");
    run(&format!("{mounts} && exec {program} put db --type basic"), stdin)
}
