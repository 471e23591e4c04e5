//! `verify`: what is wrong with a log, and where.

use std::time::Duration;

use nebula_credential::audit::{AuditLogger, Event, EventKind};
use serde_json::{Value, json};

use super::Audited;
use crate::place::text;

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
            "intact": true, "verified_through": 6, "records": 6, "first": 1, "begins": audited.show(&[])[0]["time"],
            "reaches_back": null, "last": 6, "files": 1, "checkpoints": 0, "problem": null, "gaps": [],
            "tail": "complete", "known_through": 6, "unfinished": 0,
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
    // Without a checkpoint nothing is verified, be it forged or not.
    audited.write(&whole[..5]);
    let last = whole[5].replace("user:alice", "user:carol");
    for end in [&whole[5], &last] {
        audited.write(&[&whole[..5], std::slice::from_ref(end)].concat());
        for verifier in [key, text(&file), text(&audited.seed())] {
            let told = audited.run(&["audit", "verify", "--verifier", verifier]);
            assert_eq!(told.code, 1, "{told:?}");
            assert!(told.err.contains("no checkpoint"), "{told:?}");
            assert!(told.err.contains("use --seed"), "{told:?}");
            assert!(!told.out.contains("intact"), "{told:?}");
            let told = audited.run(&["audit", "verify", "--verifier", verifier, "--json"]);
            let found: Value = serde_json::from_str(&told.out).unwrap();
            assert_eq!(
                (&found["intact"], &found["verified_through"]),
                (&json!(false), &json!(0))
            );
        }
    }
    let told = audited.run(&["audit", "verify"]);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.err.contains("--seed or --verifier"), "{told:?}");
}

#[test]
fn with_the_public_key_it_is_said_how_far_the_log_was_verified() {
    let audited = Audited::new();
    let log = AuditLogger::builder(&audited.log).build();
    for _ in 0..1_001 {
        log.record(&Event::new(EventKind::Custom)).unwrap();
    }
    drop(log);
    let seed = audited.seed();
    let verify = |options: &[&str]| audited.run(&[&["audit", "verify"], options].concat());
    let told = verify(&["--verifier", text(&seed)]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.out
            .contains("verified through record 1000; records 1001 to 1002 are not verified"),
        "{told:?}"
    );
    assert!(!told.out.contains("intact"), "{told:?}");
    let told = verify(&["--verifier", text(&seed), "--json"]);
    let found: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(
        (&found["intact"], &found["verified_through"], &found["last"]),
        (&json!(false), &json!(1_000), &json!(1_002))
    );
    let told = verify(&["--seed", text(&seed)]);
    assert!(told.out.ends_with("intact\n"), "{told:?}");
}

#[test]
fn a_log_that_does_not_reach_back_as_far_as_it_must_is_told() {
    let audited = Audited::new();
    let log = AuditLogger::builder(&audited.log)
        .max_file_bytes(1)
        .keep(Duration::ZERO)
        .build();
    for _ in 0..3 {
        log.record(&Event::new(EventKind::Custom)).unwrap();
    }
    drop(log);
    let seed = audited.seed();
    let verify = |options: &[&str]| {
        let args = [&["audit", "verify", "--seed", text(&seed)], options].concat();
        audited.run(&args)
    };
    let told = verify(&[]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("older files were removed"), "{told:?}");
    assert!(told.out.contains("--back-to"), "{told:?}");
    for (when, code) in [("365d", 6), ("0s", 0)] {
        let told = verify(&["--back-to", when, "--json"]);
        let found: Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!(told.code, code, "{told:?}");
        assert_eq!(found["reaches_back"], code == 0, "{found}");
        assert_eq!(found["intact"], code == 0, "{found}");
    }
    // Who named it is not told to.
    assert!(!verify(&["--back-to", "0s"]).out.contains("--back-to"));
    let told = verify(&["--back-to", "365d"]);
    assert!(told.err.contains("does not reach back"), "{told:?}");
    assert!(!told.out.contains("intact"), "{told:?}");

    // One that begins with its first record reaches back to whenever.
    let whole = Audited::new();
    whole.ok(&["get", "db"]);
    let seed = whole.seed();
    whole.ok(&["audit", "verify", "--seed", text(&seed), "--back-to", "365d"]);
}

#[test]
fn a_seed_beside_the_log_is_told_of_by_verify_and_doctor() {
    let audited = Audited::new();
    audited.ok(&["get", "db"]);
    let (beside, away) = (audited.seed(), audited.place.path("away"));
    let found = || -> Value { serde_json::from_str(&audited.run(&["doctor", "--json"]).out).unwrap() };
    let told = audited.run(&["audit", "verify", "--seed", text(&beside)]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.err.contains("the seed lies beside the log still"),
        "{told:?}"
    );
    let report = found();
    let finding = &report["findings"][0];
    assert_eq!(finding["check"], "audit.seed", "{report}");
    assert_eq!(finding["subject"], text(&beside));

    std::fs::rename(&beside, &away).unwrap();
    let told = audited.run(&["audit", "verify", "--seed", text(&away)]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert!(
        found()["passed"]
            .as_array()
            .unwrap()
            .contains(&json!("audit.seed"))
    );
}
