//! A store in memory, complete in what key jobs touch, that can be made to fail or to race.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nebula_credential_core::{
    Capability, CredentialError, CredentialRef, Delete, DeleteMode, Get, List, OpContext, Page, Put, Record,
    RecordHead, Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, Selector, StoreHandle, Update,
    Version, VersionHead,
};

type Answer<T> = Result<T, CredentialError>;
type Key = (CredentialRef, Version);

/// Looks at a rewrite before it is made; may refuse it, or change the store first.
type Hook = dyn Fn(&MemoryStore, &Rewrite<Sealed>) -> Answer<()> + Send + Sync;

#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    heads: Mutex<BTreeMap<CredentialRef, RecordHead>>,
    payloads: Mutex<BTreeMap<Key, (VersionHead, Sealed)>>,
    hook: Mutex<Option<Arc<Hook>>>,
}

impl MemoryStore {
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::new(self.clone())
    }

    pub fn before_rewrite(
        &self,
        hook: impl Fn(&Self, &Rewrite<Sealed>) -> Answer<()> + Send + Sync + 'static,
    ) {
        *self.0.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    pub fn payload(&self, id: &CredentialRef, version: u32) -> Vec<u8> {
        let key = (id.clone(), Version::new(version).unwrap());
        let payloads = self.0.payloads.lock().unwrap();
        payloads[&key].1.as_envelope().unwrap().to_vec()
    }

    /// What an attacker or a broken disk does.
    pub fn overwrite(&self, id: &CredentialRef, version: u32, bytes: &[u8]) {
        let key = (id.clone(), Version::new(version).unwrap());
        let sealed = Sealed::envelope(bytes.to_vec()).unwrap();
        self.0.payloads.lock().unwrap().get_mut(&key).unwrap().1 = sealed;
    }

    pub fn purge(&self, id: &CredentialRef) {
        self.0.heads.lock().unwrap().remove(id);
        self.0.payloads.lock().unwrap().retain(|(of, _), _| of != id);
    }

    pub fn all(&self) -> Vec<(CredentialRef, VersionHead, Sealed)> {
        let payloads = self.0.payloads.lock().unwrap();
        payloads
            .iter()
            .map(|((id, _), (version, sealed))| (id.clone(), version.clone(), sealed.clone()))
            .collect()
    }

    fn record(&self, id: &CredentialRef, version: Selector) -> Answer<Record<Sealed>> {
        let missing = || CredentialError::not_found(id.to_string());
        let mut head = self
            .0
            .heads
            .lock()
            .unwrap()
            .get(id)
            .cloned()
            .ok_or_else(missing)?;
        let number = match version {
            Selector::Latest => head.latest,
            Selector::Exact(number) => number,
        };
        let payloads = self.0.payloads.lock().unwrap();
        let (version, payload) = payloads.get(&(id.clone(), number)).cloned().ok_or_else(missing)?;
        head.version = version;
        Ok(Record { head, payload })
    }
}

impl SecretStore for MemoryStore {
    fn capability(&self) -> Capability {
        Capability::ALL
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }

    async fn get(&self, _: &OpContext, op: Get) -> Answer<Record<Sealed>> {
        let record = self.record(&op.id, op.version)?;
        if record.head.deleted_at.is_some() {
            return Err(CredentialError::not_found(op.id.to_string()));
        }
        Ok(record)
    }

    async fn head(&self, _: &OpContext, op: Get) -> Answer<RecordHead> {
        self.record(&op.id, op.version).map(|record| record.head)
    }

    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Answer<RecordHead> {
        let mut heads = self.0.heads.lock().unwrap();
        let old = heads.get(&op.id);
        op.check(
            old.map(|head| head.latest),
            old.filter(|head| head.deleted_at.is_none()),
        )?;
        let head = RecordHead {
            id: op.id.clone(),
            version: op.version.clone(),
            latest: op.version.version,
            phase: op.phase,
            created_at: old.map_or(op.version.created_at, |head| head.created_at),
            updated_at: ctx.now(),
            deleted_at: None,
            tags: op.tags.unwrap_or_default(),
        };
        heads.insert(op.id.clone(), head.clone());
        let key = (op.id, op.version.version);
        self.0
            .payloads
            .lock()
            .unwrap()
            .insert(key, (op.version, op.payload));
        Ok(head)
    }

    async fn rewrite(&self, _: &OpContext, op: Rewrite<Sealed>) -> Answer<()> {
        let hook = self.0.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(self, &op)?;
        }
        let mut payloads = self.0.payloads.lock().unwrap();
        let key = (op.id.clone(), op.version);
        let Some((_, payload)) = payloads.get_mut(&key) else {
            return Err(CredentialError::not_found(op.id.to_string()));
        };
        if payload.as_envelope() != op.expected.as_envelope() {
            return Err(CredentialError::VersionConflict {
                name: op.id.to_string(),
                expected: Some(op.version),
                found: Some(op.version),
            });
        }
        *payload = op.payload;
        Ok(())
    }

    async fn update(&self, _: &OpContext, op: Update) -> Answer<RecordHead> {
        let mut heads = self.0.heads.lock().unwrap();
        let head = heads
            .get_mut(&op.id)
            .ok_or_else(|| CredentialError::not_found(op.id.to_string()))?;
        if let Some(tags) = op.tags {
            head.tags = tags;
        }
        Ok(head.clone())
    }

    async fn delete(&self, ctx: &OpContext, op: Delete) -> Answer<()> {
        let mut heads = self.0.heads.lock().unwrap();
        let head = heads
            .get_mut(&op.id)
            .ok_or_else(|| CredentialError::not_found(op.id.to_string()))?;
        match op.mode {
            DeleteMode::Soft => head.deleted_at = Some(ctx.now()),
            DeleteMode::Purge => {
                heads.remove(&op.id);
                self.0.payloads.lock().unwrap().retain(|(id, _), _| *id != op.id);
            }
        }
        Ok(())
    }

    async fn restore(&self, _: &OpContext, op: Restore) -> Answer<RecordHead> {
        let mut heads = self.0.heads.lock().unwrap();
        let head = heads
            .get_mut(&op.id)
            .ok_or_else(|| CredentialError::not_found(op.id.to_string()))?;
        head.deleted_at = None;
        Ok(head.clone())
    }

    async fn list(&self, _: &OpContext, op: List) -> Answer<Page> {
        let heads = self.0.heads.lock().unwrap();
        Ok(Page::select(&op, heads.values().cloned()))
    }

    async fn versions(&self, _: &OpContext, id: CredentialRef) -> Answer<Vec<VersionHead>> {
        let payloads = self.0.payloads.lock().unwrap();
        let of = |key: &&Key| key.0 == id;
        let mut heads: Vec<_> = payloads
            .keys()
            .filter(of)
            .filter_map(|key| payloads.get(key))
            .map(|(version, _)| version.clone())
            .collect();
        heads.reverse();
        Ok(heads)
    }

    async fn scan(&self, _: &OpContext, op: Scan) -> Answer<ScanPage<Sealed>> {
        let keys: Vec<Key> = self.0.payloads.lock().unwrap().keys().cloned().collect();
        let mut records = Vec::new();
        for (id, version) in keys {
            records.push(self.record(&id, Selector::Exact(version))?);
        }
        Ok(ScanPage::select(&op, records.into_iter()))
    }
}
