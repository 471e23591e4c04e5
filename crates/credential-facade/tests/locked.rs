//! What is known without the key is read and changed without it, and only where the key ring is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nebula_credential::prelude::*;
use nebula_credential::{ErrorKind, Tags};

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

fn manager(at: &Path, keys: Keys) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::new(at.join("secrets")))
        .keys(keys)
        .build()
}

fn key_file(at: &Path) -> Keys {
    Keys::key_file(at.join("config/key"))
}

/// A store with the notes `kept` and `gone`, the second one deleted.
async fn with_notes(at: &Path) {
    let manager = manager(at, key_file(at));
    manager.store("kept", note("one")).await.unwrap();
    manager.store("kept", note("two")).await.unwrap();
    manager.store("gone", note("three")).await.unwrap();
    manager.delete("gone").await.unwrap();
}

/// Every operation on one credential that opens no value.
async fn change(manager: &CredentialManager) -> Result<(), CredentialError> {
    let tags = Tags::from_pairs([("team", "billing")])?;
    let tagged = manager.set_tags("kept", tags).await?;
    assert_eq!(tagged.tags.get("team").map(String::as_str), Some("billing"));
    manager.delete("kept").await?;
    manager.restore("kept").await?;
    manager.restore("gone").await?;
    manager.purge("gone").await
}

#[tokio::test]
async fn what_opens_no_value_needs_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    with_notes(at).await;
    for keys in [Keys::none(), Keys::passphrase("that of something else")] {
        let manager = manager(at, keys);
        assert_eq!(manager.list().await.unwrap().len(), 1);
        assert!(manager.exists("kept").await.unwrap());
        assert_eq!(manager.metadata("kept").await.unwrap().version.get(), 2);
        assert_eq!(manager.versions("kept").await.unwrap().len(), 2);

        let refusals = [
            manager.open().await.unwrap_err(),
            manager.get::<Note>("kept").await.map(drop).unwrap_err(),
            manager
                .store("kept", note("x"))
                .if_absent()
                .await
                .map(drop)
                .unwrap_err(),
            manager.rollback("kept").await.map(drop).unwrap_err(),
            manager.key_ring().await.map(drop).unwrap_err(),
        ];
        for error in refusals {
            assert_eq!(error.kind(), ErrorKind::Key, "{error}");
        }
    }
    change(&manager(at, Keys::none())).await.unwrap();

    let unlocked = manager(at, key_file(at));
    let kept: Note = unlocked.get("kept").await.unwrap();
    assert_eq!(kept.text, "two");
    assert!(unlocked.get::<Note>("gone").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn nothing_is_changed_where_the_key_ring_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    with_notes(at).await;
    let ring = at.join("secrets/keyring");
    std::fs::rename(&ring, at.join("lost")).unwrap();
    for keys in [Keys::none(), key_file(at)] {
        let manager = manager(at, keys);
        let tags = Tags::from_pairs([("team", "billing")]).unwrap();
        let refusals = [
            manager.set_tags("kept", tags).await.map(drop).unwrap_err(),
            manager.delete("kept").await.unwrap_err(),
            manager.restore("gone").await.map(drop).unwrap_err(),
            manager.purge("kept").await.unwrap_err(),
        ];
        for error in refusals {
            assert_eq!(error.kind(), ErrorKind::Key, "{error}");
            assert!(error.to_string().contains("backup"), "{error}");
        }
        // What is known is still told, and no other ring is put in the place of the lost one.
        assert_eq!(manager.list().await.unwrap().len(), 1);
        assert!(!ring.exists());
    }
    std::fs::rename(at.join("lost"), &ring).unwrap();
    change(&manager(at, Keys::none())).await.unwrap();
}

#[tokio::test]
async fn an_empty_store_is_looked_at_without_making_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let manager = manager(at, key_file(at));
    assert!(manager.list().await.unwrap().is_empty());
    assert!(manager.delete("x").await.unwrap_err().is_not_found());
    assert!(!at.join("config/key").exists() && !at.join("secrets/keyring").exists());
    manager.store("x", note("one")).await.unwrap();
    assert!(at.join("config/key").exists() && at.join("secrets/keyring").exists());
    manager.delete("x").await.unwrap();
}

/// A cache above the sealing layer has to see both what needs the key and what does not.
#[tokio::test]
async fn a_layer_is_put_in_once_whatever_is_asked_first() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(at.join("secrets")))
        .keys(key_file(at))
        .layer(tower::layer::layer_fn(move |inner| {
            count.fetch_add(1, Ordering::Relaxed);
            inner
        }))
        .build();
    manager.list().await.unwrap();
    manager.store("x", note("one")).await.unwrap();
    manager.delete("x").await.unwrap();
    manager.restore("x").await.unwrap();
    manager.get::<Note>("x").await.unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 1);
}
