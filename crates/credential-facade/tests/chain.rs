//! What is kept in memory of what a chain of stores answers.
#![cfg(all(feature = "cache", feature = "resilience"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential::resilience::FallbackStore;
use nebula_credential::{ManagerBuilder, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore};

fn local(directory: &Path, name: &str) -> StoreHandle {
    StoreHandle::new(LocalStorage::new(directory.join(name)))
}

/// All managers of one directory have one key ring.
fn over(directory: &Path, store: StoreHandle) -> ManagerBuilder {
    CredentialManager::builder()
        .storage_handle(store)
        .key_ring_dir(directory.join("ring"))
        .keys(Keys::key_file(directory.join("config/key")))
}

fn note(text: &str) -> SecretTextCredential {
    SecretTextCredential::new(text)
}

async fn read(manager: &CredentialManager) -> String {
    let note = manager.get::<SecretTextCredential>("n").await.unwrap();
    note.text.expose_secret().to_owned()
}

#[tokio::test]
async fn an_old_value_found_past_a_store_that_cannot_be_reached_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let main = FaultStore::new(local(directory.path(), "main"));
    let backup = local(directory.path(), "backup");
    over(directory.path(), backup.clone())
        .build()
        .store("n", note("old"))
        .await
        .unwrap();
    over(directory.path(), main.handle())
        .build()
        .store("n", note("new"))
        .await
        .unwrap();

    let chain = FallbackStore::new("main", main.handle())
        .then("backup", backup)
        .past_unreachable();
    let manager = over(directory.path(), StoreHandle::new(chain))
        .cache_ttl(Duration::from_secs(900))
        .build();
    main.once(
        "get",
        Fault::Refuse(CredentialError::unavailable("a moment's outage")),
    );
    assert_eq!(read(&manager).await, "old");
    assert_eq!(manager.cache_stats().unwrap().entries, 0);
    assert_eq!(read(&manager).await, "new");
    assert_eq!(read(&manager).await, "new");
    assert_eq!(manager.cache_stats().unwrap().hits, 1);
}

#[tokio::test]
async fn a_change_in_either_of_two_local_stores_is_seen_by_the_next_read() {
    let directory = tempfile::tempdir().unwrap();
    let here = || {
        let chain = FallbackStore::new("first", local(directory.path(), "first"));
        StoreHandle::new(chain.then("second", local(directory.path(), "second")))
    };
    let second = over(directory.path(), local(directory.path(), "second")).build();
    second.store("n", note("one")).await.unwrap();
    let manager = over(directory.path(), here())
        .cache_ttl(Duration::from_secs(900))
        .build();
    // The first of them opens the stores, of which nothing was kept before.
    for _ in 0..3 {
        assert_eq!(read(&manager).await, "one");
    }
    assert!(manager.cache_stats().unwrap().hits > 0);

    second.rotate("n", note("two")).await.unwrap();
    assert_eq!(read(&manager).await, "two");
    assert_eq!(read(&manager).await, "two");
    let first = over(directory.path(), local(directory.path(), "first")).build();
    first.store("n", note("three")).await.unwrap();
    assert_eq!(read(&manager).await, "three");
    first.delete("n").await.unwrap();
    let gone = manager.get::<SecretTextCredential>("n").await.unwrap_err();
    assert!(gone.is_not_found());
}
