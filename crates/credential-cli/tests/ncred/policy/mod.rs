//! The access policy of the command line: what it refuses, what it hides, and what is shared.

mod governed;
mod looks;
mod questions;
mod whole_store;

use serde_json::{Value, json};

pub(crate) use self::governed::allowing;
use self::governed::{Governed, OPERATED, OWNED};
use crate::place::{Place, SECRET, answer, text};

#[test]
fn what_is_allowed_is_done_and_nothing_else_and_both_are_recorded() {
    let governed = Governed::by(OPERATED);
    governed.put("user:alice", "stripe/live");
    let run = |who: &str, args: &[&str]| governed.recorded(who, args);
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

    let records = governed.records();
    let denied = records
        .iter()
        .find(|record| record["outcome"] == "access_denied")
        .unwrap();
    assert_eq!(denied["event"], "permission_denied");
    assert_eq!(denied["principal"], "service:billing");
    assert_eq!(denied["name"], "stripe/live");
    assert_eq!(
        (&denied["allowed"], &denied["rule"]),
        (&json!(false), &json!("default-deny"))
    );
    for rule in ["payments-operate", "emergency:break-glass"] {
        assert!(records.iter().any(|record| record["rule"] == rule), "{records:?}");
    }
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
    assert_eq!(governed.run("user:carol", &shared).code, 4);
    let told = governed.run("user:bob", &shared);
    assert!(
        told.code == 2 && told.err.contains("name another principal"),
        "{told:?}"
    );
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

    let told = governed.recorded("user:alice", &["share", "new/db", "--revoke", "user:bob"]);
    assert_eq!(told.code, 0, "{told:?}");
    let last = governed.records().pop().unwrap();
    assert_eq!(
        (&last["permission"], &last["rule"]),
        (&json!("share"), &json!("owners")),
        "{last}"
    );
    assert_eq!(
        (&last["name"], &last["outcome"]),
        (&json!("new/db"), &json!("ok")),
        "{last}"
    );
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
fn what_stays_shared_is_told_when_a_grant_ends() {
    let passed_on = OWNED.replace(r#"["read", "use"]"#, r#"["read", "use", "share"]"#);
    let governed = Governed::by(&passed_on);
    governed.put("user:alice", "new/db");
    let until = ["--until", "2999-01-01T00:00:00Z"];
    for (by, to, permissions, until) in [
        ("user:alice", "user:bob", "read+share", &[][..]),
        ("user:alice", "user:carol", "read", &until),
        ("user:bob", "user:carol", "read", &[]),
        ("user:bob", "user:dave", "read", &[]),
    ] {
        let permissions = permissions.split('+').flat_map(|one| ["--permission", one]);
        let mut args = vec!["share", "new/db", "--with", to];
        args.extend(permissions.chain(until.iter().copied()));
        governed.ok(by, &args);
    }
    let read = ["get", "new/db", "-f", "password", "--reveal"];

    let told = governed.ok("user:bob", &["share", "new/db", "--revoke", "user:carol"]);
    assert_eq!(
        told,
        "ended what you shared of new/db with user:carol; still shared with user:carol: read by user:alice until \
         2999-01-01T00:00:00Z\n"
    );
    assert_eq!(governed.ok("user:carol", &read), SECRET);
    // Of what nobody else shared, nothing is left.
    let told = governed.ok("user:bob", &["share", "new/db", "--revoke", "user:dave"]);
    assert_eq!(told, "new/db is no longer shared with user:dave\n");
    assert_eq!(governed.run("user:dave", &read).code, 4);
    // The owner ends it all.
    let told = governed.ok("user:alice", &["share", "new/db", "--revoke", "user:carol"]);
    assert_eq!(told, "new/db is no longer shared with user:carol\n");
    assert_eq!(governed.run("user:carol", &read).code, 4);
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
fn an_option_comes_before_the_environment_and_that_before_a_profile() {
    let place = Place::with_db();
    let rule = |who: &str| allowing(&format!("user:{who}"), "read", "");
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
