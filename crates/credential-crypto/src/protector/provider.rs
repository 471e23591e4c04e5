use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use nebula_credential_core::{CredentialError, DataKey, KeyProvider, WrappedKey};

use super::private::Wrap;
use super::{Protector, SlotContext, SlotKind, WrappedRoot};
use crate::Entropy;

/// Runs a future to its end on the calling thread.
type BlockOn = dyn Fn(Pin<&mut (dyn Future<Output = ()> + Send)>) + Send + Sync;

/// Any [`KeyProvider`] as a protector: the root key is wrapped by an HSM, a cloud KMS or an OS keyring, which is
/// asked once per unlock.
pub struct ProviderProtector<K> {
    provider: K,
    block_on: Box<BlockOn>,
}

impl<K: KeyProvider> ProviderProtector<K> {
    /// For a provider that needs no runtime, such as PKCS#11: its futures are polled on the calling thread, which
    /// sleeps until they wake it.
    pub fn new(provider: K) -> Self {
        Self {
            provider,
            block_on: Box::new(park_on),
        }
    }

    /// For a provider that needs a runtime, such as a cloud KMS: `block_on` drives its futures.
    ///
    /// With tokio: `ProviderProtector::with_runtime(kms, move |future| handle.block_on(future))`, where `handle` is a
    /// `tokio::runtime::Handle` and the key ring is unlocked inside `spawn_blocking`.
    pub fn with_runtime(
        provider: K,
        block_on: impl Fn(Pin<&mut (dyn Future<Output = ()> + Send)>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            provider,
            block_on: Box::new(block_on),
        }
    }

    fn run<T: Send>(
        &self,
        future: impl Future<Output = Result<T, CredentialError>> + Send,
    ) -> Result<T, CredentialError> {
        let mut answer = None;
        {
            let task = pin!(async { answer = Some(future.await) });
            (self.block_on)(task);
        }
        answer.unwrap_or_else(|| {
            Err(CredentialError::unavailable(
                "the key provider was not waited for; give a block_on that runs futures to their end",
            ))
        })
    }
}

impl<K: KeyProvider> Protector for ProviderProtector<K> {
    fn kind(&self) -> SlotKind {
        SlotKind::Provider
    }
}

impl<K: KeyProvider> Wrap for ProviderProtector<K> {
    fn wrap(
        &self,
        root: &DataKey,
        context: &SlotContext,
        _: &dyn Entropy,
    ) -> Result<WrappedRoot, CredentialError> {
        let wrapped = self.run(self.provider.wrap(root, &context.bytes))?;
        Ok(WrappedRoot {
            params: wrapped.reference,
            bytes: wrapped.bytes,
        })
    }

    fn unwrap(&self, wrapped: &WrappedRoot, context: &SlotContext) -> Result<DataKey, CredentialError> {
        let wrapped = WrappedKey {
            reference: wrapped.params.clone(),
            bytes: wrapped.bytes.clone(),
        };
        self.run(self.provider.unwrap(&wrapped, &context.bytes))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn park_on(mut future: Pin<&mut (dyn Future<Output = ()> + Send)>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    while future.as_mut().poll(&mut context).is_pending() {
        thread::park();
    }
}
