//! What operators get wrong: each mistake has its exit code and a message that names the remedy.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use nebula_credential_testkit::skip;

use crate::place::{Answer, Place, answer, text};

/// A mistake, on a store with a credential `github_token` of type `basic` in version 1, beside which lies a bundle
/// `handed.ncb` for the key file `keys/theirs`.
struct Mistake {
    what: &'static str,
    args: &'static [&'static str],
    stdin: &'static str,
    code: i32,
    kind: &'static str,
    /// What the message must say.
    says: &'static [&'static str],
}

const VALUE: &str = r#"{"username":"u","password":"p"}"#;

const MISTAKES: &[Mistake] = &[
    Mistake {
        what: "a store path that leads nowhere",
        args: &["list", "--store", "no/such/store"],
        stdin: "",
        code: 3,
        kind: "not_found",
        says: &["no credential store in no/such/store", "ncred init"],
    },
    Mistake {
        what: "a key file that is not there",
        args: &["key", "list", "--key-file", "no-such-key"],
        stdin: "",
        code: 5,
        kind: "key",
        says: &["no key file", "restore it from a backup"],
    },
    Mistake {
        what: "a passphrase file that is not there",
        args: &["key", "list", "--passphrase-file", "no-such-file"],
        stdin: "",
        code: 5,
        kind: "key",
        says: &["no passphrase file"],
    },
    Mistake {
        what: "a file descriptor that is not open",
        args: &["key", "list", "--passphrase-fd", "63"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["file descriptor is not open", "3< "],
    },
    Mistake {
        what: "a principal of no known kind",
        args: &["get", "github_token", "--principal", "alice"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["a principal is user:NAME, service:NAME"],
    },
    Mistake {
        what: "an audit log where there is no directory",
        args: &[
            "get",
            "github_token",
            "--reveal",
            "--audit-log",
            "no/such/audit.log",
        ],
        stdin: "",
        code: 8,
        kind: "audit_unavailable",
        says: &["audit log unavailable", "create it first, or check the path"],
    },
    Mistake {
        what: "an audit log that is not there",
        args: &["audit", "show", "--log", "no-such.log"],
        stdin: "",
        code: 8,
        kind: "audit_unavailable",
        says: &["there is no audit log", "check the path"],
    },
    Mistake {
        what: "no audit log named",
        args: &["audit", "show"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no audit log is named", "--log", "NCRED_AUDIT_LOG"],
    },
    Mistake {
        what: "a seed that is none",
        args: &["audit", "verify", "--log", "no-such.log", "--seed", "keys/theirs"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["not the seed of an audit log", "`.seed` file"],
    },
    Mistake {
        what: "no access policy named",
        args: &["policy", "check"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no access policy is named", "--policy", "NCRED_POLICY"],
    },
    Mistake {
        what: "an access policy that is not there",
        args: &["get", "github_token", "--policy", "no-such.toml"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["policy no-such.toml cannot be read", "check the path"],
    },
    Mistake {
        what: "a slip in an access policy",
        args: &["get", "github_token", "--policy", "slip.toml"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["slip.toml: access policy, line 6", "permissions"],
    },
    Mistake {
        what: "what no rule of the access policy allows",
        args: &[
            "get",
            "github_token",
            "--policy",
            "policy.toml",
            "--principal",
            "user:bob",
        ],
        stdin: "",
        code: 4,
        kind: "access_denied",
        says: &["user:bob may not read", "whoever keeps the access policy"],
    },
    Mistake {
        what: "a permission of no known name",
        args: &[
            "policy",
            "explain",
            "--name",
            "github_token",
            "--permission",
            "see",
        ],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no such permission", "read, use, write"],
    },
    Mistake {
        what: "a slip in a name",
        args: &["get", "gihub_token"],
        stdin: "",
        code: 3,
        kind: "not_found",
        says: &["not found", "did you mean \"github_token\"?"],
    },
    Mistake {
        what: "a name that is not lawful",
        args: &["get", "GitHub Token"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no name of a credential", "lower-case"],
    },
    Mistake {
        what: "a slip in a verb",
        args: &["rotat", "github_token"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no such verb", "did you mean `ncred rotate`?"],
    },
    Mistake {
        what: "a slip in an option",
        args: &["get", "github_token", "--revael"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no option --revael", "did you mean --reveal?"],
    },
    Mistake {
        what: "a secret in an argument",
        args: &["put", "x", "hunter2", "--type", "secret_text"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["an argument too many", "standard input", "replace the secret"],
    },
    Mistake {
        what: "a secret in an option",
        args: &["put", "x", "--type", "basic", "--password", "hunter2"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["no option --password", "standard input"],
    },
    Mistake {
        what: "a secret in a tag",
        args: &["put", "x", "--type", "basic", "--tag", "api-key=hunter2"],
        stdin: VALUE,
        code: 2,
        kind: "invalid_input",
        says: &["tags are not encrypted", "standard input"],
    },
    Mistake {
        what: "nothing on standard input",
        args: &["put", "x", "--type", "basic"],
        stdin: "\n",
        code: 2,
        kind: "invalid_input",
        says: &["standard input is empty", "username, password"],
    },
    Mistake {
        what: "a value that is not JSON",
        args: &["put", "x", "--type", "basic"],
        stdin: "{\"username\": \"u\",\n password: p}",
        code: 2,
        kind: "invalid_input",
        says: &["no JSON object (line 2, column 2)", "username, password"],
    },
    Mistake {
        what: "a field that is missing",
        args: &["put", "x", "--type", "basic"],
        stdin: r#"{"username":"u"}"#,
        code: 2,
        kind: "invalid_input",
        says: &["field \"password\" is missing", "ncred types basic"],
    },
    Mistake {
        what: "a field too many",
        args: &["put", "x", "--type", "basic"],
        stdin: r#"{"username":"u","password":"p","pasword":"p"}"#,
        code: 2,
        kind: "invalid_input",
        says: &["basic has no field \"pasword\"", "did you mean \"password\"?"],
    },
    Mistake {
        what: "a field twice",
        args: &["put", "x", "--type", "basic"],
        stdin: r#"{"username":"u","password":"p","password":"q"}"#,
        code: 2,
        kind: "invalid_input",
        says: &["twice"],
    },
    Mistake {
        what: "a field of the wrong kind",
        args: &["put", "x", "--type", "basic"],
        stdin: r#"{"username":"u","password":12345}"#,
        code: 2,
        kind: "invalid_input",
        says: &["field \"password\" must be text"],
    },
    Mistake {
        what: "a slip in a type",
        args: &["put", "x", "--type", "postgre"],
        stdin: VALUE,
        code: 2,
        kind: "invalid_input",
        says: &["no such credential type", "did you mean \"postgres\"?"],
    },
    Mistake {
        what: "another type than the stored one",
        args: &["put", "github_token", "--type", "secret_text"],
        stdin: r#"{"text":"t"}"#,
        code: 1,
        kind: "type_mismatch",
        says: &["is of type basic", "use another name"],
    },
    Mistake {
        what: "an expiry in the past",
        args: &[
            "put",
            "x",
            "--type",
            "basic",
            "--expires-at",
            "2020-01-01T00:00:00Z",
        ],
        stdin: VALUE,
        code: 2,
        kind: "invalid_input",
        says: &["in the past", "give a time to come"],
    },
    Mistake {
        what: "an expiry that is no time",
        args: &["put", "x", "--type", "basic", "--expires-at", "tomorrow"],
        stdin: VALUE,
        code: 2,
        kind: "invalid_input",
        says: &["RFC 3339", "2030-12-31T23:59:59Z"],
    },
    Mistake {
        what: "a rollback past the first version",
        args: &["rollback", "github_token"],
        stdin: "",
        code: 1,
        kind: "invalid_state",
        says: &["no earlier version", "store a new value"],
    },
    Mistake {
        what: "a version that is not kept",
        args: &["rollback", "github_token", "--to", "7"],
        stdin: "",
        code: 3,
        kind: "not_found",
        says: &["has no version 7", "`versions` shows those that are kept"],
    },
    Mistake {
        what: "a purge that nobody confirms",
        args: &["purge", "github_token"],
        stdin: "github_token\n",
        code: 2,
        kind: "invalid_input",
        says: &["destroys every version", "--yes", "ncred delete"],
    },
    Mistake {
        what: "a version that someone else replaced",
        args: &["put", "github_token", "--type", "basic", "--if-version", "9"],
        stdin: VALUE,
        code: 7,
        kind: "conflict",
        says: &["expected version 9, found version 1", "read it again"],
    },
    Mistake {
        what: "a name that is taken",
        args: &["put", "github_token", "--type", "basic", "--if-absent"],
        stdin: VALUE,
        code: 7,
        kind: "conflict",
        says: &["exists already", "rotate it"],
    },
    Mistake {
        what: "a second store in the same place",
        args: &["init"],
        stdin: "",
        code: 7,
        kind: "conflict",
        says: &["already", "--store"],
    },
    Mistake {
        what: "a field the credential does not have",
        args: &["get", "github_token", "--field", "passwrd"],
        stdin: "",
        code: 3,
        kind: "not_found",
        says: &["no such field", "did you mean \"password\"?"],
    },
    Mistake {
        what: "a profile without a configuration file",
        args: &["list", "--profile", "work"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["configuration file", "--config"],
    },
    Mistake {
        what: "a slot that is not there",
        args: &["key", "remove", "9"],
        stdin: "",
        code: 3,
        kind: "not_found",
        says: &["no slot 9", "ncred key list"],
    },
    Mistake {
        what: "the last slot removed",
        args: &["key", "remove", "1"],
        stdin: "",
        code: 1,
        kind: "invalid_state",
        says: &["last slot", "add another first"],
    },
    Mistake {
        what: "a bundle for another key",
        args: &[
            "import",
            "handed.ncb",
            "--bundle-key-file",
            ".config/nebula-credential/key",
        ],
        stdin: "",
        code: 5,
        kind: "key",
        says: &["exported for another key file", "give that one"],
    },
    Mistake {
        what: "a bundle without its key",
        args: &["import", "handed.ncb"],
        stdin: "",
        code: 5,
        kind: "key",
        says: &["opens with a key file", "--bundle-key-file"],
    },
    Mistake {
        what: "an export that is for nobody",
        args: &["export", "--out", "new.ncb"],
        stdin: "",
        code: 2,
        kind: "invalid_input",
        says: &["not said what the bundle opens with", "--for-key-file"],
    },
    Mistake {
        what: "an export over a file that is there",
        args: &["export", "--out", "handed.ncb", "--for-key-file", "keys/theirs"],
        stdin: "",
        code: 7,
        kind: "conflict",
        says: &["already", "--force"],
    },
];

const POLICY: &str = r#"version = 1
[[rules]]
id = "alice-reads"
effect = "allow"
principals = ["user:alice"]
permissions = ["read"]
tenants = ["*"]
"#;

#[test]
fn every_mistake_has_its_exit_code_and_names_the_remedy() {
    let place = Place::new();
    place.store("github_token");
    let (bundle, key) = (place.path("handed.ncb"), place.path("keys/theirs"));
    place.ok(&["export", "--out", text(&bundle), "--for-key-file", text(&key)]);
    place.file("policy.toml", POLICY);
    place.file("slip.toml", &POLICY.replace("permissions", "permisions"));
    for mistake in MISTAKES {
        let run = |args: &[&str]| {
            let mut command = place.command();
            command.args(args).current_dir(place.path("."));
            answer(command, mistake.stdin)
        };
        let told = run(mistake.args);
        let what = mistake.what;
        assert_eq!(told.code, mistake.code, "{what}: {told:?}");
        assert!(told.err.starts_with("error: "), "{what}: {told:?}");
        assert!(told.err.contains("\nhelp: "), "{what}: {told:?}");
        says(what, &told, mistake.says);

        let told = run(&[mistake.args, &["--json"]].concat());
        assert_eq!(told.code, mistake.code, "{what}: {told:?}");
        let report: serde_json::Value = serde_json::from_str(&told.err).unwrap();
        assert_eq!(report["error"]["kind"], mistake.kind, "{what}");
        assert_eq!(report["error"]["exit_code"], mistake.code, "{what}");
        assert!(report["error"]["help"].is_string(), "{what}");
        assert_eq!(told.out, "", "{what}");
    }
    // None of them changed anything.
    assert_eq!(place.json(&["list"]).as_array().unwrap().len(), 1);
    assert_eq!(
        place
            .json(&["versions", "github_token"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(!place.path("no").exists());
}

fn says(what: &str, told: &Answer, expected: &[&str]) {
    assert!(!told.err.contains("hunter2"), "{what}: {told:?}");
    for text in expected {
        assert!(told.err.contains(text), "{what}: {text:?} is missing in {told:?}");
    }
}

#[test]
fn a_value_beyond_the_limit_is_refused_and_one_within_it_is_kept() {
    let place = Place::new();
    let value = |length: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(length));
    let told = place.run(&["put", "x", "--type", "secret_text"], &value(1024 * 1024));
    assert_eq!(told.code, 2, "{told:?}");
    says("too long", &told, &["more than 1048576 bytes", "smaller value"]);
    let kept = 1024 * 1024 - value(0).len();
    assert_eq!(
        place
            .run(&["put", "x", "--type", "secret_text"], &value(kept))
            .code,
        0
    );
    assert_eq!(place.ok(&["get", "x", "--reveal", "-f", "text"]).len(), kept);
}

#[test]
fn a_tag_about_a_secret_is_no_secret() {
    let place = Place::with_db();
    place.ok(&["tags", "db", "token-type=bearer", "key.owner=web"]);
    assert_eq!(place.run(&["tags", "db", "web.token=x"], "").code, 2);
}

#[test]
fn no_key_named_and_none_in_its_place() {
    let place = Place::with_db();
    std::fs::remove_file(place.key_path()).unwrap();
    let told = place.run(&["get", "db"], "");
    assert_eq!(told.code, 5, "{told:?}");
    says(
        "no key",
        &told,
        &["no key is named", "--key-file", "NCRED_PASSPHRASE_FILE"],
    );
    assert!(!place.key_path().exists());
}

#[test]
fn a_wrong_passphrase_or_key_does_not_open() {
    let place = Place::with_db();
    let passphrase = place.file("passphrase", "wrong");
    let told = place.run(&["get", "db", "--passphrase-file", text(&passphrase)], "");
    assert_eq!(told.code, 5, "{told:?}");
    let other = Place::new();
    let told = place.run(&["get", "db", "--key-file", text(&other.key_path())], "");
    assert_eq!(told.code, 5, "{told:?}");
    says(
        "another key",
        &told,
        &["another ring's", "the one that was made with this key ring"],
    );
}

#[test]
fn a_passphrase_file_open_to_others_is_refused() {
    let place = Place::with_db();
    let open = place.file("passphrase", "x");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = place.run(&["get", "db", "--passphrase-file", text(&open)], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("open passphrase file", &told, &["chmod"]);
}

#[test]
fn a_store_open_to_others_is_refused() {
    let place = Place::with_db();
    std::fs::set_permissions(place.store_path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = place.run(&["list"], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("open store", &told, &["chmod"]);
}

#[test]
fn a_configuration_that_others_may_change_is_refused() {
    let place = Place::with_db();
    let config = place.file("config.toml", "");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
    let told = place.run(&["list", "--config", text(&config)], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("open configuration", &told, &["others may change", "chmod go-w"]);
}

#[test]
fn an_access_policy_that_others_may_change_is_refused() {
    let place = Place::with_db();
    let policy = place.file("policy.toml", POLICY);
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o664)).unwrap();
    for args in [&["get", "db"][..], &["list"], &["policy", "check"]] {
        let told = place.run(&[args, &["--policy", text(&policy)]].concat(), "");
        assert_eq!(told.code, 4, "{told:?}");
        says("open policy", &told, &["can be written by others", "chmod go-w"]);
    }
}

#[test]
fn a_flaw_of_the_configuration_is_named_by_its_line() {
    let place = Place::with_db();
    let config = place.file(
        "config.toml",
        "[profiles.work]\nstore = \"x\"\npassphrase = \"hunter2\"\n",
    );
    let told = place.run(&["list", "--config", text(&config)], "");
    assert_eq!(told.code, 2, "{told:?}");
    says("flaw", &told, &["line 3", "passphrase_file"]);
    let config = place.file("config.toml", "[profiles.work]\n[profiles.home]\n");
    let told = place.run(&["list", "--config", text(&config), "--profile", "wrok"], "");
    assert_eq!(told.code, 2, "{told:?}");
    says("two profiles", &told, &["did you mean \"work\"?"]);
}

#[test]
fn a_key_file_beside_the_data_is_refused() {
    let place = Place::bare();
    let store = place.path("store");
    let told = place.run(
        &[
            "init",
            "--store",
            text(&store),
            "--key-file",
            text(&store.join("key")),
        ],
        "",
    );
    assert_eq!(told.code, 4, "{told:?}");
    says(
        "key beside data",
        &told,
        &["beside the data", "choose a directory"],
    );
    assert!(!store.join("key").exists());
}

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
fn the_store_of_another_user_is_refused() {
    let place = Place::with_db();
    if chown(place.store_path(), Some(12345), None).is_err() {
        return skip(
            "the_store_of_another_user_is_refused",
            "only root gives files away",
        );
    }
    let told = place.run(&["list"], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("another user", &told, &["12345"]);
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
