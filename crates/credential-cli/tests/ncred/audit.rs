//! The audit log of the command line: what it holds, what it refuses without it, and how it is read.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use nebula_credential_testkit::{Canary, LeakHunter};
use serde_json::{Value, json};

use crate::place::{Answer, Place, SECRET, answer, text};

/// A place whose every run is recorded.
struct Audited {
    place: Place,
    log: PathBuf,
}

impl Audited {
    /// With `db` in it, put there before anything is recorded.
    fn new() -> Self {
        let place = Place::with_db();
        let log = place.path("audit.log");
        Self { place, log }
    }

    fn seed(&self) -> PathBuf {
        self.place.path("audit.log.seed")
    }

    fn run_as(&self, who: &str, args: &[&str], stdin: &str) -> Answer {
        let mut command = self.place.command();
        command
            .args(args)
            .env("NCRED_AUDIT_LOG", &self.log)
            .env("NCRED_PRINCIPAL", who);
        answer(command, stdin)
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.run_as("user:alice", args, "")
    }

    fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.out
    }

    /// What `ncred audit show` with these options shows.
    fn show(&self, options: &[&str]) -> Vec<Value> {
        let args = [&["audit", "show", "--json"], options].concat();
        let lines = self.ok(&args);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn verify(&self) -> Answer {
        self.run(&["audit", "verify", "--seed", text(&self.seed()), "--json"])
    }

    fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        std::fs::write(&self.log, lines.join("\n") + "\n").unwrap();
    }
}

const VALUE: &str = r#"{"username":"octocat","password":"n3wer"}"#;

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
fn show_finds_by_who_what_how_and_when() {
    let audited = Audited::new();
    audited.ok(&["get", "db"]);
    audited.run_as("service:web", &["get", "db"], "");
    audited.run_as("service:web", &["get", "nothing"], "");
    audited.run_as("service:web", &["put", "api", "--type", "basic"], VALUE);
    let count = |options: &[&str]| audited.show(options).len();
    let all = count(&[]);
    assert_eq!(count(&["--principal", "service:web"]), 4);
    assert_eq!(count(&["--principal", "user:alice"]), 1);
    assert_eq!(count(&["--principal", "user:nobody"]), 0);
    assert_eq!(count(&["--name", "db"]), 2);
    assert_eq!(count(&["--name", "db", "--tenant", "acme"]), 0);
    assert_eq!(count(&["--name", "db", "--principal", "service:web"]), 1);
    assert_eq!(count(&["--event", "created"]), 2);
    assert_eq!(count(&["--outcome", "failed"]), 1);
    assert_eq!(count(&["--outcome", "not_found"]), 1);
    assert_eq!(count(&["--outcome", "ok", "--event", "accessed"]), 2);
    assert_eq!(count(&["--since", "1h"]), all);
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(count(&["--since", "2999-01-01T00:00:00Z"]), 0);

    let csv = audited.ok(&["audit", "show", "--csv", "--event", "created"]);
    let mut lines = csv.lines();
    let columns = lines.next().unwrap().split(',').count();
    assert!(lines.all(|line| line.split(',').count() == columns), "{csv}");
    assert_eq!(csv.lines().count(), 3);

    let last = audited.ok(&["audit", "tail", "-n", "1", "--json"]);
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(
        (&last["event"], &last["stage"]),
        (&json!("created"), &json!("outcome"))
    );
    assert_eq!(audited.ok(&["audit", "tail", "-n", "0"]), "");
}

#[test]
fn with_the_seed_a_log_of_tags_is_searched_by_name() {
    use nebula_credential::audit::{AuditLogger, Event, EventKind, Names};
    use nebula_credential::{CredentialName, CredentialRef, Scope, TenantId};

    let audited = Audited::new();
    let log = AuditLogger::builder(&audited.log).names(Names::Tagged).build();
    for name in ["db", "api", "db"] {
        let mut event = Event::new(EventKind::Custom);
        event.id = Some(CredentialRef::new(
            TenantId::default(),
            Scope::default(),
            CredentialName::new(name).unwrap(),
        ));
        log.record(&event).unwrap();
    }
    drop(log);
    assert!(!audited.lines().concat().contains("\"db\""));
    assert_eq!(audited.show(&["--name", "db"]).len(), 0);
    let seed = audited.seed();
    let found = audited.show(&["--name", "db", "--seed", text(&seed)]);
    assert_eq!(found.len(), 2);
    let tag = found[0]["tag"].as_str().unwrap();
    assert_eq!(audited.show(&["--tag", tag]), found);
    let told = audited.run(&["audit", "show", "--tag", "db"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.err.contains("32 hexadecimal digits"), "{told:?}");
}

#[test]
fn tail_follows_what_comes() {
    let audited = Audited::new();
    audited.ok(&["get", "db"]);
    let mut follower = audited
        .place
        .command()
        .args([
            "audit", "tail", "-n", "1", "--follow", "--json", "--event", "accessed", "--log",
        ])
        .arg(&audited.log)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["principal"], "user:alice");
    for who in ["user:bob", "user:carol"] {
        audited.run_as(who, &["get", "db"], "");
        assert_eq!(next()["principal"], who);
    }
    // The log goes on in a new file.
    std::fs::rename(&audited.log, audited.place.path("audit.log.000001")).unwrap();
    audited.run_as("user:dave", &["get", "db"], "");
    assert_eq!(next()["principal"], "user:dave");
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(audited.verify().code, 0);
}

#[test]
fn report_is_the_access_history_of_a_subject_or_a_credential() {
    let audited = Audited::new();
    for _ in 0..3 {
        audited.ok(&["get", "db"]);
    }
    audited.run_as("service:web", &["rotate", "db"], VALUE);
    audited.run_as("service:web", &["get", "gone"], "");
    let report = |options: &[&str]| -> Value {
        let args = [&["audit", "report", "--json"], options].concat();
        serde_json::from_str(&audited.ok(&args)).unwrap()
    };
    let counts = |report: &Value| -> Vec<Value> {
        let lines = report.as_array().unwrap().iter();
        lines
            .map(|line| {
                json!([
                    line["principal"],
                    line["name"],
                    line["reads"],
                    line["changes"],
                    line["failed"]
                ])
            })
            .collect()
    };
    assert_eq!(
        counts(&report(&[])),
        [
            json!(["service:web", "db", 1, 1, 0]),
            json!(["service:web", "gone", 0, 0, 1]),
            json!(["user:alice", "db", 3, 0, 0]),
        ]
    );
    assert_eq!(counts(&report(&["--name", "db"])).len(), 2);
    assert_eq!(counts(&report(&["--principal", "user:alice"])).len(), 1);
    let line = &report(&["--principal", "user:alice"])[0];
    assert!(line["first"].as_str() < line["last"].as_str());
    let csv = audited.ok(&["audit", "report", "--csv"]);
    assert!(
        csv.starts_with("principal,tenant,scope,name,tag,reads,changes,"),
        "{csv}"
    );
    assert!(csv.contains("\nuser:alice,default,global,db,,3,0,0,0,"), "{csv}");
    let shown = audited.ok(&["audit", "report"]);
    assert!(shown.contains("default:global:db"), "{shown}");
}

#[test]
fn verify_names_what_is_wrong_and_where() {
    let audited = Audited::new();
    for _ in 0..3 {
        audited.ok(&["get", "db"]);
    }
    let found: Value = serde_json::from_str(&audited.verify().out).unwrap();
    assert_eq!(
        found,
        json!({
            "intact": true, "records": 6, "first": 1, "last": 6, "files": 1, "checkpoints": 0,
            "problem": null, "gaps": [], "tail": "complete", "known_through": 6,
        })
    );
    let whole = audited.lines();
    let wrong = |lines: &[String]| -> (i32, Value) {
        audited.write(lines);
        let told = audited.verify();
        (told.code, serde_json::from_str(&told.out).unwrap())
    };

    let mut changed = whole.clone();
    changed[3] = changed[3].replace("user:alice", "user:carol");
    let (code, found) = wrong(&changed);
    assert_eq!(
        (code, &found["problem"]["line"], &found["problem"]["record"]),
        (6, &json!(4), &json!(4))
    );
    assert_eq!(found["problem"]["fault"], "forged");
    assert_eq!(found["problem"]["file"], text(&audited.log));

    let mut removed = whole.clone();
    removed.remove(2);
    let (code, found) = wrong(&removed);
    assert_eq!((code, &found["problem"]["line"]), (6, &json!(3)));
    assert_eq!(found["problem"]["fault"], "out_of_order");

    let (code, found) = wrong(&whole[..4]);
    assert_eq!(
        (code, &found["tail"], &found["known_through"]),
        (6, &json!("cut"), &json!(6))
    );

    // Without the state a cut end cannot be known, and that is said.
    let state = audited.place.path("audit.log.state");
    let away = audited.place.path("state");
    std::fs::rename(&state, &away).unwrap();
    let (code, found) = wrong(&whole[..4]);
    assert_eq!((code, &found["tail"]), (0, &json!("unknown")));
    let said = audited.ok(&["audit", "verify", "--seed", text(&audited.seed())]);
    assert!(said.contains("cannot be known"), "{said}");
    std::fs::rename(&away, &state).unwrap();

    audited.write(&whole);
    let seed = std::fs::read_to_string(audited.seed()).unwrap();
    let key = seed
        .lines()
        .find_map(|line| line.strip_prefix("verifier "))
        .unwrap();
    let file = audited.place.file("verifier", key);
    for verifier in [key, text(&file), text(&audited.seed())] {
        let said = audited.ok(&["audit", "verify", "--verifier", verifier]);
        assert!(said.contains("only the seed tells"), "{said}");
    }
}

#[test]
fn what_is_no_record_is_passed_over_and_told() {
    let audited = Audited::new();
    audited.ok(&["get", "db"]);
    let mut lines = audited.lines();
    lines.insert(1, "no record".to_owned());
    audited.write(&lines);
    for verb in [&["audit", "show"][..], &["audit", "tail"], &["audit", "report"]] {
        let told = audited.run(verb);
        assert_eq!(told.code, 6, "{told:?}");
        assert!(told.out.contains("user:alice"), "{told:?}");
        assert!(told.err.contains("ncred audit verify"), "{told:?}");
    }
}

#[test]
fn no_value_and_no_key_comes_into_the_log() {
    let place = Place::new();
    let (first, second) = (Canary::text(), Canary::text());
    let passphrase = Canary::text();
    let value = |canary: &Canary| json!({"username": "octocat", "password": canary.secret()}).to_string();
    let audited = Audited {
        log: place.path("audit.log"),
        place,
    };
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

#[test]
fn stats_show_a_store_at_a_glance() {
    let audited = Audited::new();
    let put = |name: &str, options: &[&str]| {
        let args = [&["put", name, "--type", "basic"], options].concat();
        assert_eq!(audited.run_as("user:alice", &args, VALUE).code, 0);
    };
    let in_days = |days: i64| {
        let begin = std::time::SystemTime::UNIX_EPOCH;
        let now = chrono::DateTime::<chrono::Utc>::from(begin) + begin.elapsed().unwrap();
        (now + chrono::TimeDelta::days(days)).to_rfc3339()
    };
    put("soon", &["--expires-at", &in_days(10)]);
    put("later", &["--expires-at", &in_days(90)]);
    put("gone", &[]);
    put("gone", &[]);
    put("elsewhere", &["--tenant", "acme"]);
    audited.ok(&["delete", "gone"]);

    let stats: Value = serde_json::from_str(&audited.ok(&["stats", "--json"])).unwrap();
    let known = &stats["credentials"];
    assert_eq!(
        json!([
            known["live"],
            known["deleted"],
            known["expired"],
            known["expiring"]
        ]),
        json!([4, 1, 0, 1])
    );
    assert_eq!(known["next_expiry"].as_str().unwrap()[..10], in_days(10)[..10]);
    assert_eq!(stats["versions"], 6);
    assert_eq!(stats["generation"], 7);
    assert!(stats["bytes"].as_u64().unwrap() > 4096);
    assert_eq!(stats["keys"]["keys"][0]["state"], "primary");
    assert_eq!(
        stats["audit"]["bytes"].as_u64().unwrap(),
        std::fs::metadata(&audited.log).unwrap().len()
    );
    let shown = audited.place.ok(&["stats"]);
    assert!(shown.contains("expire within 30 days   1"), "{shown}");
    assert!(!shown.contains("audit log"), "{shown}");

    // Without a key everything but the keys is known.
    std::fs::remove_file(audited.place.key_path()).unwrap();
    assert_eq!(audited.place.json(&["stats"])["keys"], Value::Null);
    let told = audited.place.run(&["stats", "--store", "no"], "");
    assert_eq!(told.code, 3, "{told:?}");
}
