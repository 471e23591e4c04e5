//! What happens between the look of a change and the change itself, held open by a store that waits at a gate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::IntoFuture as _;

use nebula_credential::prelude::*;
use nebula_credential::{ErrorKind, Phase, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore, Gate};
use tempfile::TempDir;

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// A manager whose next `op` waits at the gate, and another on the same store.
async fn overtaken(
    op: &'static str,
    hold: fn(Gate) -> Fault,
) -> (TempDir, CredentialManager, CredentialManager, Gate) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStorage::new(directory.path().join("secrets"));
    let faults = FaultStore::new(StoreHandle::new(store.clone()));
    let manager = |handle| {
        CredentialManager::builder()
            .storage_handle(handle)
            .keys(Keys::key_file(directory.path().join("config/key")))
            .build()
    };
    let (slow, quick) = (manager(faults.handle()), manager(StoreHandle::new(store)));
    quick.store("n", note("one")).await.unwrap();
    let gate = Gate::new();
    faults.once(op, hold(gate.clone()));
    (directory, slow, quick, gate)
}

async fn text(manager: &CredentialManager) -> String {
    manager.get::<Note>("n").await.unwrap().text.clone()
}

#[tokio::test]
async fn a_rotation_overtaken_by_a_deletion_finds_nothing_and_brings_nothing_back() {
    let (_directory, slow, quick, gate) = overtaken("put", Fault::HoldBefore).await;
    let (done, ()) = tokio::join!(slow.rotate("n", note("two")).into_future(), async {
        gate.arrival().await;
        quick.delete("n").await.unwrap();
        gate.release(1);
    });
    assert!(done.unwrap_err().is_not_found());
    assert!(!quick.exists("n").await.unwrap());
    quick.restore("n").await.unwrap();
    assert_eq!(
        text(&quick).await,
        "one",
        "the deleted value is still there to restore"
    );
}

#[tokio::test]
async fn a_rotation_overtaken_by_a_revocation_does_not_undo_it() {
    let (_directory, slow, quick, gate) = overtaken("put", Fault::HoldBefore).await;
    let (done, ()) = tokio::join!(slow.rotate("n", note("two")).into_future(), async {
        gate.arrival().await;
        quick.revoke("n").await.unwrap();
        gate.release(1);
    });
    assert_eq!(done.unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(quick.metadata("n").await.unwrap().phase, Phase::Revoked);
    assert!(slow.get::<Note>("n").await.is_err());
}

#[tokio::test]
async fn a_rotation_overtaken_by_a_purge_finds_nothing() {
    let (_directory, slow, quick, gate) = overtaken("put", Fault::HoldBefore).await;
    let (done, ()) = tokio::join!(slow.rotate("n", note("two")).into_future(), async {
        gate.arrival().await;
        quick.purge("n").await.unwrap();
        gate.release(1);
    });
    assert!(done.unwrap_err().is_not_found());
    assert!(!quick.exists("n").await.unwrap());
}

#[tokio::test]
async fn a_rotation_overtaken_by_another_follows_it() {
    let (_directory, slow, quick, gate) = overtaken("put", Fault::HoldBefore).await;
    let (done, ()) = tokio::join!(slow.rotate("n", note("three")).into_future(), async {
        gate.arrival().await;
        quick.rotate("n", note("two")).await.unwrap();
        gate.release(1);
    });
    assert_eq!(done.unwrap().version.get(), 3);
    assert_eq!(text(&quick).await, "three");
}

#[tokio::test]
async fn a_rollback_overtaken_by_a_rotation_does_not_undo_it() {
    let (_directory, slow, quick, gate) = overtaken("versions", Fault::HoldAfter).await;
    quick.rotate("n", note("two")).await.unwrap();
    let (done, ()) = tokio::join!(slow.rollback("n"), async {
        gate.arrival().await;
        quick.rotate("n", note("three")).await.unwrap();
        gate.release(1);
    });
    assert!(done.unwrap_err().is_conflict());
    assert_eq!(text(&quick).await, "three");
}
