//! What a cache keeps, and for how long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{
    ChangeCounters, CredentialError, MetricsEmitter, NoMetrics, PolicyEpoch, Retryability,
};

use crate::CacheLayer;

/// The longest life of a copy, stale time included: 15 minutes. The AWS Encryption SDK makes its users choose an age; this
/// is how long a secret may outlive its withdrawal where nothing tells of that.
pub const LIFE_MAX: Duration = Duration::from_secs(15 * 60);

/// The most entries of a cache.
pub const ENTRIES_MAX: u64 = 1000;

/// How often one entry is used before the store is asked again.
pub const USES_MAX: u32 = 10_000;

/// The longest life of an answer that there is no such credential, and of an error: 30 seconds.
pub const NEGATIVE_LIFE_MAX: Duration = Duration::from_secs(30);

/// Makes a [`CacheLayer`]. Every setting has a default; a bound that is exceeded is an error of [`build`](Self::build).
#[derive(Clone)]
pub struct CacheBuilder {
    pub(crate) ttl: Duration,
    pub(crate) max_entries: u64,
    pub(crate) expiry_buffer: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) error_ttl: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) changes: Option<Arc<dyn ChangeCounters>>,
    pub(crate) epoch: PolicyEpoch,
    pub(crate) metrics: Arc<dyn MetricsEmitter>,
}

impl Default for CacheBuilder {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            max_entries: ENTRIES_MAX,
            expiry_buffer: Duration::from_secs(10),
            negative_ttl: Duration::from_secs(5),
            error_ttl: Duration::from_secs(1),
            stale_if_error: Duration::ZERO,
            changes: None,
            epoch: PolicyEpoch::default(),
            metrics: Arc::new(NoMetrics),
        }
    }
}

impl fmt::Debug for CacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("ttl", &self.ttl)
            .field("max_entries", &self.max_entries)
            .field("expiry_buffer", &self.expiry_buffer)
            .field("negative_ttl", &self.negative_ttl)
            .field("error_ttl", &self.error_ttl)
            .field("stale_if_error", &self.stale_if_error)
            .finish_non_exhaustive()
    }
}

impl CacheBuilder {
    /// How long a value is served from memory; 60 seconds unless told otherwise, at most [`LIFE_MAX`].
    ///
    /// Where the store tells of [changes](Self::changes), this bounds how long a value lies in memory. Where it does not,
    /// it also bounds how long a change made by others stays unseen.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How many answers are kept; 1,000 unless told otherwise, which is also the most. Values beyond 64 KiB are not kept.
    #[must_use]
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = entries;
        self
    }

    /// How long before its expiry a value is no longer served from memory; 10 seconds unless told otherwise. Each copy
    /// adds up to half of that by chance, so that many processes do not ask at once.
    #[must_use]
    pub fn expiry_buffer(mut self, buffer: Duration) -> Self {
        self.expiry_buffer = buffer;
        self
    }

    /// For how long it is remembered that there is no such credential or version; 5 seconds unless told otherwise, at
    /// most [`NEGATIVE_LIFE_MAX`]. Zero remembers nothing.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// For how long a store that could not be reached is not asked again for the same value; 1 second unless told
    /// otherwise, at most [`NEGATIVE_LIFE_MAX`], and not longer than the error says. Zero asks each time. Other errors
    /// are not remembered.
    #[must_use]
    pub fn error_ttl(mut self, ttl: Duration) -> Self {
        self.error_ttl = ttl;
        self
    }

    /// For how long beyond its ttl a value is served while the store cannot be reached; not at all unless told
    /// otherwise. At most what is left of [`LIFE_MAX`] beyond the ttl, and never past the expiry of the value, a write, a
    /// rejection or a change of the policy.
    ///
    /// A credential that is revoked during an outage of its store stays in use for that long.
    #[must_use]
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.stale_if_error = time;
        self
    }

    /// How the store tells of changes, also by other processes:
    /// [`StoreHandle::changes`](nebula_credential_core::StoreHandle::changes).
    #[must_use]
    pub fn changes(mut self, changes: impl Into<Option<Arc<dyn ChangeCounters>>>) -> Self {
        self.changes = changes.into();
        self
    }

    /// The epoch of the policy that decides above: nothing is served that was kept under an earlier one.
    #[must_use]
    pub fn policy_epoch(mut self, epoch: PolicyEpoch) -> Self {
        self.epoch = epoch;
        self
    }

    /// Where measurements go; nowhere unless told otherwise.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn MetricsEmitter>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The layer.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] for a setting beyond its bound; [`CredentialError::Unavailable`] without memory
    /// or random bytes for a key.
    pub fn build(self) -> Result<CacheLayer, CredentialError> {
        let bound = |what, limit: Duration, found: Duration| match found <= limit {
            true => Ok(()),
            false => Err(CredentialError::LimitExceeded {
                what,
                limit: limit.as_secs(),
                // What exceeds the limit by less than a second is shown as one more.
                found: found.as_secs().max(limit.as_secs() + 1),
            }),
        };
        bound("cache ttl seconds", LIFE_MAX, self.ttl)?;
        bound(
            "cache ttl and stale-if-error seconds together",
            LIFE_MAX,
            self.ttl.saturating_add(self.stale_if_error),
        )?;
        bound("negative ttl seconds", NEGATIVE_LIFE_MAX, self.negative_ttl)?;
        bound("error ttl seconds", NEGATIVE_LIFE_MAX, self.error_ttl)?;
        if self.max_entries > ENTRIES_MAX {
            return Err(CredentialError::LimitExceeded {
                what: "cache entries",
                limit: ENTRIES_MAX,
                found: self.max_entries,
            });
        }
        CacheLayer::of(self)
    }
}

/// Whether the store was not reached: then it is spared, and a stale value may stand in.
pub(crate) fn unreachable(error: &CredentialError) -> bool {
    !matches!(error.retryability(), Retryability::Permanent)
}
