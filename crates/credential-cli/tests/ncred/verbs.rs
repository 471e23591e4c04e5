//! Every verb does its work, in text and in JSON.

use serde_json::json;

use crate::place::{Place, SECRET, text};

#[test]
fn init_makes_a_private_store_and_key_file_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::bare();
    let made = place.json(&["init"]);
    assert_eq!(made["unlocked_by"], "key_file");
    assert_eq!(made["store"], text(&place.store_path()));
    assert_eq!(made["key_ring"].as_str().unwrap().len(), 32);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.key_path()), 0o600);
    assert_eq!(mode(place.store_path()), 0o700);

    let again = place.run(&["init"], "");
    assert_eq!(again.code, 7, "{again:?}");
}

#[test]
fn put_stores_a_new_version_each_time_and_says_which() {
    let place = Place::new();
    let json = r#"{"username":"u","password":"p"}"#;
    let first = place.run(&["put", "db", "--type", "basic"], json);
    assert_eq!(
        (first.code, first.out.as_str()),
        (0, "stored db (basic, version 1)\n")
    );
    let second = place.run(
        &[
            "put",
            "db",
            "-t",
            "basic",
            "--if-version",
            "1",
            "--tag",
            "team=a",
            "--tag",
            "env=prod",
            "--expires-at",
            "2999-01-01T00:00:00Z",
            "--json",
        ],
        json,
    );
    let known: serde_json::Value = serde_json::from_str(&second.out).unwrap();
    assert_eq!(known["version"], 2);
    assert_eq!(known["type"], "basic");
    assert_eq!(known["tags"], json!({"team": "a", "env": "prod"}));
    assert_eq!(known["expires_at"], "2999-01-01T00:00:00.000000Z");
    assert_eq!(known["phase"], "active");
    assert_eq!(
        place
            .run(&["put", "db", "--type", "basic", "--if-absent"], json)
            .code,
        7
    );
}

#[test]
fn put_fills_in_what_is_left_out_or_null() {
    let place = Place::new();
    let least = r#"{"host":"db.example.com","database":"orders","username":"app","password":"p"}"#;
    let nulls = least.replace('}', r#","port":null,"ssl_mode":null,"max_connections":null}"#);
    for (name, value) in [("a", least), ("b", nulls.as_str())] {
        let put = place.run(&["put", name, "--type", "postgres"], value);
        assert_eq!(put.code, 0, "{put:?}");
        let fields = &place.json(&["get", name])["fields"];
        assert_eq!(
            (
                &fields["port"],
                &fields["ssl_mode"],
                &fields["max_connections"],
                &fields["min_connections"],
                &fields["connection_timeout"]
            ),
            (
                &json!(5432),
                &json!("verify-full"),
                &json!(10),
                &json!(1),
                &json!(30)
            )
        );
    }
    let put = place.run(
        &["put", "c", "--type", "postgres"],
        &least.replace("\"app\"", "null"),
    );
    assert_eq!(put.code, 2, "{put:?}");
}

#[test]
fn get_shows_secrets_only_when_told_to() {
    let place = Place::with_db();
    let hidden = place.ok(&["get", "db"]);
    assert_eq!(
        hidden,
        "db (basic, version 1, active)\nusername  octocat\npassword  [REDACTED]\n"
    );
    let revealed = place.ok(&["get", "db", "--reveal"]);
    assert!(revealed.ends_with(&format!("password  {SECRET}\n")), "{revealed}");
    // A program gets the value and not a byte more.
    assert_eq!(
        place.ok(&["get", "db", "--field", "password", "--reveal"]),
        SECRET
    );
    assert_eq!(place.ok(&["get", "db", "-f", "username"]), "octocat");
    // And nothing stands in for a secret: what is passed on is the secret, or nothing.
    for args in [
        &["get", "db", "-f", "password"][..],
        &["get", "db", "-f", "password", "--json"],
    ] {
        let refused = place.run(args, "");
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{refused:?}");
    }

    let hidden = place.json(&["get", "db"]);
    assert_eq!(
        hidden["fields"],
        json!({"username": "octocat", "password": "[REDACTED]"})
    );
    assert_eq!((&hidden["name"], &hidden["version"]), (&json!("db"), &json!(1)));
    let revealed = place.json(&["get", "db", "--reveal"]);
    assert_eq!(revealed["fields"]["password"], SECRET);
    let field = place.json(&["get", "db", "--reveal", "--field", "password"]);
    assert_eq!(
        field,
        json!({"name": "db", "version": 1, "field": "password", "value": SECRET})
    );
}

#[test]
fn a_value_comes_out_as_it_went_in() {
    let place = Place::new();
    let value = "line 1\nline 2\t\"quoted\" \\ \u{1b}[31m \u{e9}\u{1f511}";
    let json = json!({ "text": value }).to_string();
    assert_eq!(place.run(&["put", "odd", "--type", "secret_text"], &json).code, 0);
    assert_eq!(place.ok(&["get", "odd", "--reveal", "--field", "text"]), value);
    // On a page for people nothing reaches the terminal as an escape sequence.
    assert!(!place.ok(&["get", "odd", "--reveal"]).contains('\u{1b}'));
}

#[test]
fn an_entry_of_a_map_is_a_field_of_its_own() {
    let place = Place::new();
    let json = r#"{"values":{"DB.URL":"postgres://x","API":"k"}}"#;
    assert_eq!(place.run(&["put", "env", "--type", "key_value"], json).code, 0);
    assert_eq!(
        place.ok(&["get", "env", "--field", "values.DB.URL", "--reveal"]),
        "postgres://x"
    );
    assert_eq!(place.run(&["get", "env", "--field", "values.API"], "").code, 2);
    assert_eq!(place.run(&["get", "env", "--field", "values.NONE"], "").code, 3);
}

#[test]
fn list_filters_by_tag_prefix_expiry_and_deletion() {
    let place = Place::new();
    let json = r#"{"username":"u","password":"p"}"#;
    for args in [
        &["put", "app/a", "--type", "basic", "--tag", "team=a"][..],
        &[
            "put",
            "app/b",
            "--type",
            "basic",
            "--expires-at",
            "2999-01-01T00:00:00Z",
        ],
        &["put", "gone", "--type", "basic"],
    ] {
        assert_eq!(place.run(args, json).code, 0);
    }
    place.ok(&["delete", "gone"]);
    let names = |args: &[&str]| -> Vec<String> {
        let found = place.json(&[&["list"], args].concat());
        found
            .as_array()
            .unwrap()
            .iter()
            .map(|known| known["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&[]), ["app/a", "app/b"]);
    assert_eq!(names(&["--tag", "team=a"]), ["app/a"]);
    assert_eq!(names(&["--prefix", "app/b"]), ["app/b"]);
    assert_eq!(names(&["--expiring", "30d"]), [""; 0]);
    assert_eq!(names(&["--expiring", "60000w"]), ["app/b"]);
    assert_eq!(names(&["--deleted"]), ["app/a", "app/b", "gone"]);
    let page = place.ok(&["list", "--deleted"]);
    let mut lines = page.lines();
    assert_eq!(
        lines.next(),
        Some("NAME   TYPE   VERSION  STATE    EXPIRES               TAGS")
    );
    assert_eq!(
        lines.next(),
        Some("app/a  basic  1        active   -                     team=a")
    );
    assert_eq!(
        lines.next(),
        Some("app/b  basic  1        active   2999-01-01T00:00:00Z")
    );
    assert_eq!(lines.next(), Some("gone   basic  1        deleted  -"));
}

#[test]
fn rotate_keeps_the_old_version_and_rollback_brings_it_back() {
    let place = Place::with_db();
    let new = r#"{"username":"octocat","password":"second"}"#;
    assert_eq!(
        place.run(&["rotate", "db"], new).out,
        "rotated db (basic, version 2)\n"
    );
    assert_eq!(place.ok(&["get", "db", "-f", "password", "--reveal"]), "second");
    assert_eq!(
        place.ok(&["get", "db", "--version", "1", "-f", "password", "--reveal"]),
        SECRET
    );
    assert_eq!(
        place.ok(&["rollback", "db"]),
        "rolled back db (basic, version 3)\n"
    );
    assert_eq!(place.ok(&["get", "db", "-f", "password", "--reveal"]), SECRET);
    assert_eq!(place.json(&["rollback", "db", "--to", "2"])["version"], 4);
    assert_eq!(place.ok(&["get", "db", "-f", "password", "--reveal"]), "second");

    let versions = place.json(&["versions", "db"]);
    let numbers: Vec<u64> = versions
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["version"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert_eq!(
        (&versions[0]["phase"], &versions[1]["phase"]),
        (&json!("active"), &json!(null))
    );
    assert!(versions[0]["created_at"].as_str().unwrap().ends_with('Z'));
    assert!(
        place
            .ok(&["versions", "db"])
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("4        current  active")
    );
    let shown = place.ok(&["versions", "db"]);
    assert!(
        shown
            .lines()
            .nth(2)
            .unwrap()
            .starts_with("3        kept     superseded"),
        "{shown}"
    );
}

#[test]
fn a_generated_secret_is_new_each_time_and_leaves_the_other_fields() {
    let place = Place::with_db();
    let password = || place.ok(&["get", "db", "-f", "password", "--reveal"]);
    place.ok(&["rotate", "db", "--generate"]);
    let first = password();
    place.ok(&[
        "rotate",
        "db",
        "--generate",
        "--length",
        "64",
        "--field",
        "password",
    ]);
    let second = password();
    assert_eq!((first.len(), second.len()), (32, 64));
    assert!(second.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert!(!second.contains(&first[..16]));
    assert_eq!(place.ok(&["get", "db", "-f", "username"]), "octocat");
}

#[test]
fn one_field_is_rotated_by_its_bare_text() {
    let place = Place::with_db();
    let password = || place.ok(&["get", "db", "-f", "password", "--reveal"]);
    for (given, kept) in [("new\n", "new"), ("a \"b\"\r\n", "a \"b\""), ("bare", "bare")] {
        let told = place.run(&["rotate", "db", "--field", "password"], given);
        assert_eq!(told.code, 0, "{told:?}");
        assert_eq!(password(), kept);
    }
    assert_eq!(place.ok(&["get", "db", "-f", "username"]), "octocat");
    for (field, given, says) in [
        ("password", "\n", "the new value is empty"),
        ("pasword", "new", "did you mean \"password\"?"),
        ("token", "new", "it has: username, password"),
    ] {
        let told = place.run(&["rotate", "db", "--field", field], given);
        assert_eq!(told.code, 2, "{told:?}");
        assert!(told.err.contains(says), "{told:?}");
    }
    let told = place.run(
        &["rotate", "db", "--field", "password", "--if-version", "1"],
        "late",
    );
    assert_eq!(told.code, 7, "{told:?}");
    assert_eq!(password(), "bare");

    // An optional field that is not there yet is added.
    let json = r#"{"api_key":"k"}"#;
    assert_eq!(place.run(&["put", "api", "--type", "api_key"], json).code, 0);
    let url = "https://api.example.com";
    let told = place.run(&["rotate", "api", "--field", "endpoint"], url);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(place.ok(&["get", "api", "-f", "endpoint"]), url);
}

#[test]
fn tags_are_replaced_as_a_whole() {
    let place = Place::with_db();
    place.ok(&["tags", "db", "a=1", "b=2"]);
    assert_eq!(place.json(&["tags", "db", "b=3"])["tags"], json!({"b": "3"}));
    assert_eq!(place.json(&["tags", "db", "--clear"])["tags"], json!({}));
}

#[test]
fn what_is_revoked_is_handed_out_no_more_and_stays_revoked() {
    let place = Place::with_db();
    place.ok(&["rotate", "db", "--generate"]);
    let told = place.run(&["revoke", "db", "--yes"], "");
    assert_eq!(
        (told.code, told.out.as_str()),
        (0, "revoked db (basic, version 2)\n"),
        "{told:?}"
    );
    assert!(told.err.contains("revoke it there, too"), "{told:?}");
    let shut = || {
        for args in [
            &["get", "db", "--field", "password", "--reveal"][..],
            &["get", "db", "--version", "1", "--reveal"],
            &["run", "--set", "P=db#password", "--", "true"],
            &["rotate", "db", "--generate"],
            &["rollback", "db"],
        ] {
            let told = place.run(args, "");
            assert_eq!((told.code, told.out.as_str()), (1, ""), "{args:?}: {told:?}");
            assert!(told.err.contains("is revoked"), "{args:?}: {told:?}");
            assert!(told.err.contains("delete it first"), "{args:?}: {told:?}");
        }
        let json = r#"{"username":"u","password":"p"}"#;
        let told = place.run(&["put", "db", "--type", "basic"], json);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.err.contains("delete it first"), "{told:?}");
    };
    shut();
    assert_eq!(place.json(&["list"])[0]["state"], "revoked");
    place.ok(&["delete", "db"]);
    place.ok(&["restore", "db"]);
    shut();
    assert_eq!(place.json(&["revoke", "db", "--yes"])["phase"], "revoked");

    place.ok(&["delete", "db"]);
    let json = r#"{"username":"u","password":"p"}"#;
    assert_eq!(place.run(&["put", "db", "--type", "basic"], json).code, 0);
    assert_eq!(place.ok(&["get", "db", "--field", "password", "--reveal"]), "p");
}

#[test]
fn delete_is_undone_and_purge_is_not() {
    let place = Place::with_db();
    assert_eq!(
        place.ok(&["delete", "db"]),
        "deleted db; `ncred restore db` brings it back\n"
    );
    assert_eq!(place.run(&["get", "db"], "").code, 3);
    assert_eq!(place.ok(&["restore", "db"]), "restored db (basic, version 1)\n");
    assert_eq!(place.ok(&["get", "db", "-f", "password", "--reveal"]), SECRET);
    assert_eq!(
        place.json(&["delete", "db"]),
        json!({"name": "db", "deleted": true, "purged": false})
    );
    assert_eq!(
        place.json(&["purge", "db", "--yes"]),
        json!({"name": "db", "deleted": true, "purged": true})
    );
    assert_eq!(place.run(&["restore", "db"], "").code, 3);
}

#[test]
fn tenants_and_scopes_do_not_see_each_other() {
    let place = Place::with_db();
    assert_eq!(place.run(&["get", "db", "--tenant", "acme"], "").code, 3);
    assert_eq!(place.run(&["get", "db", "--scope", "workflow/1"], "").code, 3);
    assert_eq!(place.json(&["list", "--tenant", "acme"]), json!([]));
}

#[test]
fn a_profile_names_another_store_and_key() {
    let place = Place::with_db();
    place.file(
        ".config/nebula-credential/ncred.toml",
        "[profiles.work]\nstore = \"../work\"\nkey_file = \"keys/work\"\ntenant = \"acme\"\n",
    );
    place.ok(&["--profile", "work", "init"]);
    assert!(place.path(".config/work/store.db").exists());
    assert!(place.path(".config/nebula-credential/keys/work").exists());
    assert_eq!(place.json(&["list", "--profile", "work"]), json!([]));
    assert_eq!(place.json(&["list"])[0]["name"], "db");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Stdio;
    let place = Place::with_db();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place
        .command()
        .args(["get", "db", "--reveal"])
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn what_opens_no_value_needs_no_key() {
    let place = Place::with_db();
    place.ok(&["get", "db"]);
    std::fs::remove_file(place.key_path()).unwrap();
    assert_eq!(place.json(&["tags", "db", "a=1"])["tags"], json!({"a": "1"}));
    place.ok(&["delete", "db"]);
    place.ok(&["restore", "db"]);
    place.ok(&["revoke", "db", "--yes"]);
    assert_eq!(place.json(&["list"])[0]["tags"], json!({"a": "1"}));
    let near = place.run(&["delete", "bd"], "");
    assert_eq!(near.code, 3);
    assert!(near.err.contains("did you mean \"db\"?"), "{near:?}");
    place.ok(&["purge", "db", "--yes"]);
    assert_eq!(place.json(&["list", "--deleted"]), json!([]));
    assert!(!place.key_path().exists(), "no key is made in its place");
}

#[test]
fn nothing_is_changed_where_the_key_ring_is_missing() {
    let place = Place::with_db();
    let ring = place.store_path().join("keyring");
    let kept = place.path("keyring");
    std::fs::rename(&ring, &kept).unwrap();
    for verb in [
        &["tags", "db", "a=1"][..],
        &["delete", "db"],
        &["restore", "db"],
        &["revoke", "db", "--yes"],
        &["purge", "db", "--yes"],
    ] {
        let answer = place.run(verb, "");
        assert_eq!(answer.code, 5, "{verb:?}: {answer:?}");
        assert!(answer.err.contains("from a backup"), "{answer:?}");
    }
    std::fs::rename(&kept, &ring).unwrap();
    assert_eq!(place.json(&["list"])[0]["tags"], json!({}));
    assert_eq!(place.ok(&["get", "db", "-f", "password", "--reveal"]), SECRET);
}

#[test]
fn names_and_versions_are_seen_without_a_key() {
    let place = Place::with_db();
    std::fs::remove_file(place.key_path()).unwrap();
    assert_eq!(place.json(&["list"])[0]["name"], "db");
    assert_eq!(place.json(&["versions", "db"])[0]["version"], 1);
    assert_eq!(place.run(&["get", "db"], "").code, 5);
}

#[test]
fn a_change_leaves_no_long_log_for_the_next_command_to_read() {
    let place = Place::with_db();
    let log = place.store_path().join("store.db-wal");
    for verb in [
        &["rotate", "db", "--generate"][..],
        &["rollback", "db"],
        &["tags", "db", "a=1"],
        &["put", "new", "--type", "secret_text"],
        &["delete", "db"],
        &["restore", "db"],
        &["key", "rotate"],
        &["key", "rewrap"],
        &["import", "-", "--format", "json", "--on-conflict", "replace"],
        &["purge", "db", "--yes"],
    ] {
        let answer = place.run(verb, r#"{"text":"t"}"#);
        assert_eq!(answer.code, 0, "{verb:?}: {answer:?}");
        let left = log.metadata().map_or(0, |log| log.len());
        assert!(left < 300_000, "{verb:?} leaves {left} bytes");
    }
}

#[test]
fn the_environment_names_what_options_do_not() {
    let place = Place::bare();
    let run = |args: &[&str]| {
        let mut command = place.command();
        command
            .env("NCRED_STORE", place.path("store"))
            .env("NCRED_KEY_FILE", place.path("keys/store"))
            .env("NCRED_TENANT", "acme")
            .args(args);
        crate::place::answer(command, r#"{"text":"t"}"#)
    };
    assert_eq!(run(&["init"]).code, 0);
    assert_eq!(run(&["put", "x", "--type", "secret_text", "--json"]).code, 0);
    assert!(run(&["list", "--json"]).out.contains("\"tenant\": \"acme\""));
    assert_eq!(run(&["list", "--tenant", "other", "--json"]).out, "[]\n");
    assert!(place.path("store/store.db").exists() && place.path("keys/store").exists());
    assert!(!place.store_path().exists() && !place.key_path().exists());
}
