//! What goes into the log, and what is refused without it.

use nebula_credential_testkit::{Canary, LeakHunter};
use serde_json::json;

use super::{Audited, VALUE};
use crate::place::{Place, SECRET, answer, text};

#[test]
fn every_verb_that_touches_a_value_or_a_key_is_recorded_as_what_it_is() {
    let audited = Audited::new();
    let out = audited.place.path("all.ncb");
    let transfer = audited.place.file("transfer", "correct horse battery staple");
    let env = audited.place.file("import.env", "A_KEY=b\n");
    let key = audited.place.path("keys/second");
    // What is run, and the outcomes it leaves: event, operation, permission, name, outcome.
    let table: &[(&[&str], &[[&str; 5]])] = &[
        (
            &["get", "db", "--reveal"],
            &[["accessed", "get", "read", "db", "ok"]],
        ),
        (&["get", "no"], &[["accessed", "get", "read", "no", "not_found"]]),
        (
            &["run", "--set", "P=db#password", "--", "true"],
            &[["accessed", "get", "use", "db", "ok"]],
        ),
        (
            &["put", "new", "--type", "basic"],
            &[["created", "put", "write", "new", "ok"]],
        ),
        (
            &["put", "new", "--type", "basic"],
            &[["updated", "put", "write", "new", "ok"]],
        ),
        (
            &["rotate", "db"],
            &[
                ["accessed", "get", "use", "db", "ok"],
                ["rotated", "put", "rotate", "db", "ok"],
            ],
        ),
        (
            &["rollback", "db"],
            &[
                ["accessed", "get", "use", "db", "ok"],
                ["rotated", "put", "rotate", "db", "ok"],
            ],
        ),
        (
            &["tags", "new", "team=web"],
            &[["updated", "update", "write", "new", "ok"]],
        ),
        (
            &["delete", "new"],
            &[["deleted", "delete", "delete", "new", "ok"]],
        ),
        (
            &["restore", "new"],
            &[["restored", "restore", "delete", "new", "ok"]],
        ),
        (
            &["purge", "new", "--yes"],
            &[["purged", "delete", "delete", "new", "ok"]],
        ),
        (
            &["import", text(&env)],
            &[["created", "put", "write", "a_key", "ok"]],
        ),
        (
            &[
                "export",
                "db",
                "--out",
                text(&out),
                "--for-passphrase-file",
                text(&transfer),
            ],
            &[["accessed", "get", "read", "db", "ok"]],
        ),
        (
            &["key", "add", "--new-key-file", text(&key)],
            &[
                ["accessed", "key_ring", "admin", "", "ok"],
                ["key_rotated", "add_slot", "admin", "", "ok"],
            ],
        ),
        (
            &["key", "remove", "2"],
            &[
                ["accessed", "key_ring", "admin", "", "ok"],
                ["key_rotated", "remove_slot", "admin", "", "ok"],
            ],
        ),
        (
            &["key", "rotate"],
            &[
                ["accessed", "key_ring", "admin", "", "ok"],
                ["key_rotated", "rotate_key", "admin", "", "ok"],
            ],
        ),
        (
            &["key", "rewrap", "--destroy-unused"],
            &[
                ["accessed", "key_ring", "admin", "", "ok"],
                ["key_rotated", "rewrap", "admin", "", "ok"],
                ["key_rotated", "destroy_epochs", "admin", "", "ok"],
            ],
        ),
        (
            &["get", "db", "--key-file", text(&key)],
            &[["permission_denied", "unlock", "admin", "", "key"]],
        ),
        // Names and types are no secret, and nothing is opened for them.
        (&["list"], &[]),
        (&["versions", "db"], &[]),
        (&["stats"], &[]),
        (&["key", "status"], &[["accessed", "key_ring", "admin", "", "ok"]]),
    ];
    let mut seen = 0;
    for (args, expected) in table {
        let told = audited.run_as("user:alice", args, VALUE);
        let shown = audited.show(&[]);
        let found: Vec<[&str; 5]> = shown[seen..]
            .iter()
            .filter(|entry| entry["stage"] == "outcome" && entry["event"] != "log_opened")
            .map(|entry| {
                assert_eq!(entry["principal"], "user:alice", "{args:?}");
                ["event", "operation", "permission", "name", "outcome"]
                    .map(|field| entry[field].as_str().unwrap_or_default())
            })
            .collect();
        assert_eq!(found, *expected, "{args:?}: {told:?}");
        // Each change was announced before it was made.
        for entry in &shown[seen..] {
            if entry["event"] != "accessed" && entry["operation"] != "unlock" && entry["stage"] == "outcome" {
                let intent = entry["intent"].as_u64();
                assert_eq!(intent.is_some(), entry["event"] != "log_opened", "{entry}");
                if let Some(intent) = intent {
                    assert_eq!(shown[usize::try_from(intent).unwrap() - 1]["stage"], "intent");
                }
            }
        }
        seen = shown.len();
    }
    assert_eq!(audited.verify().code, 0);
}

#[test]
fn principal_purpose_and_log_come_from_options_environment_and_profile() {
    let audited = Audited::new();
    let config = audited.place.file(
        "ncred.toml",
        "[profiles.default]\naudit_log = \"audit.log\"\nprincipal = \"service:ci\"\npurpose = \"nightly\"\n",
    );
    let get = ["get", "db", "--config", text(&config)];
    audited.place.ok(&get);
    audited.ok(&get);
    audited.ok(&[
        &get[..],
        &["--principal", "workflow:w/1", "--purpose", "a \"test\"\u{1b}"],
    ]
    .concat());
    audited
        .place
        .ok(&["get", "db", "--audit-log", text(&audited.log)]);
    let found: Vec<_> = audited
        .show(&["--event", "accessed"])
        .iter()
        .map(|entry| (entry["principal"].clone(), entry["purpose"].clone()))
        .collect();
    assert_eq!(
        json!(found),
        json!([
            ["service:ci", "nightly"],
            ["user:alice", "nightly"],
            ["workflow:w/1", "a \"test\"\u{1b}"],
            ["process", null],
        ])
    );
    // A terminal is shown no control characters.
    let shown = audited.ok(&["audit", "show"]);
    assert!(shown.contains("\\u{1b}") && !shown.contains('\u{1b}'), "{shown}");

    for (name, value) in [("NCRED_PRINCIPAL", "alice"), ("NCRED_PRINCIPAL", "robot:r2")] {
        let mut command = audited.place.command();
        command.args(["get", "db"]).env(name, value);
        let told = answer(command, "");
        assert_eq!(told.code, 2, "{told:?}");
        assert!(
            told.err.contains(name) && told.err.contains("user:NAME"),
            "{told:?}"
        );
    }
}

#[test]
fn without_a_record_nothing_is_released_and_nothing_changed() {
    let audited = Audited::new();
    audited.ok(&["get", "db"]);
    let moved = audited.place.path("moved");
    std::fs::rename(&audited.log, &moved).unwrap();
    let ran = audited.place.path("ran");
    let bundle = audited.place.path("all.ncb");
    let transfer = audited.place.file("transfer", "correct horse battery staple");
    let verbs: &[&[&str]] = &[
        &["get", "db", "--reveal"],
        &["get", "db", "--reveal", "--field", "password"],
        &["put", "other", "--type", "basic"],
        &["rotate", "db"],
        &["delete", "db"],
        &["purge", "db", "--yes"],
        &["run", "--set", "P=db#password", "--", "touch", text(&ran)],
        &[
            "export",
            "--out",
            text(&bundle),
            "--for-passphrase-file",
            text(&transfer),
        ],
        &["key", "rotate"],
    ];
    for args in verbs {
        let told = audited.run_as("user:alice", args, VALUE);
        assert_eq!(told.code, 8, "{args:?}: {told:?}");
        assert_eq!(told.out, "", "{args:?}");
        assert!(told.err.contains("audit log unavailable"), "{told:?}");
        assert!(told.err.contains("\nhelp: put it back"), "{told:?}");
        assert!(!told.err.contains(SECRET), "{told:?}");
    }
    assert!(!ran.exists() && !bundle.exists());
    let nowhere = audited
        .place
        .run(&["get", "db", "--reveal", "--audit-log", "no/such/audit.log"], "");
    assert_eq!((nowhere.code, nowhere.out.as_str()), (8, ""), "{nowhere:?}");
    assert_eq!(audited.place.json(&["list"]).as_array().unwrap().len(), 1);
    assert_eq!(
        audited.place.json(&["versions", "db"]).as_array().unwrap().len(),
        1
    );
    assert_eq!(
        audited.place.json(&["key", "status"])["keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    std::fs::rename(&moved, &audited.log).unwrap();
    audited.ok(&["get", "db"]);
    assert_eq!(audited.verify().code, 0);
}

#[test]
fn a_new_log_says_that_its_seed_is_to_be_taken_away_and_only_a_new_one() {
    let audited = Audited::new();
    let first = audited.run(&["get", "db"]);
    assert!(
        first.err.contains("take its seed") && first.err.contains(text(&audited.seed())),
        "{first:?}"
    );
    std::fs::rename(audited.seed(), audited.place.path("seed")).unwrap();
    let second = audited.run(&["get", "db"]);
    assert_eq!((second.code, second.err.as_str()), (0, ""));
    assert!(!audited.seed().exists());
}

#[test]
fn no_value_and_no_key_comes_into_the_log() {
    let place = Place::new();
    let (first, second) = (Canary::text(), Canary::text());
    let passphrase = Canary::text();
    let value = |canary: &Canary| json!({"username": "octocat", "password": canary.secret()}).to_string();
    let audited = Audited::of(place);
    let transfer = audited.place.file("transfer", &passphrase.secret());
    let bundle = audited.place.path("all.ncb");
    let env = format!("KEY={}\n", second.secret());
    let runs: &[(&[&str], &str)] = &[
        (&["put", "db", "--type", "basic"], &value(&first)),
        (
            &["put", "x", "--type", "basic"],
            &value(&first).replace("password", "passwort"),
        ),
        (&["get", "db", "--reveal"], ""),
        (&["get", &first.secret()], ""),
        (&["rotate", "db"], &value(&second)),
        (&["rollback", "db"], ""),
        (&["run", "--set", "P=db#password", "--", "true"], ""),
        (&["import", "-", "--format", "env"], &env),
        (
            &[
                "export",
                "--out",
                text(&bundle),
                "--for-passphrase-file",
                text(&transfer),
            ],
            "",
        ),
        (&["key", "add", "--new-passphrase-file", text(&transfer)], ""),
        (&["key", "rotate"], ""),
        (&["key", "rewrap"], ""),
    ];
    for (args, stdin) in runs {
        audited.run_as("user:alice", args, stdin);
    }
    assert!(audited.lines().len() > 20, "{:?}", audited.lines());
    let key = std::fs::read(audited.place.key_path()).unwrap();
    let hunter = LeakHunter::new()
        .hunt("the stored password", &first)
        .hunt("the newer password", &second)
        .hunt("the passphrase", &passphrase)
        .hunt("the key", &Canary::of(&key[9..41]));
    for file in ["audit.log", "audit.log.state", "audit.log.seed"] {
        hunter.check(file, std::fs::read(audited.place.path(file)).unwrap());
    }
}
