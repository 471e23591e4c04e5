//! The key ring: what opens it, and its keys.

use crate::place::{Place, SECRET, answer, text};

#[test]
fn a_passphrase_file_opens_a_store_and_another_does_not() {
    let place = Place::bare();
    let right = place.file("right", "correct horse battery staple\n");
    let wrong = place.file("wrong", "correct horse battery stable\n");
    let made = place.json(&["init", "--passphrase-file", text(&right)]);
    assert_eq!(made["unlocked_by"], "passphrase");
    assert_eq!(
        place.json(&["list", "--passphrase-file", text(&right)]),
        serde_json::json!([])
    );
    let refused = place.run(&["key", "list", "--passphrase-file", text(&wrong)], "");
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(!place.key_path().exists());

    // The same by file descriptor: the first line of standard input, and the value behind it.
    let json = r#"{"username":"u","password":"p"}"#;
    let input = format!("correct horse battery staple\n{json}");
    let stored = place.run(&["put", "db", "--type", "basic", "--passphrase-fd", "0"], &input);
    assert_eq!(stored.code, 0, "{stored:?}");
}

#[test]
fn a_passphrase_and_a_key_file_are_both_needed() {
    let place = Place::bare();
    let passphrase = place.file("passphrase", "correct horse battery staple");
    let key = place.path("keys/store");
    let both = ["--key-file", text(&key), "--passphrase-file", text(&passphrase)];
    assert_eq!(
        place.json(&[&["init"], &both[..]].concat())["unlocked_by"],
        "passphrase_and_key_file"
    );
    place.ok(&[&["key", "list"], &both[..]].concat());
    assert_eq!(place.run(&["key", "list", "--key-file", text(&key)], "").code, 5);
}

#[test]
fn slots_are_added_and_removed() {
    let place = Place::with_db();
    let second = place.path("keys/second");
    place.ok(&["key", "add", "--new-key-file", text(&second)]);
    let slots = place.json(&["key", "list"]);
    assert_eq!(
        (&slots[1]["slot"], &slots[1]["kind"]),
        (&2.into(), &"key_file".into())
    );
    let with_second = [
        "get",
        "db",
        "-f",
        "password",
        "--reveal",
        "--key-file",
        text(&second),
    ];
    assert_eq!(place.ok(&with_second), SECRET);

    place.ok(&["key", "remove", "1", "--key-file", text(&second)]);
    assert_eq!(place.run(&["get", "db"], "").code, 5);
    assert_eq!(place.ok(&with_second), SECRET);
    let last = place.run(&["key", "remove", "2", "--key-file", text(&second)], "");
    assert_eq!(last.code, 1, "{last:?}");
    assert!(last.err.contains("add another first"), "{last:?}");
}

#[test]
fn a_new_key_takes_over_after_a_rewrap() {
    let place = Place::with_db();
    place.store("api");
    place.ok(&["key", "rotate"]);
    let status = place.json(&["key", "status"]);
    assert_eq!(status["keys"][0]["state"], "decrypt_only");
    assert_eq!(
        (&status["keys"][1]["key"], &status["keys"][1]["state"]),
        (&2.into(), &"primary".into())
    );

    let report = place.json(&["key", "rewrap", "--destroy-unused"]);
    assert_eq!(
        (&report["scanned"], &report["rewritten"], &report["failed"]),
        (&2.into(), &2.into(), &0.into())
    );
    // Too soon: a process that had looked at the ring before may still write under the old key.
    assert_eq!(report["destroyed"], serde_json::json!([]));
    assert_eq!(report["kept"][0]["key"], 1);
    let again = place.json(&["key", "rewrap"]);
    assert_eq!((&again["rewritten"], &again["current"]), (&0.into(), &2.into()));
    assert_eq!(place.ok(&["get", "db", "-f", "password", "--reveal"]), SECRET);
    assert!(place.ok(&["key", "status"]).contains("primary"));
}

#[test]
fn a_descriptor_is_read_line_by_line_and_only_if_it_was_open() {
    let place = Place::bare();
    let first = place.file("first", "correct horse battery staple\n");
    let second = "wrong donkey charger clip";
    place.ok(&["init", "--passphrase-file", text(&first)]);
    let shell = |line: &str, input: &std::path::Path| {
        let mut command = place.wrapped("sh");
        command
            .env("NCRED", env!("CARGO_BIN_EXE_ncred"))
            .env("INPUT", input)
            .args(["-c", line]);
        answer(command, "")
    };
    // Of a file as of a pipe: what stands behind the passphrase is the value, or another passphrase.
    let value = place.file("value", "correct horse battery staple\n{\"text\":\"behind\"}\n");
    let put = "\"$NCRED\" put x --type secret_text --passphrase-fd 0 <\"$INPUT\"";
    let stored = shell(put, &value);
    assert_eq!(stored.code, 0, "{stored:?}");
    let both = place.file("both", &format!("correct horse battery staple\n{second}\n"));
    let added = shell(
        "\"$NCRED\" key add --passphrase-fd 0 --new-passphrase-fd 0 <\"$INPUT\"",
        &both,
    );
    assert_eq!(added.code, 0, "{added:?}");
    let second = place.file("second", second);
    let read = place.ok(&[
        "get",
        "x",
        "--reveal",
        "-f",
        "text",
        "--passphrase-file",
        text(&second),
    ]);
    assert_eq!(read, "behind");

    // A number that is free becomes that of a file of the store's, which holds no passphrase.
    for number in 3..10 {
        let closed = shell(
            &format!("exec \"$NCRED\" key list --passphrase-fd {number} {number}<&-"),
            &first,
        );
        assert_eq!(closed.code, 2, "{closed:?}");
        assert!(closed.err.contains("not open"), "{closed:?}");
    }
}

#[test]
fn a_new_passphrase_is_long_enough_and_an_old_one_opens() {
    let place = Place::bare();
    let key = place.path("keys/store");
    let file = |chars: usize| place.file(&format!("passphrase-{chars}"), &"\u{e9}".repeat(chars));
    for (chars, beside, code) in [(14, false, 2), (7, true, 2), (15, false, 0), (8, true, 0)] {
        let (store, passphrase) = (place.path(&format!("store-{chars}")), file(chars));
        let mut args = vec![
            "init",
            "--store",
            text(&store),
            "--passphrase-file",
            text(&passphrase),
        ];
        if beside {
            args.extend(["--key-file", text(&key)]);
        }
        let told = place.run(&args, "");
        assert_eq!(told.code, code, "{chars}: {told:?}");
        assert_eq!(told.err.contains("fewer than"), code == 2, "{told:?}");
        assert_eq!(key.exists(), beside && code == 0);
    }

    let (store, short) = (place.path("old"), file(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let manager = nebula_credential::CredentialManager::builder()
            .storage(nebula_credential::LocalStorage::new(&store))
            .keys(nebula_credential::Keys::passphrase_file(&short))
            .build();
        manager.open().await.unwrap();
        manager.key_ring().await.unwrap();
    });
    let old = [
        "key",
        "list",
        "--store",
        text(&store),
        "--passphrase-file",
        text(&short),
    ];
    assert_eq!(place.json(&old)[0]["kind"], "passphrase");
}
