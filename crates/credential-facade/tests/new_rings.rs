//! When a key ring is made, and when its absence means that one was lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use nebula_credential::prelude::*;
use nebula_credential::{
    Capability, CredentialRef, Delete, ErrorKind, Get, List, Op, OpContext, Page, Put, Record, RecordHead,
    Request, Response, Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, StoreHandle, Update,
    VersionHead,
};
use nebula_credential_testkit::{Fault, FaultStore, Gate};
use tower::ServiceExt as _;

type Answer<T> = Result<T, CredentialError>;

/// A remote store: no directory of its own, and no way to read every tenant's payloads.
#[derive(Clone)]
struct Remote(StoreHandle);

impl Remote {
    async fn ask(&self, ctx: &OpContext, op: Op<Sealed>) -> Answer<Response<Sealed>> {
        self.0.clone().oneshot(Request { ctx: ctx.clone(), op }).await
    }
}

impl SecretStore for Remote {
    fn capability(&self) -> Capability {
        Capability {
            rewrite: false,
            ..self.0.capability()
        }
    }
    async fn get(&self, ctx: &OpContext, op: Get) -> Answer<Record<Sealed>> {
        self.ask(ctx, Op::Get(op)).await?.into_record()
    }
    async fn head(&self, ctx: &OpContext, op: Get) -> Answer<RecordHead> {
        self.ask(ctx, Op::Head(op)).await?.into_head()
    }
    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Answer<RecordHead> {
        self.ask(ctx, Op::Put(op)).await?.into_head()
    }
    async fn rewrite(&self, ctx: &OpContext, op: Rewrite<Sealed>) -> Answer<()> {
        self.ask(ctx, Op::Rewrite(op)).await.map(drop)
    }
    async fn update(&self, ctx: &OpContext, op: Update) -> Answer<RecordHead> {
        self.ask(ctx, Op::Update(op)).await?.into_head()
    }
    async fn delete(&self, ctx: &OpContext, op: Delete) -> Answer<()> {
        self.ask(ctx, Op::Delete(op)).await.map(drop)
    }
    async fn restore(&self, ctx: &OpContext, op: Restore) -> Answer<RecordHead> {
        self.ask(ctx, Op::Restore(op)).await?.into_head()
    }
    async fn list(&self, ctx: &OpContext, op: List) -> Answer<Page> {
        self.ask(ctx, Op::List(op)).await?.into_page()
    }
    async fn versions(&self, ctx: &OpContext, id: CredentialRef) -> Answer<Vec<VersionHead>> {
        self.ask(ctx, Op::Versions(id)).await?.into_versions()
    }
    async fn scan(&self, ctx: &OpContext, op: Scan) -> Answer<ScanPage<Sealed>> {
        self.ask(ctx, Op::Scan(op)).await?.into_scanned()
    }
}

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// Key and ring in one configuration directory, the data elsewhere.
fn remote(at: &Path) -> CredentialManager {
    let data = StoreHandle::new(LocalStorage::new(at.join("server")));
    CredentialManager::builder()
        .storage(Remote(data))
        .keys(Keys::key_file(at.join("config/key")))
        .key_ring_dir(at.join("config"))
        .build()
}

#[tokio::test]
async fn key_and_ring_may_share_a_directory_that_holds_no_data() {
    let directory = tempfile::tempdir().unwrap();
    remote(directory.path()).store("n", note("one")).await.unwrap();
    let read: Note = remote(directory.path()).get("n").await.unwrap();
    assert_eq!(read.text, "one");
}

#[tokio::test]
async fn a_ring_that_another_process_makes_meanwhile_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let data = StoreHandle::new(LocalStorage::new(directory.path().join("secrets")));
    let faults = FaultStore::new(data.clone());
    let manager = |handle| {
        CredentialManager::builder()
            .storage_handle(handle)
            .keys(Keys::key_file(directory.path().join("config/key")))
            .build()
    };
    let (slow, quick) = (manager(faults.handle()), manager(data));
    // It has looked for a ring, and now looks for records.
    let gate = Gate::new();
    faults.once("scan", Fault::HoldBefore(gate.clone()));
    let (opened, ()) = tokio::join!(slow.open(), async {
        gate.arrival().await;
        quick.store("n", note("one")).await.unwrap();
        gate.release(1);
    });
    opened.unwrap();
    let read: Note = slow.get("n").await.unwrap();
    assert_eq!(read.text, "one");
}

#[tokio::test]
async fn a_ring_lost_beside_a_store_that_cannot_be_scanned_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let manager = remote(at);
    manager.store("n", note("one")).await.unwrap();
    manager.delete("n").await.unwrap();
    // As a volume that is not mounted.
    fs::rename(at.join("config"), at.join("away")).unwrap();
    let error = remote(at).store("m", note("two")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key, "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
    assert!(!at.join("config").exists(), "neither a new ring nor a new key");
}

#[tokio::test]
async fn an_older_ring_is_not_rotated_into_a_second_key_of_the_same_number() {
    let directory = tempfile::tempdir().unwrap();
    let ring = directory.path().join("secrets/keyring");
    let manager = || {
        CredentialManager::builder()
            .storage(LocalStorage::new(directory.path().join("secrets")))
            .keys(Keys::key_file(directory.path().join("config/key")))
            .build()
    };
    let first = manager();
    first.store("n", note("one")).await.unwrap();
    let old = fs::read(&ring).unwrap();
    first.rotate_key().await.unwrap();
    first.rotate("n", note("two")).await.unwrap();
    let newest = fs::read(&ring).unwrap();

    fs::write(&ring, &old).unwrap();
    let after = manager();
    let error = after.rotate_key().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    assert!(error.to_string().contains("newest copy"), "{error}");
    assert_eq!(fs::read(&ring).unwrap(), old, "the ring is as it was");

    // With no look at the records there is no telling, and a leaked key must go.
    let faults = FaultStore::new(StoreHandle::new(LocalStorage::new(
        directory.path().join("secrets"),
    )));
    faults.always("scan", Fault::Refuse(CredentialError::unavailable("try again")));
    let blind = CredentialManager::builder()
        .storage_handle(faults.handle())
        .keys(Keys::key_file(directory.path().join("config/key")))
        .build();
    assert_eq!(
        blind.rotate_key().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    faults.heal();
    faults.always("scan", Fault::Refuse(CredentialError::storage("damaged")));
    assert_eq!(blind.rotate_key().await.unwrap().get(), 2);

    fs::write(&ring, &newest).unwrap();
    assert_eq!(manager().rotate_key().await.unwrap().get(), 3);
    let read: Note = manager().get("n").await.unwrap();
    assert_eq!(read.text, "two");
}
