//! What is refused is not repeated, and what is stored is not in the clear. `leaks` searches everything else.

use crate::place::{Place, SECRET};

#[test]
fn no_output_holds_a_secret_that_was_not_asked_for() {
    let place = Place::with_db();
    let new = format!(r#"{{"username":"octocat","password":"{SECRET}2"}}"#);
    let runs: &[(&[&str], &str)] = &[
        (&["put", "other", "--type", "basic"], &new),
        (&["put", "other", "--type", "basic", "--json"], &new),
        (&["rotate", "db"], &new),
        (&["rotate", "db", "--generate", "--json"], ""),
        (&["get", "db"], ""),
        (&["get", "db", "--json"], ""),
        (&["get", "db", "--field", "password"], ""),
        (&["get", "db", "--field", "password", "--json"], ""),
        (&["get", "db", "--version", "1", "--json"], ""),
        (&["list", "--json"], ""),
        (&["versions", "db", "--json"], ""),
        (&["rollback", "db", "--json"], ""),
        (&["key", "status", "--json"], ""),
        (&["key", "rewrap", "--json"], ""),
        // Refusals of values.
        (
            &["put", "x", "--type", "basic"],
            &new.replace("password", "passwort"),
        ),
        (
            &["put", "x", "--type", "basic"],
            &new.replace("\"username\":\"octocat\",", ""),
        ),
        (&["put", "x", "--type", "basic"], &new[..new.len() - 1]),
        (&["put", "x", "--type", "basic"], SECRET),
        (&["put", "x", "--type", "basic"], &format!(r#"{{"{SECRET}":1}}"#)),
        (
            &["put", "x", "--type", "basic"],
            &format!(r#"{{"username":1,"password":["{SECRET}"]}}"#),
        ),
        (
            &["put", "x", "--type", "jwt", "--json"],
            &format!(r#"{{"token":"{SECRET}"}}"#),
        ),
    ];
    for (args, stdin) in runs {
        let answer = place.run(args, stdin);
        assert!(!format!("{answer:?}").contains(SECRET), "{args:?}: {answer:?}");
    }
}

#[test]
fn a_refused_argument_is_not_repeated() {
    let place = Place::with_db();
    let pair = format!("password={SECRET}");
    let option = format!("--password={SECRET}");
    let given: &[&[&str]] = &[
        &["put", "db", SECRET, "--type", "basic"],
        &["put", "db", "--type", "basic", "--password", SECRET],
        &["put", "db", "--type", "basic", &option],
        &["put", "db", "--type", "basic", &pair],
        &["put", "db", "--type", "basic", "--tag", &pair],
        &["put", "db", "--type", SECRET],
        &["put", "db", "--type", "basic", "--expires-at", SECRET],
        &["put", "db", "--type", "basic", "--if-version", SECRET],
        &["put", "Db canary-5up3r-s3cr3t", "--type", "basic"],
        &["rotate", "db", SECRET],
        &["rotate", "db", "--length", SECRET, "--generate"],
        &["list", "--expiring", SECRET],
        &["list", "--color", SECRET],
        &["tags", "db", &pair],
        &["get", "db", "--tenant", "X canary-5up3r-s3cr3t"],
        &["key", "remove", SECRET],
        &[SECRET],
    ];
    for args in given {
        let mut json = args.to_vec();
        json.push("--json");
        for args in [*args, &json] {
            let answer = place.run(args, "");
            assert_eq!(answer.code, 2, "{args:?}: {answer:?}");
            assert!(!format!("{answer:?}").contains(SECRET), "{args:?}: {answer:?}");
            assert!(answer.err.contains("help"), "{args:?}: {answer:?}");
        }
    }
}

#[test]
fn nothing_on_disk_holds_a_secret() {
    fn search(directory: &std::path::Path, found: &mut usize) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path, found);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let holds = bytes
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes());
            assert!(!holds, "{}", path.display());
            *found += 1;
        }
    }
    let place = Place::with_db();
    place.ok(&["get", "db", "--reveal"]);
    let mut files = 0;
    search(&place.path("."), &mut files);
    assert!(files >= 3, "{files}");
}
