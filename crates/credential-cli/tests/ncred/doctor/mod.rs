//! `ncred doctor` names each prepared fault, and nothing on a healthy store.

mod prepared;

use std::fs;
use std::os::unix::fs::chown;

use nebula_credential_testkit::skip;
use serde_json::Value;

use self::prepared::{FAULTS, flip, mode, sql};
use crate::place::{Answer, ON_A_SMALL_DISK, Place, READ_ONLY, answer, text};

fn examine(place: &Place, args: &[&str]) -> (Answer, Value) {
    let mut command = place.command();
    command
        .args(["doctor", "--json"])
        .args(args)
        .current_dir(place.path("."));
    let told = answer(command, "");
    let report = serde_json::from_str(&told.out).unwrap();
    (told, report)
}

fn finding<'a>(report: &'a Value, check: &str) -> Option<&'a Value> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["check"] == check)
}

#[test]
fn a_healthy_store_has_no_findings() {
    let place = Place::with_db();
    place.store("db");
    place.ok(&["delete", "db"]);
    place.store("other");
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(report["findings"], serde_json::json!([]), "{report}");
    assert_eq!(report["healthy"], true);
    assert_eq!(
        (&report["checked"]["credentials"], &report["checked"]["versions"]),
        (&2.into(), &3.into())
    );
    assert_eq!(report["checked"]["opened"], 3);
    assert_eq!(report["unchecked"], serde_json::json!([]));
    for check in ["files.mode", "key.unlock", "record.integrity", "store.database"] {
        assert!(
            report["passed"].as_array().unwrap().contains(&check.into()),
            "{check}"
        );
    }
    assert_eq!(report["facts"]["slots"], serde_json::json!(["key_file"]));
    assert_eq!(report["facts"]["generation"], 4);
    assert_eq!(report["facts"]["anchor"], Value::Null);
    let exposed = report["exposure"].as_array().unwrap();
    for name in ["store.db", "keyring", "key"] {
        assert!(
            exposed
                .iter()
                .any(|file| file["file"].as_str().unwrap().ends_with(name)),
            "{name}"
        );
    }
    let page = place.ok(&["doctor"]);
    assert!(page.starts_with("nothing found: "), "{page}");
    for words in [
        "What a thief of each file learns",
        "one slot opens the key ring",
        "there is no anchor",
        "changed 4 times",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn each_prepared_fault_is_named_with_its_remedy() {
    for fault in FAULTS {
        let place = Place::with_db();
        (fault.prepare)(&place);
        let (told, report) = examine(&place, fault.args);
        let what = fault.what;
        let found = finding(&report, fault.check);
        let Some(found) = found else {
            panic!("{what}: not found in {report}");
        };
        assert_eq!(found["severity"], fault.severity, "{what}: {report}");
        assert!(!found["remedy"].as_str().unwrap().is_empty(), "{what}");
        assert_eq!(told.code, fault.code, "{what}: {told:?}");
        assert_eq!(report["healthy"], fault.severity == "info", "{what}");
        // Nothing is blamed that was not prepared.
        assert_eq!(
            report["findings"].as_array().unwrap().len(),
            1,
            "{what}: {report}"
        );
    }
}

#[test]
fn the_store_of_another_user_is_named() {
    let place = Place::with_db();
    if chown(place.store_path().join("store.db"), Some(12345), None).is_err() {
        return skip("the_store_of_another_user_is_named", "only root gives files away");
    }
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 4);
    assert!(finding(&report, "files.owner").is_some(), "{report}");
}

#[test]
fn memory_that_cannot_be_locked_is_named() {
    let place = Place::with_db();
    let mut command = place.wrapped("sh");
    command.args([
        "-c",
        &format!(
            "ulimit -l 8 && exec {} doctor --json",
            env!("CARGO_BIN_EXE_ncred")
        ),
    ]);
    let told = answer(command, "");
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(finding(&report, "system.memlock").unwrap()["severity"], "warning");
}

#[test]
fn a_full_disk_is_named() {
    let place = Place::with_db();
    let Some(told) = place.in_mounts(ON_A_SMALL_DISK, "doctor --json", "") else {
        return skip(
            "a_full_disk_is_named",
            "this system makes no user namespaces with mounts",
        );
    };
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(
        finding(&report, "system.space").unwrap()["severity"],
        "error",
        "{report}"
    );
}

/// A disk that fails, as strace has it.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_listed_is_named() {
    let place = Place::with_db();
    let store = place.store_path();
    let mut command = place.wrapped("strace");
    command.args(["-f", "-qq", "-o", text(&place.path("trace")), "-P", text(&store)]);
    command.args(["--trace=openat", "--inject=openat:error=EIO:when=1"]);
    command.args([env!("CARGO_BIN_EXE_ncred"), "doctor", "--json"]);
    if !command.output().is_ok_and(|output| !output.stdout.is_empty()) {
        skip(
            "a_directory_that_cannot_be_listed_is_named",
            "there is no strace, or it may not trace",
        );
        return;
    }
    let told = answer(command, "");
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told.code, 1, "{told:?}");
    assert_eq!(
        finding(&report, "files.read").unwrap()["subject"],
        text(&store),
        "{report}"
    );
    assert_eq!(report["healthy"], false);
    let unchecked = unchecked(&report);
    for check in ["files.mode", "files.stray", "store.leftover"] {
        assert!(unchecked.contains(&check), "{check}: {report}");
    }
}

/// The names of the checks that could not be made.
fn unchecked(report: &Value) -> Vec<&str> {
    let unchecked = report["unchecked"].as_array().unwrap().iter();
    unchecked.map(|entry| entry["check"].as_str().unwrap()).collect()
}

#[test]
fn without_a_key_everything_else_is_looked_at() {
    let place = Place::with_db();
    sql(
        &place,
        "UPDATE record SET expires_at = 1; UPDATE version SET expires_at = 1",
    );
    place.file(".local/share/nebula-credential/stray", "");
    fs::remove_file(place.key_path()).unwrap();
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 5, "{told:?}");
    for check in ["key.unlock", "record.expired", "files.stray"] {
        assert!(finding(&report, check).is_some(), "{check}: {report}");
    }
    assert_eq!(
        (&report["checked"]["versions"], &report["checked"]["opened"]),
        (&1.into(), &0.into())
    );
    let unchecked = unchecked(&report);
    for check in ["key.age", "record.integrity", "record.key"] {
        assert!(unchecked.contains(&check), "{check}: {report}");
    }
    let page = place.run(&["doctor"], "").out;
    assert!(page.contains("not checked [key.age, key.rewrap, "), "{page}");
}

#[test]
fn without_a_key_ring_a_damaged_key_file_is_still_named() {
    let place = Place::with_db();
    fs::remove_file(place.store_path().join("keyring")).unwrap();
    flip(&place.key_path(), |_| 20);
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 6, "{told:?}");
    for check in ["key.ring", "key.unlock"] {
        assert!(finding(&report, check).is_some(), "{check}: {report}");
    }
}

#[test]
fn a_store_that_is_refused_still_has_its_key_ring_opened() {
    let place = Place::with_db();
    mode(&place.store_path(), 0o755);
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 4, "{told:?}");
    assert_eq!(report["facts"]["slots"], serde_json::json!(["key_file"]));
    assert!(unchecked(&report).contains(&"record.integrity"), "{report}");
}

#[test]
fn one_damaged_row_does_not_hide_the_others() {
    let place = Place::new();
    for name in ["a", "b", "c", "d"] {
        place.store(name);
        place.store(name);
    }
    place.ok(&["delete", "c"]);
    let row = |name, version| {
        format!(
            "UPDATE version SET payload = x'00' WHERE id = (SELECT id << 32 | {version} FROM record WHERE name = '{name}');"
        )
    };
    sql(&place, &[row("a", 1), row("b", 2), row("c", 1)].concat());
    sql(&place, "UPDATE record SET name = 'e' WHERE name = 'd'");
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 6, "{told:?}");
    let findings = report["findings"].as_array().unwrap().iter();
    let mut named: Vec<_> = findings.map(|found| found["subject"].as_str().unwrap()).collect();
    named.sort_unstable();
    let expected = [
        "default:global:a version 1",
        "default:global:b version 2",
        "default:global:c version 1",
        "default:global:e version 1",
        "default:global:e version 2",
    ];
    assert_eq!(named, expected, "{report}");
    assert_eq!(report["checked"]["opened"], 3);
}

#[test]
fn more_versions_than_usual_are_told() {
    use nebula_credential::types::SecretTextCredential;
    use nebula_credential::{CredentialManager, Keys, LocalStorage};
    let place = Place::with_db();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::existing(place.store_path()))
        .keys(Keys::key_file(place.key_path()))
        .keep_versions(20)
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in 0..11 {
            let value = SecretTextCredential {
                text: format!("t{number}").into(),
            };
            manager.store("many", value).await.unwrap();
        }
    });
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 0, "{told:?}");
    let found = finding(&report, "record.versions").unwrap();
    assert_eq!(
        (&found["severity"], &found["subject"]),
        (&"info".into(), &"default:global:many".into())
    );
}

#[test]
fn nothing_is_changed() {
    let place = Place::with_db();
    place.file(".local/share/nebula-credential/.keyring.tmp", "left over");
    let state = || {
        let mut files: Vec<_> = fs::read_dir(place.store_path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            // SQLite's own index of the log, made anew by whoever opens the store.
            .filter(|path| !path.ends_with("store.db-shm"))
            .map(|path| {
                let modified = path.metadata().unwrap().modified().unwrap();
                (fs::read(&path).unwrap(), modified, path)
            })
            .filter(|(content, ..)| !content.is_empty())
            .collect();
        files.sort_by(|a, b| a.2.cmp(&b.2));
        files
    };
    let before = state();
    place.run(&["doctor"], "");
    assert!(before == state());
}

#[test]
fn a_read_only_store_is_named() {
    let place = Place::with_db();
    let Some(told) = place.in_mounts(READ_ONLY, "doctor --json", "") else {
        return skip(
            "a_read_only_store_is_named",
            "this system makes no user namespaces with mounts",
        );
    };
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told.code, 1, "{told:?}");
    assert!(finding(&report, "store.read_only").is_some(), "{report}");
}

#[test]
fn a_key_that_is_due_for_rotation_is_named() {
    use nebula_credential::crypto::{KeyFile, KeyRingFile};
    use nebula_credential::{Clock as _, SystemClock};
    let place = Place::new();
    fs::remove_file(place.store_path().join("keyring")).unwrap();
    let made = SystemClock.now() - chrono::TimeDelta::days(400);
    let key = KeyFile::open(place.key_path()).unwrap();
    KeyRingFile::create(place.store_path(), &key, made).unwrap();
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(
        finding(&report, "key.age").unwrap()["severity"],
        "warning",
        "{report}"
    );
    assert!(report["facts"]["rotate_before"].as_str().unwrap() < report_time().as_str());
}

fn report_time() -> String {
    use nebula_credential::{Clock as _, SystemClock};
    SystemClock.now().to_rfc3339()
}

#[test]
fn a_value_of_a_newer_shape_is_named() {
    use nebula_credential::{CredentialManager, Keys, LocalStorage, SecretString};
    #[derive(nebula_credential::Credential)]
    #[credential(type = "basic", version = 2)]
    struct Newer {
        #[secret]
        pass_phrase: SecretString,
    }
    let place = Place::new();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::existing(place.store_path()))
        .keys(Keys::key_file(place.key_path()))
        .build();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let value = Newer {
        pass_phrase: "p".to_owned().into(),
    };
    runtime.block_on(async { manager.store("db", value).await.unwrap() });
    let (told, report) = examine(&place, &[]);
    assert_eq!(told.code, 0, "{told:?}");
    let found = finding(&report, "record.schema").unwrap();
    assert_eq!(found["severity"], "warning", "{report}");
    assert_eq!(report["checked"]["opened"], 1);
}
