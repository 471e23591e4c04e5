//! Bad input: each a typed error whose message names the remedy, and nothing is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential::{ErrorKind, Phase, Plaintext, decode_credential};
use nebula_credential_testkit::TestClock;
use tempfile::TempDir;

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

#[derive(Credential)]
struct Ticket {
    #[secret]
    code: String,
    expires_at: DateTime<Utc>,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

fn manager(directory: &Path, keys: Keys) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(keys)
        .build()
}

fn key_file(directory: &TempDir) -> Keys {
    Keys::key_file(directory.path().join("config/key"))
}

/// A store with one note in it.
async fn with_a_note(keys: impl Fn(&TempDir) -> Keys) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    manager(directory.path(), keys(&directory))
        .store("note", note("hello"))
        .await
        .unwrap();
    directory
}

#[track_caller]
fn refused(error: &CredentialError, kind: ErrorKind, remedy: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(remedy), "no {remedy:?} in: {error}");
}

async fn read(manager: &CredentialManager) -> Result<String, CredentialError> {
    manager.get::<Note>("note").await.map(|note| note.text.clone())
}

#[tokio::test]
async fn wrong_passphrase() {
    let passphrase = |text: &str| Keys::passphrase(SecretString::from(text));
    let directory = with_a_note(|_| passphrase("correct horse battery")).await;
    let error = read(&manager(directory.path(), passphrase("wrong horse battery")))
        .await
        .unwrap_err();
    refused(&error, ErrorKind::Key, "passphrase");
    assert_eq!(
        read(&manager(directory.path(), passphrase("correct horse battery")))
            .await
            .unwrap(),
        "hello"
    );
}

#[tokio::test]
async fn wrong_key_file() {
    let directory = with_a_note(key_file).await;
    let other = Keys::key_file(directory.path().join("other/key"));
    let elsewhere = tempfile::tempdir().unwrap();
    manager(elsewhere.path(), other.clone())
        .store("note", note("x"))
        .await
        .unwrap();
    let error = read(&manager(directory.path(), other)).await.unwrap_err();
    refused(&error, ErrorKind::Key, "key file");
    assert_eq!(
        read(&manager(directory.path(), key_file(&directory)))
            .await
            .unwrap(),
        "hello"
    );
}

#[tokio::test]
async fn missing_key_file_of_an_existing_ring() {
    let directory = with_a_note(key_file).await;
    fs::remove_file(directory.path().join("config/key")).unwrap();
    let error = read(&manager(directory.path(), key_file(&directory)))
        .await
        .unwrap_err();
    refused(&error, ErrorKind::Key, "backup");
    assert!(
        !directory.path().join("config/key").exists(),
        "no new key for an old ring"
    );
}

#[tokio::test]
async fn missing_key_ring() {
    let directory = with_a_note(key_file).await;
    fs::remove_file(directory.path().join("secrets/keyring")).unwrap();
    let error = read(&manager(directory.path(), key_file(&directory)))
        .await
        .unwrap_err();
    refused(&error, ErrorKind::Key, "backup");
    assert!(
        !directory.path().join("secrets/keyring").exists(),
        "no new ring for old records"
    );
}

#[tokio::test]
async fn damaged_key_ring() {
    let directory = with_a_note(key_file).await;
    let ring = directory.path().join("secrets/keyring");
    let mut bytes = fs::read(&ring).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&ring, bytes).unwrap();
    let error = read(&manager(directory.path(), key_file(&directory)))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Tampered | ErrorKind::Key),
        "{error}"
    );
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn lax_permissions() {
    let directory = with_a_note(key_file).await;
    let secrets = directory.path().join("secrets");
    let modes = [
        (secrets.clone(), 0o755, 0o700),
        (secrets.join("store.db"), 0o644, 0o600),
        (secrets.join("keyring"), 0o640, 0o600),
        (directory.path().join("config/key"), 0o604, 0o600),
    ];
    for (path, lax, strict) in modes {
        fs::set_permissions(&path, fs::Permissions::from_mode(lax)).unwrap();
        let error = read(&manager(directory.path(), key_file(&directory)))
            .await
            .unwrap_err();
        refused(&error, ErrorKind::InsecureStorage, "chmod");
        fs::set_permissions(&path, fs::Permissions::from_mode(strict)).unwrap();
        assert_eq!(
            read(&manager(directory.path(), key_file(&directory)))
                .await
                .unwrap(),
            "hello"
        );
    }
}

#[tokio::test]
async fn a_symlinked_store() {
    let directory = with_a_note(key_file).await;
    symlink(directory.path().join("secrets"), directory.path().join("link")).unwrap();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("link")))
        .keys(key_file(&directory))
        .build();
    refused(
        &read(&manager).await.unwrap_err(),
        ErrorKind::InsecureStorage,
        "symbolic link",
    );
}

#[tokio::test]
async fn unlawful_names() {
    let directory = with_a_note(key_file).await;
    let manager = manager(directory.path(), key_file(&directory));
    for name in ["../x", "", "Note", "a//b", "/etc/passwd"] {
        let error = manager.store(name, note("x")).await.unwrap_err();
        refused(&error, ErrorKind::InvalidName, "lower-case ASCII");
        assert_eq!(
            manager.get::<Note>(name).await.err().map(|e| e.kind()),
            Some(ErrorKind::InvalidName)
        );
    }
    assert_eq!(manager.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn too_large_a_value() {
    let directory = tempfile::tempdir().unwrap();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(key_file(&directory))
        .secret_limit(usize::MAX)
        .build();
    let json = r#"{"text":""}"#.len();
    manager
        .store("note", note(&"x".repeat((1 << 20) - json)))
        .await
        .unwrap();
    let error = manager
        .store("note", note(&"x".repeat((1 << 20) - json + 1)))
        .await
        .unwrap_err();
    refused(&error, ErrorKind::LimitExceeded, "1048576");
    assert_eq!(read(&manager).await.unwrap().len(), (1 << 20) - json);
}

#[tokio::test]
async fn another_type() {
    let directory = with_a_note(key_file).await;
    let manager = manager(directory.path(), key_file(&directory));
    let error = manager.get::<SecretTextCredential>("note").await.unwrap_err();
    refused(&error, ErrorKind::TypeMismatch, "ask for that type");
    let error = manager
        .rotate("note", SecretTextCredential::new("x"))
        .await
        .unwrap_err();
    refused(&error, ErrorKind::TypeMismatch, "delete it first");
    assert_eq!(read(&manager).await.unwrap(), "hello");
}

#[test]
fn missing_unknown_and_mistyped_fields_name_the_place_and_not_the_value() {
    let decode = |json: &str| {
        let json = Plaintext::new(json.into());
        decode_credential::<PostgresCredential>(&json, 1)
            .map(drop)
            .unwrap_err()
    };
    for json in [
        r#"{"host":"hunter2"}"#,
        r#"{"port":"hunter2"}"#,
        r#"{"hunter2":1}"#,
        r#"{"host":"hunter2""#,
        "hunter2",
        r#"{"password":["hunter2"]}"#,
    ] {
        let error = decode(json);
        refused(&error, ErrorKind::Codec, "line 1");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn expired_on_read() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::new());
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(key_file(&directory))
        .clock(Arc::clone(&clock))
        .build();
    let end = nebula_credential::Clock::now(&*clock) + Duration::from_secs(60);
    manager
        .store(
            "ticket",
            Ticket {
                code: "abc".into(),
                expires_at: end,
            },
        )
        .await
        .unwrap();
    manager.get::<Ticket>("ticket").await.unwrap();
    clock.advance(Duration::from_secs(60));
    refused(
        &manager.get::<Ticket>("ticket").await.map(drop).unwrap_err(),
        ErrorKind::Expired,
        "rotate it",
    );
    assert_eq!(
        manager.metadata("ticket").await.unwrap().state,
        CredentialState::Expired
    );
    let raw = manager.get_raw("ticket").await.unwrap();
    assert!(raw.expose().starts_with(b"{"), "nothing is lost");
}

#[tokio::test]
async fn not_a_store() {
    let directory = with_a_note(key_file).await;
    fs::write(
        directory.path().join("secrets/store.db"),
        b"These are not the bytes of a database at all.",
    )
    .unwrap();
    let error = read(&manager(directory.path(), key_file(&directory)))
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::UnsupportedFormat | ErrorKind::Storage),
        "{error}"
    );
    assert!(error.to_string().contains("store.db"), "{error}");
}

#[tokio::test]
async fn a_redacted_value_is_not_stored() {
    let directory = with_a_note(key_file).await;
    let manager = manager(directory.path(), key_file(&directory));
    let error = manager.rotate("note", note("secret").redact()).await.unwrap_err();
    refused(&error, ErrorKind::InvalidInput, "real value");
    assert_eq!(read(&manager).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_is_revoked_stays_revoked() {
    let directory = with_a_note(key_file).await;
    let manager = manager(directory.path(), key_file(&directory));
    manager.rotate("note", note("second")).await.unwrap();
    let revoked = manager.revoke("note").await.unwrap();
    assert_eq!(revoked.phase, Phase::Revoked);
    manager.revoke("note").await.unwrap();

    refused(
        &read(&manager).await.unwrap_err(),
        ErrorKind::InvalidState,
        "store a new value",
    );
    for error in [
        manager.store("note", note("third")).await.unwrap_err(),
        manager.rotate("note", note("third")).await.unwrap_err(),
        manager.rollback("note").await.unwrap_err(),
    ] {
        refused(&error, ErrorKind::InvalidState, "delete it first");
    }
    assert_eq!(
        manager.metadata("note").await.unwrap().state,
        CredentialState::Revoked
    );
    manager.delete("note").await.unwrap();
    manager.store("note", note("anew")).await.unwrap();
    assert_eq!(read(&manager).await.unwrap(), "anew");
}
