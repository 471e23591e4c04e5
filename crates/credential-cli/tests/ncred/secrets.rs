//! Where secrets must not be seen.

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

#[test]
#[cfg(target_os = "linux")]
fn a_waiting_process_shows_no_secret_and_leaves_no_core() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;

    let place = Place::with_db();
    // Half a value: it waits for the rest with the secret in its memory.
    let mut child = place
        .command()
        .args(["put", "db", "--type", "basic"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    write!(stdin, r#"{{"username":"u","password":"{SECRET}""#).unwrap();
    stdin.flush().unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}", child.id()));
    // It has closed the doors once its core limit is zero.
    let limits = || {
        let file = std::fs::File::open(proc.join("limits")).unwrap();
        BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("Max core"))
            .unwrap()
    };
    let is_hardened = || limits().split_whitespace().rev().nth(1) == Some("0");
    for _ in 0..500 {
        if is_hardened() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(is_hardened(), "{}", limits());
    let readable = |name: &str| std::fs::read(proc.join(name)).unwrap_or_default();
    for name in ["cmdline", "environ"] {
        let bytes = readable(name);
        assert!(
            !bytes
                .windows(SECRET.len())
                .any(|window| window == SECRET.as_bytes()),
            "{name}"
        );
    }
    writeln!(stdin, "}}").unwrap();
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
