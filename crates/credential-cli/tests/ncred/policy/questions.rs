//! `ncred policy`: how a policy is checked, explained and tested.

use serde_json::{Value, json};

use super::governed::{Governed, OPERATED, OWNED, allowing};
use crate::place::{Place, text};

#[test]
fn a_policy_is_checked() {
    let place = Place::bare();
    let policy = place.file("policy.toml", OPERATED);
    let rules = place.json(&["policy", "check", text(&policy)])["rules"].clone();
    assert_eq!(
        rules,
        json!(["payments-operate", "alice-writes", "frozen", "break-glass"])
    );
    let line = |needle: &str| OPERATED.lines().position(|line| line.contains(needle)).unwrap() + 1;
    // The line of a rule is that of its header.
    let flaws = [
        ("group:payments\"]", "group:payment\"]", 0),
        ("effect = \"deny\"", "effect = \"forbid\"", 0),
        ("id = \"frozen\"", "id = \"alice-writes\"", 1),
        ("emergency = true", "emergency = \"true\"", 0),
    ];
    for (right, wrong, before) in flaws {
        let policy = place.file("flawed.toml", &OPERATED.replacen(right, wrong, 1));
        let told = place.run(&["policy", "check", text(&policy)], "");
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{wrong}: {told:?}");
        let at = format!("line {}:", line(right) - before);
        assert!(told.err.contains(&at), "{wrong}: {at} {told:?}");
        assert!(told.err.contains("\nhelp: "), "{wrong}: {told:?}");
    }
}

/// Who asks, what for, of which name, and with which options.
type Asked<'a> = (&'a str, &'a str, &'a str, &'a [&'a str]);

#[test]
fn why_is_explained() {
    let governed = Governed::by(OPERATED);
    let ask = |who: &str, permission: &str, name: &str, more: &[&str]| {
        let args = ["policy", "explain", "--permission", permission, "--name", name];
        governed.run(who, &[&args, more].concat())
    };
    // The exit code, and what is said of it.
    let table: &[(Asked<'_>, i32, &str)] = &[
        (
            ("user:alice", "use", "stripe/live", &[]),
            0,
            "allowed: user:alice use default:global:stripe/live, by rule `payments-operate`\n",
        ),
        (
            ("user:alice", "use", "github", &[]),
            4,
            "denied: user:alice use default:global:github, because no rule allows it\n  \
             rule `payments-operate` does not apply: names\n  \
             rule `alice-writes` does not apply: permissions\n",
        ),
        (
            ("user:alice", "use", "stripe/live", &["--tenant", "acme"]),
            4,
            "denied: user:alice use acme:global:stripe/live, because no rule allows it\n  \
             rule `payments-operate` does not apply: tenants\n",
        ),
        (
            ("user:alice", "rotate", "stripe/live", &[]),
            4,
            "depends: user:alice rotate default:global:stripe/live, on the tags, the owner or the grants of the \
             credential\n  rule `payments-operate` allows it\n",
        ),
        (
            ("user:alice", "rotate", "stripe/live", &["--tag", "frozen=yes"]),
            4,
            "denied: user:alice rotate default:global:stripe/live, by rule `frozen`\n  \
             rule `payments-operate` allows it\n",
        ),
        (
            ("user:alice", "rotate", "stripe/live", &["--tag", "frozen=no"]),
            0,
            "allowed: user:alice rotate default:global:stripe/live, by rule `payments-operate`\n",
        ),
        (
            ("user:oncall", "read", "db", &["--purpose", "INC-7"]),
            0,
            "allowed: user:oncall read default:global:db, by rule `break-glass` for emergencies\n",
        ),
        (
            ("user:alice", "know", "db", &[]),
            0,
            "allowed: user:alice know default:global:db, by rule `alice-writes`\n",
        ),
    ];
    for ((who, permission, name, more), code, said) in table {
        let told = ask(who, permission, name, more);
        assert_eq!((told.code, told.out.as_str()), (*code, *said), "{told:?}");
        assert_eq!(told.err, "");
        let json: Value =
            serde_json::from_str(&ask(who, permission, name, &[more, &["--json"][..]].concat()).out).unwrap();
        let decision = json["decision"].as_str().unwrap();
        assert!(said.starts_with(decision), "{json}");
        assert_eq!(json["rules"].as_array().unwrap().len(), 4);
        assert_eq!(json["emergency"], said.contains("emergencies"), "{json}");
    }

    // As it is in the store.
    governed.put("user:alice", "stripe/live");
    governed.ok("user:alice", &["tags", "stripe/live", "frozen=yes"]);
    let told = ask("user:alice", "rotate", "stripe/live", &["--stored"]);
    assert!(
        told.code == 4 && told.out.contains("by rule `frozen`"),
        "{told:?}"
    );
    assert_eq!(ask("user:alice", "rotate", "stripe/test", &["--stored"]).code, 3);
}

#[test]
fn circumstances_owners_and_grants_can_be_told() {
    let place = Place::bare();
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "when = { environments = [\"production\"] }",
            &["--environment", "production"],
            &["--environment", "test"],
        ),
        (
            "when = { networks = [\"10.0.0.0/8\"] }",
            &["--address", "10.1.2.3"],
            &["--address", "192.0.2.1"],
        ),
        ("when = { mfa = true }", &["--mfa"], &[]),
        (
            "when = { purposes = [\"deploy*\"] }",
            &["--purpose", "deploy 7"],
            &["--purpose", "look"],
        ),
        (
            "when = { workflows = [\"w\"] }",
            &["--workflow", "w"],
            &["--workflow", "v"],
        ),
        (
            "when = { nodes = [\"n\"] }",
            &["--node", "n"],
            &["--workflow", "n"],
        ),
        ("when = { users = [\"u\"] }", &["--user", "u"], &["--user", "v"]),
        (
            "when = { hours = \"08:00-18:00\" }",
            &["--at", "2027-01-04T09:00:00Z"],
            &["--at", "2027-01-04T19:00:00Z"],
        ),
        (
            "scopes = [\"workflow/{workflow}\"]",
            &["--scope", "workflow/w", "--workflow", "w"],
            &["--scope", "workflow/w"],
        ),
        (
            "tags = { team = \"web\" }",
            &["--tag", "team=web"],
            &["--tag", "team=db"],
        ),
    ];
    for (condition, given, not) in table {
        let policy = place.file("policy.toml", &allowing("user:alice", "use", condition));
        let ask = |more: &[&str]| {
            let args = [
                "policy",
                "explain",
                "--policy",
                text(&policy),
                "--principal",
                "user:alice",
            ];
            let what = ["--permission", "use", "--name", "db"];
            place.run(&[&args, &what[..], more].concat(), "").code
        };
        assert_eq!((ask(given), ask(not)), (0, 4), "{condition}");
    }
    let policy = place.file("policy.toml", OWNED);
    let table: &[(&str, &[&str], i32)] = &[
        ("delete", &["--owner", "user:alice"], 0),
        ("delete", &["--owner", "user:bob"], 4),
        ("use", &["--owner", "user:bob", "--granted", "use"], 0),
        ("use", &["--granted", "read"], 4),
        ("delete", &["--granted", "delete"], 4),
    ];
    for (permission, more, code) in table {
        let args = [
            "policy",
            "explain",
            "--policy",
            text(&policy),
            "--principal",
            "user:alice",
        ];
        let what = ["--permission", permission, "--name", "db"];
        let told = place.run(&[&args, &what[..], more].concat(), "");
        assert_eq!(told.code, *code, "{permission} {more:?}: {told:?}");
    }
}

const CASES: &str = r#"policy = "policy.toml"

[[cases]]
expect = "allow"
rule = "payments-operate"
principal = "service:billing"
permission = "use"
name = "stripe/live"

[[cases]]
expect = "deny"
rule = "frozen"
principal = "user:alice"
permission = "rotate"
name = "stripe/live"
tags = { frozen = "yes" }

[[cases]]
expect = "deny"
rule = "default-deny"
principal = "user:oncall"
permission = "read"
name = "db"
at = 2027-01-04T09:00:00Z

[[cases]]
expect = "allow"
principal = "user:oncall"
permission = "read"
name = "db"
purpose = "INC-7"
"#;

#[test]
fn a_policy_is_tested_against_what_it_should_decide() {
    let place = Place::bare();
    place.file("policy.toml", OPERATED);
    let cases = place.file("cases.toml", CASES);
    let run = |more: &[&str]| place.run(&[&["policy", "test", text(&cases)], more].concat(), "");
    let told = run(&[]);
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "4 cases, all as expected\n"),
        "{told:?}"
    );

    // Another policy decides otherwise, and each difference is named by its line.
    let laxer = OPERATED
        .replace("emergency = true\n", "")
        .replace("tags = { frozen = \"yes\" }", "tags = { frozen = \"no\" }");
    let other = place.file("laxer.toml", &laxer);
    let told = run(&["--policy", text(&other)]);
    assert_eq!(told.code, 1, "{told:?}");
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert!(
        lines[0].ends_with(
            "cases.toml:10: expected deny by rule `frozen`, but allowed: user:alice rotate \
             default:global:stripe/live, by rule `payments-operate`"
        ),
        "{told:?}"
    );
    assert!(
        lines[1].contains("cases.toml:18: expected deny by rule `default-deny`"),
        "{told:?}"
    );
    assert!(told.err.contains("2 of 4 cases are not as expected"), "{told:?}");
    let told = run(&["--policy", text(&other), "--json"]);
    let json: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &json["cases"]), (1, &json!(4)));
    assert_eq!(json["failed"][0]["line"], 10);
    assert_eq!(json["failed"][0]["decision"], "allowed");

    // The right decision by another rule is not what was expected.
    place.file(
        "cases.toml",
        &CASES.replace("rule = \"frozen\"", "rule = \"default-deny\""),
    );
    assert_eq!(run(&[]).code, 1);

    for (right, wrong, line) in [
        ("permission = \"use\"", "permision = \"use\"", 7),
        ("expect = \"allow\"", "expect = \"yes\"", 4),
        ("permission = \"use\"", "permission = \"see\"", 3),
        ("principal = \"user:alice\"", "principal = \"alice\"", 10),
        ("2027-01-04T09:00:00Z", "2027-01-04", 18),
    ] {
        place.file("cases.toml", &CASES.replacen(right, wrong, 1));
        let told = run(&[]);
        assert_eq!(told.code, 2, "{wrong}: {told:?}");
        let at = format!("line {line}");
        assert!(told.err.contains(&at), "{wrong}: {at} {told:?}");
        assert!(told.err.contains("\nhelp: "), "{wrong}: {told:?}");
    }
    // No case is none that holds.
    place.file("cases.toml", "policy = \"policy.toml\"\ncases = []\n");
    assert_eq!(run(&[]).code, 2);
}
