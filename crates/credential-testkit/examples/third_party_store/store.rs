use std::collections::BTreeMap;

use nebula_credential_core::{
    Capability, CredentialError, CredentialRef, Delete, Get, List, OpContext, Page, Put, Record, RecordHead,
    Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, Update, VersionHead, limits,
};

type Answer<T> = Result<T, CredentialError>;
/// A credential, and its versions, newest first: none after a purge, when only its last number still counts.
type Entry = (RecordHead, Vec<(VersionHead, Sealed)>);

/// A whole store to begin from: in memory, with versions and compare-and-set. What it cannot do, its capability says.
/// Each operation takes the lock once, so each is one step.
#[derive(Default)]
pub struct ShelfStore(tokio::sync::Mutex<BTreeMap<CredentialRef, Entry>>);

fn live<'a>(shelf: &'a mut BTreeMap<CredentialRef, Entry>, id: &CredentialRef) -> Answer<&'a mut Entry> {
    let entry = shelf.get_mut(id).filter(|(_, kept)| !kept.is_empty());
    entry.ok_or_else(|| CredentialError::not_found(id.to_string()))
}

impl SecretStore for ShelfStore {
    fn capability(&self) -> Capability {
        Capability {
            versions: true,
            compare_and_set: true,
            max_sealed_bytes: limits::SEALED_BYTES_MAX,
            max_versions: limits::VERSIONS_MAX,
            ..Capability::default()
        }
    }

    async fn get(&self, _: &OpContext, op: Get) -> Answer<Record<Sealed>> {
        let mut shelf = self.0.lock().await;
        let (head, kept) = live(&mut shelf, &op.id)?;
        let (wanted, mut head) = (op.version.resolve(head.latest), head.clone());
        let found = kept.iter().find(|kept| kept.0.version == wanted).cloned();
        let (version, payload) = found.ok_or_else(|| CredentialError::version_not_found(&op.id, wanted))?;
        head.version = version;
        Ok(Record { head, payload })
    }

    async fn head(&self, ctx: &OpContext, op: Get) -> Answer<RecordHead> {
        Ok(self.get(ctx, op).await?.head)
    }

    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Answer<RecordHead> {
        let mut shelf = self.0.lock().await;
        let latest = shelf.get(&op.id).map(|(head, _)| head.latest);
        let old = live(&mut shelf, &op.id).ok().map(|(head, _)| head.clone());
        op.check(latest, old.as_ref())?;
        let new = op.head(old.as_ref(), ctx.now());
        let (head, kept) = shelf.entry(op.id).or_insert((new.clone(), Vec::new()));
        head.clone_from(&new);
        kept.insert(0, (op.version, op.payload));
        kept.truncate(op.keep_versions.clamp(1, limits::VERSIONS_MAX) as usize);
        Ok(new)
    }

    async fn delete(&self, _: &OpContext, op: Delete) -> Answer<()> {
        let mut shelf = self.0.lock().await;
        let (head, kept) = live(&mut shelf, &op.id)?;
        op.precondition.check(&op.id, Some(head.latest), true)?;
        kept.clear();
        Ok(())
    }

    async fn list(&self, _: &OpContext, op: List) -> Answer<Page> {
        let shelf = self.0.lock().await;
        let live = shelf.values().filter(|(_, kept)| !kept.is_empty());
        Ok(Page::select(&op, live.map(|(head, _)| head.clone())))
    }

    async fn versions(&self, _: &OpContext, id: CredentialRef) -> Answer<Vec<VersionHead>> {
        let mut shelf = self.0.lock().await;
        let (_, kept) = live(&mut shelf, &id)?;
        Ok(kept.iter().map(|(version, _)| version.clone()).collect())
    }

    async fn rewrite(&self, _: &OpContext, _: Rewrite<Sealed>) -> Answer<()> {
        Err(CredentialError::unsupported("store a new version"))
    }

    async fn update(&self, _: &OpContext, _: Update) -> Answer<RecordHead> {
        Err(CredentialError::unsupported("store a new version"))
    }

    async fn restore(&self, _: &OpContext, _: Restore) -> Answer<RecordHead> {
        Err(CredentialError::unsupported("store the value again"))
    }

    async fn scan(&self, _: &OpContext, _: Scan) -> Answer<ScanPage<Sealed>> {
        Err(CredentialError::unsupported("list and read the credentials"))
    }
}
