use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "cache")]
use std::time::Duration;

#[cfg(feature = "access")]
use nebula_credential_access::AccessLayer;
#[cfg(feature = "audit")]
use nebula_credential_audit::AuditLogger;
#[cfg(feature = "cache")]
use nebula_credential_cache::{CacheBuilder, CacheLayer};
#[cfg(feature = "telemetry")]
use nebula_credential_core::MetricsEmitter;
use nebula_credential_core::{
    Clock, CredentialError, CredentialRef, Get, Op, OpContext, Principal, Request, Response, Scope, Sealed,
    SecretStore, Selector, StoreHandle, SystemClock, TenantId, Version, limits,
};
use nebula_credential_crypto::KeyRingFile;
#[cfg(feature = "resilience")]
use nebula_credential_resilience::{BreakerState, Resilience};
use tokio::sync::OnceCell;
#[cfg(feature = "cache")]
use tokio::sync::broadcast;
use tower::ServiceExt as _;
use tower_layer::Layer;
use tower_service::Service;

use crate::keys::Keys;
use crate::stack::{DynStack, Layers};
use crate::unlock::{Lock, RECORD_EVERY, UnlockLayer};
use crate::{CredentialManager, PlainService, SealedService};

/// Makes a [`CredentialManager`].
///
/// ```
/// use nebula_credential_manager::{CredentialManager, Keys};
/// use nebula_credential_provider_local::LocalStorage;
///
/// let manager = CredentialManager::builder()
///     .storage(LocalStorage::new("./secrets"))
///     .keys(Keys::key_file("/etc/nebula/key"))
///     .build();
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ManagerBuilder {
    store: Option<StoreHandle>,
    keys: Option<Keys>,
    key_ring: Option<PathBuf>,
    layers: Layers,
    clock: Arc<dyn Clock>,
    tenant: TenantId,
    scope: Scope,
    principal: Principal,
    keep_versions: u32,
    secret_limit: usize,
    #[cfg(feature = "cache")]
    handle_stale_if_error: Duration,
}

/// For how long a live handle serves what could not be checked, unless told otherwise: as long as a cache serves at most.
#[cfg(feature = "cache")]
const STALE_DEFAULT: Duration = nebula_credential_cache::LIFE_MAX;
/// The longest that can be asked for.
#[cfg(feature = "cache")]
const STALE_MAX: Duration = Duration::from_secs(86_400);

impl ManagerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            store: None,
            keys: None,
            key_ring: None,
            layers: Layers::default(),
            clock: Arc::new(SystemClock),
            tenant: TenantId::default(),
            scope: Scope::default(),
            principal: Principal::Process,
            keep_versions: limits::VERSIONS_DEFAULT,
            secret_limit: limits::SECRET_BYTES_DEFAULT,
            #[cfg(feature = "cache")]
            handle_stale_if_error: STALE_DEFAULT,
        }
    }

    /// Where credentials are kept. By default the embedded store in the user's data directory.
    pub fn storage(self, store: impl SecretStore) -> Self {
        self.storage_handle(StoreHandle::new(store))
    }

    /// Where credentials are kept, as a handle.
    pub fn storage_handle(mut self, store: StoreHandle) -> Self {
        self.store = Some(store);
        self
    }

    /// What unlocks the key ring. By default [`Keys::from_env`].
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The private directory the key ring lies in. By default that of the store, or, for a store without one, the
    /// user's configuration directory.
    pub fn key_ring_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.key_ring = Some(crate::keys::absolute(directory.into()));
        self
    }

    /// Adds a layer above the sealing layer; the last one added is the outermost. It sees values in the clear.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<PlainService> + Send + Sync + 'static,
        L::Service: Service<
                Request<nebula_credential_core::Plaintext>,
                Response = Response<nebula_credential_core::Plaintext>,
                Error = CredentialError,
            > + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<nebula_credential_core::Plaintext>>>::Future: Send + 'static,
    {
        self.layers.add_plain(layer);
        self
    }

    /// Adds a layer below the sealing layer; the last one added is the outermost. It sees sealed values only.
    pub fn sealed_layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<SealedService> + Send + Sync + 'static,
        L::Service: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<Sealed>>>::Future: Send + 'static,
    {
        self.layers.add_sealed(layer);
        self
    }

    /// Lets through what the policies of `access` allow, and nothing else. A cache keeps nothing beyond a change of them.
    #[cfg(feature = "access")]
    pub fn access(mut self, access: AccessLayer) -> Self {
        self.layers.access = Some(access);
        self
    }

    /// Records every operation in `log`. What cannot be recorded is not done, unless the log was told otherwise.
    #[cfg(feature = "audit")]
    pub fn audit_log(mut self, log: AuditLogger) -> Self {
        self.layers.audit = Some(log);
        self
    }

    /// Keeps values in memory for that long, sealed: at most 15 minutes. A value that is changed through this manager, or
    /// by another process on the same local store, is not served from memory any more.
    #[cfg(feature = "cache")]
    pub fn cache_ttl(self, ttl: Duration) -> Self {
        let cache = self.layers.cache.clone().unwrap_or_default();
        self.cache(cache.ttl(ttl))
    }

    /// Keeps values in memory as `cache` says, which is given the store's change counters.
    #[cfg(feature = "cache")]
    pub fn cache(mut self, cache: CacheBuilder) -> Self {
        self.layers.cache = Some(cache);
        self
    }

    /// For how long a [live handle](CredentialManager::handle) serves a value that could not be checked against its store:
    /// 15 minutes by default, at most 24 hours. Zero serves none beyond the first check that fails.
    #[cfg(feature = "cache")]
    pub fn handle_stale_if_error(mut self, time: Duration) -> Self {
        self.handle_stale_if_error = time.min(STALE_MAX);
        self
    }

    /// Retries, circuit breaker, timeouts and limits between the sealing layer and the store.
    #[cfg(feature = "resilience")]
    pub fn resilience(mut self, resilience: Resilience) -> Self {
        self.layers.resilience = Some(resilience);
        self
    }

    /// Opens a span for each operation, and emits to `metrics` how it ended, what cache and live handles do, and what
    /// [`CredentialManager::health`] finds. What is made apart from the builder is given its own when it is made: audit log,
    /// resilience, access control and the file of a policy. An `Arc<dyn MetricsEmitter>` is an emitter, so that all can share
    /// one.
    #[cfg(feature = "telemetry")]
    pub fn metrics(mut self, metrics: impl MetricsEmitter) -> Self {
        self.layers.metrics = Some(Arc::new(metrics));
        self
    }

    /// What time it is.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whose credentials; `default` by default.
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Which part of the tenant; `global` by default.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Who asks; the process itself by default.
    pub fn principal(mut self, principal: Principal) -> Self {
        self.principal = principal;
        self
    }

    /// How many versions of each credential to keep, 1 to 100; 10 by default.
    pub fn keep_versions(mut self, versions: u32) -> Self {
        self.keep_versions = versions.clamp(1, limits::VERSIONS_MAX);
        self
    }

    /// Longest encoded value, in bytes, at most 1 MiB; 64 KiB by default.
    pub fn secret_limit(mut self, bytes: usize) -> Self {
        self.secret_limit = bytes.min(limits::SECRET_BYTES_MAX);
        self
    }

    /// The manager. Opens nothing yet: what is wrong with store or keys is reported on first use, or by
    /// [`CredentialManager::open`].
    pub fn build(self) -> CredentialManager {
        let inner = Inner {
            source: Source {
                store: self.store,
                keys: self.keys.unwrap_or_else(Keys::from_env),
                key_ring: self.key_ring,
                layers: self.layers,
                tenant: self.tenant.clone(),
            },
            clock: self.clock,
            keep_versions: self.keep_versions,
            secret_limit: self.secret_limit,
            #[cfg(feature = "cache")]
            handle_stale_if_error: self.handle_stale_if_error,
            opened: OnceCell::new(),
            #[cfg(feature = "cache")]
            changed: broadcast::Sender::new(CHANGES_KEPT),
        };
        CredentialManager::from_parts(inner, self.tenant, self.scope, self.principal)
    }
}

/// How many changes a live handle may be late for before it asks without knowing whether one is about its credential.
#[cfg(feature = "cache")]
const CHANGES_KEPT: usize = 64;

/// What all clones of a manager share.
pub(crate) struct Inner {
    source: Source,
    opened: OnceCell<Opened>,
    /// Tells which credential each change made through the manager or a clone of it is about.
    #[cfg(feature = "cache")]
    pub(crate) changed: broadcast::Sender<CredentialRef>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keep_versions: u32,
    pub(crate) secret_limit: usize,
    #[cfg(feature = "cache")]
    pub(crate) handle_stale_if_error: Duration,
}

struct Source {
    store: Option<StoreHandle>,
    keys: Keys,
    key_ring: Option<PathBuf>,
    layers: Layers,
    tenant: TenantId,
}

pub(crate) struct Opened {
    pub(crate) stack: Arc<dyn DynStack>,
    #[cfg(feature = "cache")]
    pub(crate) cache: Option<CacheLayer>,
    pub(crate) store: StoreHandle,
    lock: Arc<Lock>,
}

impl Opened {
    /// The key ring, unlocked.
    pub(crate) async fn ring(&self) -> Result<&KeyRingFile, CredentialError> {
        self.lock.ring().await
    }

    /// Records how often the key has wrapped, if it is time to.
    pub(crate) async fn count_wraps(&self) {
        self.lock.count_and_wait().await;
    }
}

impl Inner {
    /// Store and stack; the key ring is still locked.
    pub(crate) async fn opened(&self) -> Result<&Opened, CredentialError> {
        match self.opened.get() {
            Some(opened) => Ok(opened),
            // A failure is not remembered: the next use tries again.
            None => self.opened.get_or_try_init(async || self.open()).await,
        }
    }

    /// What is open, if anything was asked for yet.
    #[cfg(feature = "cache")]
    pub(crate) fn opened_already(&self) -> Option<&Opened> {
        self.opened.get()
    }

    /// Whether a layer looks after the reserved tags.
    pub(crate) fn is_governed(&self) -> bool {
        #[cfg(feature = "access")]
        return self.access().is_some();
        #[cfg(not(feature = "access"))]
        false
    }

    #[cfg(feature = "access")]
    pub(crate) fn access(&self) -> Option<&AccessLayer> {
        self.source.layers.access.as_ref()
    }

    #[cfg(feature = "audit")]
    pub(crate) fn audit_log(&self) -> Option<&AuditLogger> {
        self.source.layers.audit.as_ref()
    }

    #[cfg(feature = "resilience")]
    pub(crate) fn breaker_state(&self) -> Option<BreakerState> {
        let resilience = self.source.layers.resilience.as_ref()?;
        Some(resilience.breaker().state())
    }

    #[cfg(feature = "telemetry")]
    pub(crate) fn metrics(&self) -> Option<&Arc<dyn MetricsEmitter>> {
        self.source.layers.metrics.as_ref()
    }

    fn open(&self) -> Result<Opened, CredentialError> {
        let store = match &self.source.store {
            Some(store) => store.clone(),
            None => crate::paths::default_store()?,
        };
        let directory = match self.source.key_ring.clone().or_else(|| store.home()) {
            Some(directory) => directory,
            None => crate::paths::config_dir()?,
        };
        let lock = Arc::new(Lock {
            record_at: AtomicU64::new(RECORD_EVERY),
            keys: self.source.keys.clone(),
            directory,
            store: store.clone(),
            tenant: self.source.tenant.clone(),
            clock: Arc::clone(&self.clock),
            ring: OnceCell::new(),
        });
        let encrypt = UnlockLayer(Arc::clone(&lock));
        let stack = self.source.layers.compose(store.clone(), &encrypt)?;
        Ok(Opened {
            stack: stack.service,
            #[cfg(feature = "cache")]
            cache: stack.cache,
            store,
            lock,
        })
    }

    /// The sealed payload of one version, as it lies in the store.
    pub(crate) async fn sealed(
        &self,
        ctx: &OpContext,
        id: &CredentialRef,
        version: Version,
    ) -> Result<Sealed, CredentialError> {
        let op = Op::Get(Get {
            id: id.clone(),
            version: Selector::Exact(version),
        });
        let store = self.opened().await?.store.clone();
        Ok(store
            .oneshot(Request { ctx: ctx.clone(), op })
            .await?
            .into_record()?
            .payload)
    }
}
