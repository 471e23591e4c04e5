//! The sealing layer of a stack, whose key ring the first operation that needs it unlocks.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use nebula_credential_core::{
    BoxFuture, Clock, CredentialError, Op, Plaintext, Request, Response, Sealed, StoreHandle, TenantId,
};
use nebula_credential_crypto::{EncryptLayer, KeyRingFile};
use tokio::sync::OnceCell;
use tower_layer::Layer;
use tower_service::Service;

use crate::blocking::{blocking, start};
use crate::keys::Keys;

/// A key ring that is unlocked once, when a value is first read or stored.
pub(crate) struct Lock {
    pub(crate) keys: Keys,
    /// The directory the ring lies in.
    pub(crate) directory: PathBuf,
    pub(crate) store: StoreHandle,
    pub(crate) tenant: TenantId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ring: OnceCell<KeyRingFile>,
    /// With how many unrecorded wraps they are recorded next.
    pub(crate) record_at: AtomicU64,
}

/// A process records how often it has wrapped each time it has done so this often. Not at its end: a command that stores
/// one value would write the ring as well. What this leaves uncounted is bounded by the age of the key.
pub(crate) const RECORD_EVERY: u64 = 4_096;

impl Lock {
    /// The ring, unlocked; made if there is none and the store is empty.
    pub(crate) async fn ring(&self) -> Result<&KeyRingFile, CredentialError> {
        let unlock = || {
            let (directory, clock) = (self.directory.clone(), Arc::clone(&self.clock));
            self.keys.open_ring(directory, &self.store, &self.tenant, clock)
        };
        match self.ring.get() {
            Some(ring) => Ok(ring),
            // A failure is not remembered: the next use tries again.
            None => self.ring.get_or_try_init(unlock).await,
        }
    }

    /// Records how often the key has wrapped, if it is time to. Nobody waits for it: what was written is written, whatever
    /// becomes of the count.
    fn count(self: &Arc<Self>) {
        if let Some(record) = self.recording()
            && start(record).is_err()
        {
            tracing::warn!("the wraps of the key are not recorded: no thread could be started");
        }
    }

    /// The same, and waits for it: for who may end the process then.
    pub(crate) async fn count_and_wait(self: &Arc<Self>) {
        if let Some(record) = self.recording()
            && blocking(record).await.is_err()
        {
            tracing::warn!("the wraps of the key are not recorded: no thread could be started");
        }
    }

    /// What records how often the key has wrapped, if it is time to, and this call is the one to do it.
    fn recording(self: &Arc<Self>) -> Option<impl FnOnce() + Send + use<>> {
        let ring = self.ring.get()?;
        let (unrecorded, due) = (
            ring.ring().unrecorded_wraps(),
            self.record_at.load(Ordering::Relaxed),
        );
        // Until it is done, and where it fails, the next is due so many later.
        let next = unrecorded.saturating_add(RECORD_EVERY);
        let ours = || {
            self.record_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if unrecorded < due || !ours() {
            return None;
        }
        let (lock, ring) = (Arc::clone(self), ring.clone());
        Some(move || match ring.record_wraps() {
            Ok(()) => lock.record_at.store(RECORD_EVERY, Ordering::Relaxed),
            Err(_) => tracing::warn!(
                "the wraps of the key are not recorded: its ring could not be written; make its directory writable"
            ),
        })
    }

    /// What stands between plain and sealed requests for `op`.
    async fn layer(&self, op: &Op<Plaintext>) -> Result<EncryptLayer, CredentialError> {
        match op {
            Op::Head(_) | Op::List(_) | Op::Versions(_) => Ok(EncryptLayer::locked()),
            // These need no key either. But a store without its ring is one half of something: it was not put back
            // whole, or a directory is not mounted. Nothing is changed in it.
            Op::Update(_) | Op::Delete(_) | Op::Restore(_) => {
                Keys::check_ring(&self.directory, &self.store, &self.tenant, &self.clock).await?;
                Ok(EncryptLayer::locked())
            }
            _ => Ok(EncryptLayer::new(self.ring().await?.ring().clone())),
        }
    }
}

/// An [`EncryptLayer`] on the ring of a [`Lock`]. There is one in a stack for good: what lies above it may have state.
pub(crate) struct UnlockLayer(pub(crate) Arc<Lock>);

impl<S> Layer<S> for UnlockLayer {
    type Service = Unlock<S>;

    fn layer(&self, inner: S) -> Unlock<S> {
        Unlock {
            lock: Arc::clone(&self.0),
            inner,
        }
    }
}

/// The service an [`UnlockLayer`] makes.
#[derive(Clone)]
pub(crate) struct Unlock<S> {
    lock: Arc<Lock>,
    inner: S,
}

impl<S> Service<Request<Plaintext>> for Unlock<S>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Result<Response<Plaintext>, CredentialError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        // The one that was polled ready serves this call; its clone must be polled anew.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let wraps = matches!(request.op, Op::Put(_) | Op::Rewrite(_));
        if let Some(ring) = self.lock.ring.get().filter(|_| !wraps) {
            return EncryptLayer::new(ring.ring().clone()).layer(inner).call(request);
        }
        let lock = Arc::clone(&self.lock);
        Box::pin(async move {
            let encrypt = lock.layer(&request.op).await?;
            let answer = encrypt.layer(inner).call(request).await?;
            if wraps {
                lock.count();
            }
            Ok(answer)
        })
    }
}
