//! The access policy of the command line: what it refuses, what it hides, and how it is checked, explained and tested.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::place::{Answer, Place, SECRET, answer, text};

const OPERATED: &str = r#"
version = 1

[groups]
payments = ["user:alice", "service:billing"]

[[rules]]
id = "payments-operate"
effect = "allow"
principals = ["group:payments"]
permissions = ["use", "rotate"]
tenants = ["default"]
names = ["stripe/*"]

[[rules]]
id = "alice-writes"
effect = "allow"
principals = ["user:alice"]
permissions = ["write"]
tenants = ["default"]

[[rules]]
id = "frozen"
effect = "deny"
principals = ["*"]
permissions = ["rotate"]
tenants = ["*"]
tags = { frozen = "yes" }

[[rules]]
id = "break-glass"
effect = "allow"
emergency = true
principals = ["user:oncall"]
permissions = ["read"]
tenants = ["default"]
"#;

const OWNED: &str = r#"
version = 1

[[rules]]
id = "anyone-stores"
effect = "allow"
principals = ["*"]
permissions = ["write"]
tenants = ["default"]
names = ["new/*"]

[[rules]]
id = "owners"
effect = "allow"
principals = ["owner"]
permissions = ["*"]
tenants = ["default"]

[[rules]]
id = "as-shared"
effect = "allow"
principals = ["granted"]
permissions = ["read", "use"]
tenants = ["default"]
"#;

const VALUE: &str = r#"{"username":"octocat","password":"canary-5up3r-s3cr3t"}"#;

/// A place under a policy.
struct Governed {
    place: Place,
    policy: PathBuf,
}

impl Governed {
    fn by(policy: &str) -> Self {
        let place = Place::new();
        let policy = place.file("policy.toml", policy);
        Self { place, policy }
    }

    fn run_with(&self, who: &str, args: &[&str], stdin: &str) -> Answer {
        let mut command = self.place.command();
        command
            .args(args)
            .env("NCRED_POLICY", &self.policy)
            .env("NCRED_PRINCIPAL", who);
        answer(command, stdin)
    }

    fn run(&self, who: &str, args: &[&str]) -> Answer {
        self.run_with(who, args, "")
    }

    fn ok(&self, who: &str, args: &[&str]) -> String {
        let answer = self.run(who, args);
        assert_eq!(answer.code, 0, "{who} {args:?}: {answer:?}");
        answer.out
    }

    fn put(&self, who: &str, name: &str) {
        let answer = self.run_with(who, &["put", name, "--type", "basic"], VALUE);
        assert_eq!(answer.code, 0, "{answer:?}");
    }

    fn names(&self, who: &str) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.ok(who, &["list", "--json"])).unwrap();
        let heads = list.as_array().unwrap().iter();
        heads
            .map(|head| head["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn what_is_allowed_is_done_and_nothing_else_and_both_are_recorded() {
    let governed = Governed::by(OPERATED);
    let log = governed.place.path("audit.log");
    governed.put("user:alice", "stripe/live");
    let run = |who: &str, args: &[&str]| {
        let mut command = governed.place.command();
        command
            .args(args)
            .env("NCRED_POLICY", &governed.policy)
            .env("NCRED_AUDIT_LOG", &log)
            .env("NCRED_PRINCIPAL", who);
        answer(command, "")
    };
    let used = run(
        "service:billing",
        &[
            "run",
            "--set",
            "P=stripe/live#password",
            "--",
            "sh",
            "-c",
            "printf %s $P",
        ],
    );
    assert_eq!((used.code, used.out.as_str()), (0, SECRET), "{used:?}");

    // To use is not to read.
    let denied = run("service:billing", &["get", "stripe/live", "--reveal"]);
    assert_eq!((denied.code, denied.out.as_str()), (4, ""), "{denied:?}");
    assert!(
        denied
            .err
            .contains("service:billing may not read default:global:stripe/live")
    );
    // Denied whether it is there or not, and so said the same.
    let absent = run("service:billing", &["get", "stripe/test", "--reveal"]);
    assert_eq!(absent.err, denied.err.replace("stripe/live", "stripe/test"));
    for args in [
        &["delete", "stripe/live"][..],
        &["export", "--out", "x", "--for-key-file", "k"],
    ] {
        let denied = run("service:billing", args);
        assert_eq!(denied.code, 4, "{args:?}: {denied:?}");
    }

    let glass = ["get", "stripe/live", "-f", "password", "--reveal"];
    assert_eq!(run("user:oncall", &glass).code, 4);
    let broken = run("user:oncall", &[&glass[..], &["--purpose", "INC-7"]].concat());
    assert_eq!((broken.code, broken.out.as_str()), (0, SECRET), "{broken:?}");

    let shown = governed.place.ok(&[
        "audit",
        "show",
        "--json",
        "--log",
        text(&log),
        "--outcome",
        "access_denied",
    ]);
    let first: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(first["event"], "permission_denied");
    assert_eq!(first["principal"], "service:billing");
    assert_eq!(first["name"], "stripe/live");
    assert_eq!(
        (&first["allowed"], &first["rule"]),
        (&json!(false), &json!("default-deny"))
    );
    let all = governed
        .place
        .ok(&["audit", "show", "--json", "--log", text(&log)]);
    assert!(all.contains(r#""rule":"payments-operate""#), "{all}");
    assert!(all.contains(r#""rule":"emergency:break-glass""#), "{all}");
}

#[test]
fn what_another_owns_is_as_if_it_were_not_there() {
    let governed = Governed::by(OWNED);
    governed.put("user:alice", "new/alice");
    governed.put("user:bobby", "new/bobby");
    assert_eq!(governed.names("user:alice"), ["new/alice", "new/bobby"]);

    // Where nobody may store, nobody learns what is there.
    let owners_only = OWNED.replace(r#"names = ["new/*"]"#, r#"names = ["free/*"]"#);
    governed.place.file("policy.toml", &owners_only);
    assert_eq!(governed.names("user:alice"), ["new/alice"]);
    let verbs: [&[&str]; 8] = [
        &["get", "NAME", "--reveal"],
        &["versions", "NAME"],
        &["tags", "NAME", "--clear"],
        &["delete", "NAME"],
        &["restore", "NAME"],
        &["sharing", "NAME"],
        &["share", "NAME", "--with", "user:alice", "--permission", "read"],
        &["rollback", "NAME"],
    ];
    for verb in verbs {
        let on = |name: &str| {
            let args: Vec<&str> = verb
                .iter()
                .map(|arg| if *arg == "NAME" { name } else { *arg })
                .collect();
            let told = governed.run("user:alice", &args);
            (told.code, told.out, told.err.replace(name, "NAME"))
        };
        // One is bobby's, and one is as far from every name that alice knows.
        let foreign = on("new/bobby");
        assert_eq!(foreign, on("new/carol"), "{verb:?}");
        assert_eq!(foreign.0, 3, "{verb:?}: {foreign:?}");
        assert!(!foreign.2.contains("bobby"), "{verb:?}: {foreign:?}");
    }
    // Deleted, too, by its owner.
    governed.ok("user:bobby", &["delete", "new/bobby"]);
    let told = governed.run("user:alice", &["get", "new/bobby"]);
    assert!(told.code == 3 && !told.err.contains("restore"), "{told:?}");
}

#[test]
fn who_owns_shares_and_ends_it() {
    let governed = Governed::by(OWNED);
    governed.put("user:alice", "new/db");
    let read = ["get", "new/db", "-f", "password", "--reveal"];
    assert_eq!(
        governed.run("user:bob", &read).code,
        4,
        "who may store a name may know of it"
    );

    let shared = [
        "share",
        "new/db",
        "--with",
        "user:bob",
        "--permission",
        "read",
        "--until",
        "2999-01-01T00:00:00Z",
    ];
    assert_eq!(governed.run("user:bob", &shared).code, 4);
    assert_eq!(
        governed.ok("user:alice", &shared),
        "shared new/db with user:bob\n"
    );
    assert_eq!(governed.ok("user:bob", &read), SECRET);
    // Read was shared, and nothing else.
    for args in [
        &["run", "--set", "P=new/db#password", "--", "true"][..],
        &["delete", "new/db"],
    ] {
        assert_eq!(governed.run("user:bob", args).code, 4, "{args:?}");
    }
    let shown: Value =
        serde_json::from_str(&governed.ok("user:alice", &["sharing", "new/db", "--json"])).unwrap();
    assert_eq!(shown["owner"], "user:alice");
    assert_eq!(shown["grants"][0]["to"], "user:bob");
    assert_eq!(shown["grants"][0]["permissions"], json!(["read"]));
    assert_eq!(shown["grants"][0]["holds"], true);
    let table = governed.ok("user:alice", &["sharing", "new/db"]);
    assert!(
        table.starts_with("new/db is owned by user:alice\nSHARED WITH"),
        "{table}"
    );

    governed.ok("user:alice", &["share", "new/db", "--revoke", "user:bob"]);
    assert_eq!(governed.run("user:bob", &read).code, 4);
    // The owner stays, whatever tags are set.
    governed.ok("user:alice", &["tags", "new/db", "--clear"]);
    let told = governed.run("user:bob", &["tags", "new/db", "nebula.access/owner=user:bob"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(
        governed
            .ok("user:alice", &["sharing", "new/db"])
            .contains("user:alice")
    );
    // What may not be begins nothing: an end in the past, and no permission.
    let past = [
        "share",
        "new/db",
        "--with",
        "user:bob",
        "--permission",
        "read",
        "--until",
        "2001-01-01T00:00:00Z",
    ];
    assert_eq!(governed.run("user:alice", &past).code, 2);
    assert_eq!(
        governed
            .run("user:alice", &["share", "new/db", "--with", "user:bob"])
            .code,
        2
    );
}

#[test]
fn a_policy_of_a_profile_lies_beside_it() {
    let governed = Governed::by(OPERATED);
    governed.place.store("db");
    let config = governed.place.file(
        "ncred.toml",
        "[profiles.default]\npolicy = \"policy.toml\"\nprincipal = \"user:alice\"\n",
    );
    let told = governed.place.run(&["get", "db", "--config", text(&config)], "");
    assert_eq!(told.code, 4, "{told:?}");
    let told = governed
        .place
        .run(&["policy", "check", "--config", text(&config)], "");
    assert_eq!(
        (
            told.code,
            told.out
                .starts_with("well formed, with 4 rules: payments-operate,")
        ),
        (0, true),
        "{told:?}"
    );
}

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
    let rule = |condition: &str| {
        format!(
            "version = 1\n[[rules]]\nid = \"r\"\neffect = \"allow\"\nprincipals = [\"user:alice\"]\n\
             permissions = [\"use\"]\ntenants = [\"*\"]\n{condition}\n"
        )
    };
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
        let policy = place.file("policy.toml", &rule(condition));
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

#[test]
fn an_option_comes_before_the_environment_and_that_before_a_profile() {
    let place = Place::with_db();
    let rule = |who: &str| {
        format!(
            "version = 1\n[[rules]]\nid = \"{who}\"\neffect = \"allow\"\nprincipals = [\"user:{who}\"]\n\
             permissions = [\"read\"]\ntenants = [\"*\"]\n"
        )
    };
    let files =
        ["option", "environment", "profile"].map(|who| place.file(&format!("{who}.toml"), &rule(who)));
    place.file("ncred.toml", "[profiles.default]\npolicy = \"profile.toml\"\n");
    let run = |who: &str, option: bool, environment: bool| {
        let mut command = place.command();
        command
            .args(["get", "db", "--principal", &format!("user:{who}")])
            .env("NCRED_CONFIG", place.path("ncred.toml"));
        if option {
            command.args(["--policy", text(&files[0])]);
        }
        if environment {
            command.env("NCRED_POLICY", &files[1]);
        }
        answer(command, "").code
    };
    for (option, environment, allowed) in [
        (true, true, "option"),
        (false, true, "environment"),
        (false, false, "profile"),
    ] {
        for who in ["option", "environment", "profile"] {
            let expected = if who == allowed { 0 } else { 4 };
            assert_eq!(
                run(who, option, environment),
                expected,
                "{who} by that of {allowed}"
            );
        }
    }
}
