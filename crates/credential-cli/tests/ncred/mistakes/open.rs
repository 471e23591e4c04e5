//! Keys that do not fit, and files that are open to others or lie where they must not.

use std::os::unix::fs::{PermissionsExt as _, chown};

use nebula_credential_testkit::skip;

use super::says;
use crate::place::{Place, text};
use crate::policy::allowing;

#[test]
fn no_key_named_and_none_in_its_place() {
    let place = Place::with_db();
    std::fs::remove_file(place.key_path()).unwrap();
    let told = place.run(&["get", "db"], "");
    assert_eq!(told.code, 5, "{told:?}");
    says(
        "no key",
        &told,
        &["no key is named", "--key-file", "NCRED_PASSPHRASE_FILE"],
    );
    assert!(!place.key_path().exists());
}

#[test]
fn a_wrong_passphrase_or_key_does_not_open() {
    let place = Place::with_db();
    let passphrase = place.file("passphrase", "wrong");
    let told = place.run(&["get", "db", "--passphrase-file", text(&passphrase)], "");
    assert_eq!(told.code, 5, "{told:?}");
    let other = Place::new();
    let told = place.run(&["get", "db", "--key-file", text(&other.key_path())], "");
    assert_eq!(told.code, 5, "{told:?}");
    says(
        "another key",
        &told,
        &["another ring's", "the one that was made with this key ring"],
    );
}

#[test]
fn a_passphrase_file_open_to_others_is_refused() {
    let place = Place::with_db();
    let open = place.file("passphrase", "x");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = place.run(&["get", "db", "--passphrase-file", text(&open)], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("open passphrase file", &told, &["chmod"]);
}

#[test]
fn a_store_open_to_others_is_refused() {
    let place = Place::with_db();
    std::fs::set_permissions(place.store_path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = place.run(&["list"], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("open store", &told, &["chmod"]);
}

#[test]
fn the_store_of_another_user_is_refused() {
    let place = Place::with_db();
    if chown(place.store_path(), Some(12345), None).is_err() {
        return skip(
            "the_store_of_another_user_is_refused",
            "only root gives files away",
        );
    }
    let told = place.run(&["list"], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("another user", &told, &["12345"]);
}

#[test]
fn a_configuration_that_others_may_change_is_refused() {
    let place = Place::with_db();
    let config = place.file("config.toml", "");
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
    let told = place.run(&["list", "--config", text(&config)], "");
    assert_eq!(told.code, 4, "{told:?}");
    says("open configuration", &told, &["others may change", "chmod go-w"]);
}

#[test]
fn an_access_policy_that_others_may_change_is_refused() {
    let place = Place::with_db();
    let policy = place.file("policy.toml", &allowing("user:alice", "read", ""));
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o664)).unwrap();
    for args in [&["get", "db"][..], &["list"], &["policy", "check"]] {
        let told = place.run(&[args, &["--policy", text(&policy)]].concat(), "");
        assert_eq!(told.code, 4, "{told:?}");
        says("open policy", &told, &["can be written by others", "chmod go-w"]);
    }
}

#[test]
fn a_flaw_of_the_configuration_is_named_by_its_line() {
    let place = Place::with_db();
    let config = place.file(
        "config.toml",
        "[profiles.work]\nstore = \"x\"\npassphrase = \"hunter2\"\n",
    );
    let told = place.run(&["list", "--config", text(&config)], "");
    assert_eq!(told.code, 2, "{told:?}");
    says(
        "flaw",
        &told,
        &["line 3", "no setting \"passphrase\"", "passphrase_file"],
    );
    let config = place.file("config.toml", "[profiles.work]\n[profiles.home]\n");
    let told = place.run(&["list", "--config", text(&config), "--profile", "wrok"], "");
    assert_eq!(told.code, 2, "{told:?}");
    says("two profiles", &told, &["did you mean \"work\"?"]);
}

#[test]
fn a_key_file_beside_the_data_is_refused() {
    let place = Place::bare();
    let store = place.path("store");
    let told = place.run(
        &[
            "init",
            "--store",
            text(&store),
            "--key-file",
            text(&store.join("key")),
        ],
        "",
    );
    assert_eq!(told.code, 4, "{told:?}");
    says(
        "key beside data",
        &told,
        &["beside the data", "choose a directory"],
    );
    assert!(!store.join("key").exists());
}
