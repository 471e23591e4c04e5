//! A manager on a store that can do nothing but keep one value under a name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nebula_credential::prelude::*;
use nebula_credential::{
    Capability, CredentialRef, Delete, ErrorKind, Get, List, OpContext, Page, Put, Record, RecordHead,
    Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, Selector, Update, VersionHead,
};

type Answer<T> = Result<T, CredentialError>;

/// What was stored under a name, and the last number; the record is gone when it is purged.
#[derive(Clone, Default)]
struct Least(Arc<Mutex<Kept>>);

type Kept = BTreeMap<CredentialRef, (Version, Option<Record<Sealed>>)>;

impl Least {
    fn read(&self, op: &Get) -> Answer<Record<Sealed>> {
        let kept = self.0.lock().unwrap();
        let found = kept.get(&op.id).and_then(|(_, record)| record.clone());
        let record = found.ok_or_else(|| CredentialError::not_found(op.id.to_string()))?;
        match op.version {
            Selector::Exact(version) if version != record.head.latest => {
                Err(CredentialError::version_not_found(&op.id, version))
            }
            _ => Ok(record),
        }
    }
}

fn cannot<T>() -> Answer<T> {
    Err(CredentialError::unsupported("this store cannot; use another"))
}

impl SecretStore for Least {
    fn capability(&self) -> Capability {
        Capability {
            max_sealed_bytes: 64 * 1024,
            max_versions: 1,
            ..Capability::default()
        }
    }
    async fn get(&self, _: &OpContext, op: Get) -> Answer<Record<Sealed>> {
        self.read(&op)
    }
    async fn head(&self, _: &OpContext, op: Get) -> Answer<RecordHead> {
        self.read(&op).map(|record| record.head)
    }
    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Answer<RecordHead> {
        let mut kept = self.0.lock().unwrap();
        let (latest, live) = kept.get(&op.id).map_or((None, None), |(latest, record)| {
            (Some(*latest), record.as_ref().map(|record| record.head.clone()))
        });
        op.check(latest, live.as_ref())?;
        let head = op.head(live.as_ref(), ctx.now());
        let record = Record {
            head: head.clone(),
            payload: op.payload,
        };
        kept.insert(op.id, (head.latest, Some(record)));
        Ok(head)
    }
    async fn rewrite(&self, _: &OpContext, _: Rewrite<Sealed>) -> Answer<()> {
        cannot()
    }
    async fn update(&self, _: &OpContext, _: Update) -> Answer<RecordHead> {
        cannot()
    }
    async fn delete(&self, _: &OpContext, op: Delete) -> Answer<()> {
        let mut kept = self.0.lock().unwrap();
        let record = kept.get_mut(&op.id).and_then(|(_, record)| record.take());
        record
            .map(drop)
            .ok_or_else(|| CredentialError::not_found(op.id.to_string()))
    }
    async fn restore(&self, _: &OpContext, _: Restore) -> Answer<RecordHead> {
        cannot()
    }
    async fn list(&self, _: &OpContext, op: List) -> Answer<Page> {
        let kept = self.0.lock().unwrap();
        let heads = kept
            .values()
            .filter_map(|(_, record)| Some(record.as_ref()?.head.clone()));
        Ok(Page::select(&op, heads))
    }
    async fn versions(&self, _: &OpContext, _: CredentialRef) -> Answer<Vec<VersionHead>> {
        cannot()
    }
    async fn scan(&self, _: &OpContext, _: Scan) -> Answer<ScanPage<Sealed>> {
        cannot()
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

#[tokio::test]
async fn the_manager_asks_of_a_store_no_more_than_it_can_do() {
    let directory = tempfile::tempdir().unwrap();
    let manager = CredentialManager::builder()
        .storage(Least::default())
        .keys(Keys::key_file(directory.path().join("config/key")))
        .key_ring_dir(directory.path().join("ring"))
        .build();
    assert_eq!(manager.store("n", note("one")).await.unwrap().version.get(), 1);
    assert_eq!(manager.rotate("n", note("two")).await.unwrap().version.get(), 2);
    let read: Note = manager.get("n").await.unwrap();
    assert_eq!(read.text, "two");
    assert_eq!(manager.list().await.unwrap().len(), 1);

    // What it cannot do is refused with a remedy, and does nothing.
    for error in [
        manager.rollback("n").await.unwrap_err(),
        manager.delete("n").await.unwrap_err(),
        manager.store("m", note("three")).if_absent().await.unwrap_err(),
        manager.rewrap(|_| ()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!(manager.rotate_key().await.unwrap().get(), 2);

    manager.purge("n").await.unwrap();
    assert!(
        manager
            .get::<Note>("n")
            .await
            .map(drop)
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(manager.store("n", note("four")).await.unwrap().version.get(), 3);
}
