//! Types, help, manual pages, completions: what needs no store and makes none.

use crate::place::Place;

#[test]
fn types_tell_fields_and_which_are_secret() {
    let place = Place::bare();
    assert!(
        place
            .ok(&["types"])
            .lines()
            .any(|line| line == "basic              username, password")
    );
    let basic = place.ok(&["types", "basic"]);
    assert!(basic.contains("password  text  secret  required"), "{basic}");
    let all = place.json(&["types"]);
    for known in all.as_array().unwrap() {
        let fields = known["fields"].as_array().unwrap();
        assert!(fields.iter().any(|field| field["secret"] == true), "{known}");
    }
    assert!(!place.store_path().exists());
}

#[test]
fn a_schema_names_what_is_required_and_marks_secrets() {
    let place = Place::bare();
    let schema = place.json(&["types", "basic", "--schema"]);
    assert_eq!(schema["required"], serde_json::json!(["username", "password"]));
    assert_eq!(schema["properties"]["password"]["writeOnly"], true);
    assert_eq!(schema["properties"]["username"]["type"], "string");
    assert_eq!(schema["additionalProperties"], false);

    let schema = place.json(&["types", "postgres", "--schema"]);
    assert_eq!(
        schema["required"],
        serde_json::json!(["host", "database", "username", "password"])
    );
    assert_eq!(
        schema["properties"]["port"]["type"],
        serde_json::json!(["number", "null"])
    );
    let postgres = place.ok(&["types", "postgres"]);
    assert!(
        postgres.contains("max_connections     number  public  optional"),
        "{postgres}"
    );
}

#[test]
fn completions_and_manual_pages_cover_the_verbs() {
    let place = Place::bare();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(
            script.contains("rollback") && script.contains("passphrase-file"),
            "{shell}"
        );
    }
    assert!(place.ok(&["man"]).contains(".TH ncred 1"));
    let pages = place.path("man");
    place.ok(&["man", pages.to_str().unwrap()]);
    for page in ["ncred.1", "ncred-put.1", "ncred-key-rewrap.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
}

#[test]
fn help_documents_environment_and_exit_codes() {
    let place = Place::bare();
    let help = place.ok(&["--help"]);
    for text in [
        "NCRED_STORE",
        "NCRED_PASSPHRASE_FILE",
        "6 tampered or damaged",
        "never from arguments",
    ] {
        assert!(help.contains(text), "{text}");
    }
    assert!(place.ok(&["--version"]).starts_with("ncred 0."));
}

#[test]
fn colours_are_off_in_a_pipe_and_on_when_asked_for() {
    let place = Place::with_db();
    assert!(!place.ok(&["list"]).contains('\u{1b}'));
    assert!(place.ok(&["list", "--color", "always"]).contains("\u{1b}[1m"));
    assert!(
        place
            .run(&["get", "x", "--color", "always"], "")
            .err
            .contains("\u{1b}[1;31merror:")
    );
}
