//! The order of the layers, in one place.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[cfg(feature = "access")]
use nebula_credential_access::AccessLayer;
#[cfg(feature = "audit")]
use nebula_credential_audit::{AuditLayer, AuditLogger};
#[cfg(feature = "cache")]
use nebula_credential_cache::{CacheBuilder, CacheLayer};
#[cfg(feature = "telemetry")]
use nebula_credential_core::MetricsEmitter;
use nebula_credential_core::{BoxFuture, CredentialError, Plaintext, Request, Response, Sealed, StoreHandle};
#[cfg(feature = "resilience")]
use nebula_credential_resilience::Resilience;
#[cfg(feature = "telemetry")]
use nebula_credential_telemetry::TelemetryLayer;
use tower::util::BoxCloneSyncService;
#[cfg(any(feature = "access", feature = "audit", feature = "telemetry"))]
use tower::util::option_layer;
use tower_layer::Layer;
use tower_service::Service;

use crate::unlock::UnlockLayer;

/// Everything above the sealing layer, as one service.
pub type PlainService = BoxCloneSyncService<Request<Plaintext>, Response<Plaintext>, CredentialError>;

/// Everything below the sealing layer, as one service.
pub type SealedService = BoxCloneSyncService<Request<Sealed>, Response<Sealed>, CredentialError>;

type Wrap<S> = Arc<dyn Fn(S) -> S + Send + Sync>;

/// What lies between a manager and its store, but for the sealing layer.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    #[cfg(feature = "telemetry")]
    pub(crate) metrics: Option<Arc<dyn MetricsEmitter>>,
    #[cfg(feature = "access")]
    pub(crate) access: Option<AccessLayer>,
    #[cfg(feature = "audit")]
    pub(crate) audit: Option<AuditLogger>,
    #[cfg(feature = "cache")]
    pub(crate) cache: Option<CacheBuilder>,
    #[cfg(feature = "resilience")]
    pub(crate) resilience: Option<Resilience>,
    /// Of the program's own, the innermost first; likewise below.
    plain: Vec<Wrap<PlainService>>,
    sealed: Vec<Wrap<SealedService>>,
}

/// The layers, put together.
pub(crate) struct Stack {
    pub(crate) service: Arc<dyn DynStack>,
    #[cfg(feature = "cache")]
    pub(crate) cache: Option<CacheLayer>,
}

type Answer = Result<Response<Plaintext>, CredentialError>;

/// A whole stack: for each call it is cloned without the box that a [`PlainService`] would be cloned into.
pub(crate) trait DynStack: Send + Sync {
    /// Asks it, once it is ready.
    fn call_dyn(&self, request: Request<Plaintext>) -> BoxFuture<'static, Answer>;
}

impl<S> DynStack for S
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    fn call_dyn(&self, request: Request<Plaintext>) -> BoxFuture<'static, Answer> {
        let mut service = self.clone();
        // It mostly is ready, and then nothing but the answer has to wait.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Box::pin(service.call(request)),
            Poll::Ready(Err(error)) => Box::pin(ready(Err(error))),
            Poll::Pending => Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }),
        }
    }
}

impl Layers {
    pub(crate) fn add_plain<L>(&mut self, layer: L)
    where
        L: Layer<PlainService> + Send + Sync + 'static,
        L::Service: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<Plaintext>>>::Future: Send + 'static,
    {
        self.plain.push(Arc::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner))
        }));
    }

    pub(crate) fn add_sealed<L>(&mut self, layer: L)
    where
        L: Layer<SealedService> + Send + Sync + 'static,
        L::Service: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<Sealed>>>::Future: Send + 'static,
    {
        self.sealed.push(Arc::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner))
        }));
    }

    /// The same, for this store and what it can do.
    #[cfg(feature = "access")]
    fn over_store(&self, store: &StoreHandle) -> Self {
        let access = self.access.as_ref().map(|access| access.over(store.capability()));
        Self {
            access,
            ..self.clone()
        }
    }

    /// The stack, from the inside out. Each stands where it does for a reason:
    ///
    /// * the program's own layers on sealed requests, next to the store: they count as part of it;
    /// * resilience, which asks the store again, or not at all; it must see errors, and needs no secrets;
    /// * the sealing layer;
    /// * the cache, above it, so that a hit opens no envelope; it keeps values sealed under a key of its own;
    /// * the program's own layers on plain requests, which see hits;
    /// * access control, above the cache, so that a hit does not go past it;
    /// * audit, which records denials and hits, and without a record of which nothing is released;
    /// * telemetry, which sees how everything ended.
    ///
    /// Types are erased once, at the end, and where the program's own layers stand.
    pub(crate) fn compose(
        &self,
        store: StoreHandle,
        encrypt: &UnlockLayer,
    ) -> Result<Stack, CredentialError> {
        #[cfg(feature = "access")]
        let this = &self.over_store(&store);
        #[cfg(not(feature = "access"))]
        let this = self;
        #[cfg(feature = "cache")]
        let cache = this.cache_over(&store)?;
        let below = this.below(store);
        let service = match below {
            Below::Store(store) => this.over(
                encrypt.layer(store),
                #[cfg(feature = "cache")]
                cache.as_ref(),
            ),
            Below::Layers(layers) => this.over(
                encrypt.layer(layers),
                #[cfg(feature = "cache")]
                cache.as_ref(),
            ),
        };
        Ok(Stack {
            service,
            #[cfg(feature = "cache")]
            cache,
        })
    }

    #[cfg(feature = "cache")]
    fn cache_over(&self, store: &StoreHandle) -> Result<Option<CacheLayer>, CredentialError> {
        let Some(cache) = self.cache.clone() else {
            return Ok(None);
        };
        let cache = cache.changes(store.changes());
        #[cfg(feature = "access")]
        let cache = match &self.access {
            Some(access) => cache.policy_epoch(access.policies().epoch()),
            None => cache,
        };
        #[cfg(feature = "telemetry")]
        let cache = match &self.metrics {
            Some(metrics) => cache.metrics(Arc::clone(metrics)),
            None => cache,
        };
        cache.build().map(Some)
    }

    fn below(&self, store: StoreHandle) -> Below {
        let own = self.sealed.iter();
        #[cfg(feature = "resilience")]
        if let Some(resilience) = &self.resilience {
            let inner = own.fold(BoxCloneSyncService::new(store), |inner, wrap| wrap(inner));
            return Below::Layers(resilience.layer(inner));
        }
        if self.sealed.is_empty() {
            return Below::Store(store);
        }
        Below::Layers(own.fold(BoxCloneSyncService::new(store), |inner, wrap| wrap(inner)))
    }

    /// What is not there is no branch of the types either: each would move requests and answers once more.
    fn over<S>(&self, sealing: S, #[cfg(feature = "cache")] cache: Option<&CacheLayer>) -> Arc<dyn DynStack>
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        #[cfg(feature = "cache")]
        if let Some(cache) = cache {
            return self.above(cache.layer(sealing));
        }
        self.above(sealing)
    }

    fn above<S>(&self, inner: S) -> Arc<dyn DynStack>
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        if self.plain.is_empty() {
            return self.outermost(inner);
        }
        let own = self.plain.iter();
        self.outermost(own.fold(BoxCloneSyncService::new(inner), |inner, wrap| wrap(inner)))
    }

    /// Whether there is neither access control nor audit nor telemetry.
    fn has_none_of_ours(&self) -> bool {
        let some = [
            #[cfg(feature = "access")]
            self.access.is_some(),
            #[cfg(feature = "audit")]
            self.audit.is_some(),
            #[cfg(feature = "telemetry")]
            self.metrics.is_some(),
        ];
        !some.contains(&true)
    }

    fn outermost<S>(&self, inner: S) -> Arc<dyn DynStack>
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        if self.has_none_of_ours() {
            return Arc::new(inner);
        }
        #[cfg(feature = "access")]
        let inner = option_layer(self.access.clone()).layer(inner);
        #[cfg(feature = "audit")]
        let inner = option_layer(self.audit.clone().map(AuditLayer::new)).layer(inner);
        #[cfg(feature = "telemetry")]
        let inner = option_layer(self.metrics.clone().map(TelemetryLayer::new)).layer(inner);
        Arc::new(inner)
    }
}

/// What lies below the sealing layer.
enum Below {
    /// The store alone.
    Store(StoreHandle),
    /// The store behind layers.
    Layers(SealedService),
}
