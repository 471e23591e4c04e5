//! `show`, `tail`, `report` and `stats`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Audited, VALUE};
use crate::place::text;

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
fn a_log_of_tags_gets_no_names_from_the_command_line() {
    use nebula_credential::audit::{AuditLogger, Names};

    let audited = Audited::new();
    let log = AuditLogger::builder(&audited.log).names(Names::Tagged).build();
    log.open().unwrap();
    drop(log);
    audited.ok(&["get", "db"]);
    let holds_a_name = |audited: &Audited| audited.lines().concat().contains("\"name\"");
    assert!(!holds_a_name(&audited));
    let told = audited.run(&["get", "db", "--audit-names", "clear"]);
    assert_ne!(told.code, 0, "{told:?}");
    assert!(told.err.contains("begun with tags"), "{told:?}");
    assert_eq!(audited.verify().code, 0);

    // One that the command line begins.
    let audited = Audited::new();
    audited.ok(&["get", "db", "--audit-names", "tagged"]);
    audited.ok(&["get", "db"]);
    assert!(!holds_a_name(&audited));
    let seed = audited.seed();
    assert_eq!(audited.show(&["--name", "db", "--seed", text(&seed)]).len(), 2);
    let told = audited.run(&["get", "db", "--audit-names", "hashed"]);
    assert_eq!(told.code, 2, "{told:?}");
}

#[test]
fn show_finds_by_permission_by_rule_and_by_circumstance() {
    use nebula_credential::Decision;
    use nebula_credential::audit::{AuditLogger, Event, EventKind};
    use nebula_credential::{Circumstances, CredentialName, Permission};

    let audited = Audited::new();
    let log = AuditLogger::new(&audited.log);
    for (permission, rule, allowed) in [
        (Permission::Read, "payments", true),
        (Permission::Read, "emergency:break-glass", true),
        (Permission::Write, "emergency:on-call", true),
        (Permission::Write, "allow-list", false),
    ] {
        let mut event = Event::new(EventKind::Accessed);
        event.permission = Some(permission);
        event.decided(&Decision {
            allowed,
            rule: rule.into(),
        });
        let mut told = Circumstances::default();
        told.workflow = Some(CredentialName::new("invoices").unwrap());
        told.environment = Some("a, b".into());
        told.mfa = true;
        event.circumstances = Some(told.into());
        log.record(&event).unwrap();
    }
    drop(log);
    let count = |options: &[&str]| audited.show(options).len();
    assert_eq!(count(&["--permission", "write"]), 2);
    assert_eq!(count(&["--rule", "emergency:*"]), 2);
    assert_eq!(count(&["--rule", "emergency:on-call", "--permission", "read"]), 0);
    assert_eq!(count(&["--rule", "payments"]), 1);
    assert_eq!(count(&["--rule", "pay"]), 0);
    assert_eq!(count(&["--event", "emergency_access"]), 2);
    assert_eq!(count(&["--event", "scope_violation"]), 1);
    assert_eq!(audited.run(&["audit", "show", "--permission", "all"]).code, 2);

    let found = &audited.show(&["--rule", "payments"])[0];
    assert_eq!(
        json!([
            found["workflow"],
            found["environment"],
            found["mfa"],
            found["node"]
        ]),
        json!(["invoices", "a, b", true, null])
    );
    let shown = audited.ok(&["audit", "show", "--rule", "payments"]);
    assert!(
        shown.contains("workflow=invoices  environment=\"a, b\"  mfa=true"),
        "{shown}"
    );
    let csv = audited.ok(&["audit", "show", "--rule", "payments", "--csv"]);
    assert!(
        csv.contains(",purpose,workflow,node,user,environment,address,mfa,allowed,"),
        "{csv}"
    );
    assert!(
        csv.contains(",,invoices,,,\"a, b\",,true,true,payments,"),
        "{csv}"
    );
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
fn a_record_that_is_being_written_is_told_of_and_is_no_failure() {
    let audited = Audited::new();
    audited.ok(&["get", "db"]);
    let log = std::fs::read_to_string(&audited.log).unwrap();
    std::fs::write(&audited.log, log + "{\"seq\":3,\"ti").unwrap();
    for verb in [&["audit", "show"][..], &["audit", "tail"], &["audit", "report"]] {
        let told = audited.run(verb);
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.out.contains("user:alice"), "{told:?}");
        assert!(told.err.contains("the last record is not whole"), "{told:?}");
    }
    let told = audited.verify();
    let found: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &found["unfinished"]), (0, &json!(12)), "{told:?}");
    // The next to write drops it.
    audited.ok(&["get", "db"]);
    assert_eq!(audited.run(&["audit", "show"]).err, "");
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
