//! Plans and policies: all of it or nothing, unless told otherwise.

use serde_json::json;

use crate::command::Store;

const THREE: &str = "DB_PASSWORD=s3cr3t-one\nAPI_TOKEN='s3cr3t two'\nDATABASE_URL=postgres://u:s3cr3t3@h/d\n";
const SECRETS: &[&str] = &["s3cr3t-one", "s3cr3t two", "s3cr3t3"];

#[test]
fn a_file_becomes_credentials() {
    let store = Store::new();
    store
        .import(".env", THREE, &[])
        .ok()
        .hides(SECRETS)
        .says(&["created 3, replaced 0, skipped 0"]);
    assert_eq!(
        store.get("db_password").unwrap(),
        ("secret_text".into(), json!({"text": "s3cr3t-one"}))
    );
    assert_eq!(
        store.get("api_token").unwrap(),
        ("secret_text".into(), json!({"text": "s3cr3t two"}))
    );
    let url = json!({"url": "postgres://u:s3cr3t3@h/d"});
    assert_eq!(
        store.get("database_url").unwrap(),
        ("connection_string".into(), url)
    );
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let store = Store::new();
    store.import("one.env", "API_TOKEN=there", &[]).ok();
    let ran = store
        .import(
            ".env",
            THREE,
            &["--dry-run", "--on-conflict", "replace", "--prefix", "prod/"],
        )
        .ok();
    ran.hides(SECRETS).says(&[
        "create  prod/database_url  connection_string  3",
        "would be created 3",
    ]);
    let plan = store
        .import(
            ".env",
            THREE,
            &["--dry-run", "--on-conflict", "replace", "--json"],
        )
        .ok()
        .hides(SECRETS);
    assert_eq!(
        plan.json(),
        json!({
            "dry_run": true,
            "complete": true,
            "created": 2,
            "replaced": 1,
            "skipped": 0,
            "credentials": [
                {"name": "db_password", "type": "secret_text", "action": "create", "version": null, "lines": [1]},
                {"name": "api_token", "type": "secret_text", "action": "replace", "version": null, "lines": [2]},
                {"name": "database_url", "type": "connection_string", "action": "create", "version": null, "lines": [3]},
            ],
            "ignored": [],
        })
    );
    assert_eq!(store.names(), ["api_token"]);
    // Whoever only looks is asked for no key.
    std::fs::rename(store.path("config"), store.path("elsewhere")).unwrap();
    store
        .import(".env", THREE, &["--dry-run", "--on-conflict", "skip"])
        .ok()
        .says(&["would be created 2, replaced 0, skipped 1"]);
    store
        .import(".env", THREE, &["--on-conflict", "skip"])
        .refused(5, &["key"]);
}

#[test]
fn fail_looks_at_every_name_before_it_writes_the_first() {
    let store = Store::new();
    store
        .import("one.env", "DATABASE_URL=there\nAPI_TOKEN=there", &[])
        .ok();
    let ran = store.import(".env", THREE, &[]);
    ran.refused(
        7,
        &[
            "nothing was written: api_token, database_url are there already",
            "--on-conflict skip",
        ],
    );
    assert_eq!(store.names(), ["api_token", "database_url"]);
    // A plan that cannot be carried out is no plan.
    store
        .import(".env", THREE, &["--dry-run"])
        .refused(7, &["api_token"]);
}

#[test]
fn skip_leaves_what_is_there() {
    let store = Store::new();
    store.import("one.env", "API_TOKEN=there", &[]).ok();
    store
        .import(".env", THREE, &["--on-conflict", "skip"])
        .ok()
        .says(&["created 2, replaced 0, skipped 1"]);
    assert_eq!(store.get("api_token").unwrap().1, json!({"text": "there"}));
    store
        .import(".env", THREE, &["--on-conflict", "skip"])
        .ok()
        .says(&["created 0, replaced 0, skipped 3"]);
}

#[test]
fn replace_stores_new_versions_of_the_same_type() {
    let store = Store::new();
    store
        .import("one.env", "API_TOKEN=there\nDATABASE_URL=no-url", &[])
        .ok();
    // One of the three has another type there: none is written.
    let ran = store.import(".env", THREE, &["--on-conflict", "replace"]);
    ran.refused(
        7,
        &["nothing was written: database_url is there already with another type"],
    );
    assert_eq!(store.get("api_token").unwrap().1, json!({"text": "there"}));
    store.run(&["delete", "database_url"], "").ok();
    let ran = store
        .import(".env", THREE, &["--on-conflict", "replace", "--json"])
        .ok();
    assert_eq!(ran.json()["credentials"][1]["version"], 2);
    assert_eq!(store.get("api_token").unwrap().1, json!({"text": "s3cr3t two"}));
}

#[test]
fn an_import_that_stops_half_way_says_what_it_wrote() {
    let store = Store::new();
    // What a store holds of one credential besides its value has a limit the plan does not see: a full disk.
    let long = "x".repeat(900 * 1024);
    let file = format!("A=one\nB={long}\nC={long}\nD={long}\n");
    let path = store.file(".env", &file);
    let script = format!(
        "ulimit -f 3000; exec {} --store {} --key-file {} import {path}",
        env!("CARGO_BIN_EXE_ncred"),
        store.path("secrets").display(),
        store.path("config/key").display(),
    );
    let output = std::process::Command::new("sh")
        // Without this the first write past the limit is a signal, not an error.
        .args(["-c", &format!("trap '' XFSZ; {script}")])
        .output()
        .unwrap();
    let ran = crate::command::Ran::from(output);
    let written = store.names();
    assert!(
        !written.is_empty() && written.len() < 4,
        "{written:?} {}",
        ran.err
    );
    let count = format!("after {} of 4 credentials", written.len());
    assert_ne!(ran.code, 0);
    let ran = ran.says(&[
        &count,
        "--on-conflict skip",
        &format!("created {}", written.len()),
    ]);
    for name in &written {
        assert!(ran.out.contains(&format!("written: {name}\n")), "{}", ran.out);
    }
    store.import(".env", &file, &["--on-conflict", "skip"]).ok();
    assert_eq!(store.names(), ["a", "b", "c", "d"]);
}
