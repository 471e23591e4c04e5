//! Stores: what an author implements, and what everyone else holds.

use std::fmt;
use std::future::{Future, ready};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::{
    Capability, ChangeCounters, CredentialError, CredentialRef, Delete, Get, List, Op, OpContext, Page, Put,
    Record, RecordHead, Request, Response, Restore, Rewrite, Scan, ScanPage, Sealed, Update, VersionHead,
};

/// A future that owns what it needs.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place where sealed records are kept. What each method must do is defined by the conformance suite in
/// `nebula-credential-testkit`; run it.
///
/// Every method is one atomic step: it happens whole or not at all, and an `Ok` means that it is as durable as
/// [`Capability::durable`] says. Dropping the future of a write may or may not stop it, but never halves it.
///
/// # Errors
/// [`NotFound`](CredentialError::NotFound) only when the record is known to be absent;
/// [`Unavailable`](CredentialError::Unavailable) when the store cannot be asked;
/// [`OutcomeUnknown`](CredentialError::OutcomeUnknown) when the answer to a write was lost;
/// [`Unsupported`](CredentialError::Unsupported) for what [`capability`](Self::capability) says it cannot do (the
/// handle refuses that and a passed deadline by itself, before the store is asked).
/// No error holds text from a foreign library.
pub trait SecretStore: Send + Sync + 'static {
    /// What this store can do. Constant for its life.
    fn capability(&self) -> Capability;

    /// The private directory this store owns, if it has one. The key ring is kept there.
    fn home(&self) -> Option<PathBuf> {
        None
    }

    /// How copies of this store's values learn that they are no longer current, if the store can tell.
    fn changes(&self) -> Option<Arc<dyn ChangeCounters>> {
        None
    }

    /// Reads one version. A deleted record is not found.
    fn get(
        &self,
        ctx: &OpContext,
        op: Get,
    ) -> impl Future<Output = Result<Record<Sealed>, CredentialError>> + Send;

    /// Reads what is known without the key. A deleted record is found, with `deleted_at`; a purged one is not.
    fn head(
        &self,
        ctx: &OpContext,
        op: Get,
    ) -> impl Future<Output = Result<RecordHead, CredentialError>> + Send;

    /// Stores a new version, after [`Put::check`], and drops versions beyond `keep_versions`, the oldest first.
    /// Storing onto a deleted or purged record begins a new life: no old versions, no old tags, a new `created_at`;
    /// only the numbers go on. A used number is a conflict that tells the latest, after a purge too.
    fn put(
        &self,
        ctx: &OpContext,
        op: Put<Sealed>,
    ) -> impl Future<Output = Result<RecordHead, CredentialError>> + Send;

    /// Replaces the payload of one version, of a deleted record too, if it is still the expected one.
    fn rewrite(
        &self,
        ctx: &OpContext,
        op: Rewrite<Sealed>,
    ) -> impl Future<Output = Result<(), CredentialError>> + Send;

    /// Replaces tags or phase of a live record.
    fn update(
        &self,
        ctx: &OpContext,
        op: Update,
    ) -> impl Future<Output = Result<RecordHead, CredentialError>> + Send;

    /// Deletes. A soft deletion of a deleted record, and a purge of an absent one, is not found.
    fn delete(&self, ctx: &OpContext, op: Delete)
    -> impl Future<Output = Result<(), CredentialError>> + Send;

    /// Undoes a soft deletion; a live record is an [`InvalidState`](CredentialError::InvalidState).
    fn restore(
        &self,
        ctx: &OpContext,
        op: Restore,
    ) -> impl Future<Output = Result<RecordHead, CredentialError>> + Send;

    /// Reads one page.
    fn list(&self, ctx: &OpContext, op: List) -> impl Future<Output = Result<Page, CredentialError>> + Send;

    /// Reads the heads of all kept versions of a live record, newest first.
    fn versions(
        &self,
        ctx: &OpContext,
        id: CredentialRef,
    ) -> impl Future<Output = Result<Vec<VersionHead>, CredentialError>> + Send;

    /// Reads one page of every kept payload of every tenant, deleted ones included.
    /// A store that can [`rewrite`](Capability::rewrite) can scan.
    fn scan(
        &self,
        ctx: &OpContext,
        op: Scan,
    ) -> impl Future<Output = Result<ScanPage<Sealed>, CredentialError>> + Send;
}

/// The one adapter from [`SecretStore`] to a trait object.
trait DynStore: Send + Sync {
    fn capability_dyn(&self) -> Capability;
    fn home_dyn(&self) -> Option<PathBuf>;
    fn changes_dyn(&self) -> Option<Arc<dyn ChangeCounters>>;
    fn call_dyn(self: Arc<Self>, request: Request<Sealed>) -> BoxFuture<'static, Answer>;
}

type Answer = Result<Response<Sealed>, CredentialError>;

impl<S: SecretStore> DynStore for S {
    fn capability_dyn(&self) -> Capability {
        self.capability()
    }

    fn home_dyn(&self) -> Option<PathBuf> {
        self.home()
    }

    fn changes_dyn(&self) -> Option<Arc<dyn ChangeCounters>> {
        self.changes()
    }

    /// A future for each operation: one for all would be as large as the largest, and a read pay for a write.
    fn call_dyn(self: Arc<Self>, Request { ctx, op }: Request<Sealed>) -> BoxFuture<'static, Answer> {
        if let Err(error) = ctx.check_deadline().and_then(|()| self.capability().check(&op)) {
            return Box::pin(ready(Err(error)));
        }
        match op {
            Op::Get(op) => Box::pin(async move { self.get(&ctx, op).await.map(Response::Record) }),
            Op::Head(op) => Box::pin(async move { self.head(&ctx, op).await.map(Response::Head) }),
            Op::Put(op) => Box::pin(async move { self.put(&ctx, op).await.map(Response::Head) }),
            Op::Rewrite(op) => Box::pin(async move { self.rewrite(&ctx, op).await.map(|()| Response::Done) }),
            Op::Update(op) => Box::pin(async move { self.update(&ctx, op).await.map(Response::Head) }),
            Op::Delete(op) => Box::pin(async move { self.delete(&ctx, op).await.map(|()| Response::Done) }),
            Op::Restore(op) => Box::pin(async move { self.restore(&ctx, op).await.map(Response::Head) }),
            Op::List(op) => Box::pin(async move { self.list(&ctx, op).await.map(Response::Page) }),
            Op::Versions(id) => {
                Box::pin(async move { self.versions(&ctx, id).await.map(Response::Versions) })
            }
            Op::Scan(op) => Box::pin(async move { self.scan(&ctx, op).await.map(Response::Scanned) }),
        }
    }
}

/// A store of any kind, as a [`tower` service](Service) of sealed requests. Cheap to clone; always ready.
#[derive(Clone)]
pub struct StoreHandle(Arc<dyn DynStore>);

impl StoreHandle {
    /// A handle on `store`.
    pub fn new(store: impl SecretStore) -> Self {
        Self(Arc::new(store))
    }

    /// What the store can do.
    pub fn capability(&self) -> Capability {
        self.0.capability_dyn()
    }

    /// The private directory the store owns, if it has one.
    pub fn home(&self) -> Option<PathBuf> {
        self.0.home_dyn()
    }

    /// How copies of the store's values learn that they are no longer current, if the store can tell.
    pub fn changes(&self) -> Option<Arc<dyn ChangeCounters>> {
        self.0.changes_dyn()
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle")
            .field("capability", &self.capability())
            .finish()
    }
}

impl Service<Request<Sealed>> for StoreHandle {
    type Response = Response<Sealed>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Sealed>) -> Self::Future {
        Arc::clone(&self.0).call_dyn(request)
    }
}
