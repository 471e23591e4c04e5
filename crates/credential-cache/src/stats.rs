//! What a cache did, counted for [`CacheStats`] and told to the emitter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_credential_core::MetricsEmitter;

/// What a [`CacheLayer`](crate::CacheLayer) or a [`CachedCredentialProvider`](crate::CachedCredentialProvider) did since it was
/// made.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Values served from memory.
    pub hits: u64,
    /// Answers served from memory that there is no such credential, or that the store cannot be reached.
    pub negative_hits: u64,
    /// Values served past their ttl because the store could not be reached.
    pub stale: u64,
    /// Reads answered by a read that another caller made at the same time.
    pub shared: u64,
    /// Reads for which the store was asked.
    pub misses: u64,
    /// Entries removed, for whichever reason.
    pub evictions: u64,
    /// Entries there are now.
    pub entries: u64,
}

/// How a read was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answered {
    Fresh,
    Negative,
    Stale,
    Shared,
    Store,
}

/// Why an entry was removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removed {
    /// Its time had come.
    Expired,
    /// It was used as often as it may be.
    Spent,
    /// The credential or the policy changed.
    Changed,
    /// A caller learned that the value is refused.
    Rejected,
    /// There was no room.
    Size,
}

pub(crate) struct Tally {
    answers: [AtomicU64; 5],
    evictions: AtomicU64,
    metrics: Arc<dyn MetricsEmitter>,
}

impl Tally {
    pub(crate) fn new(metrics: Arc<dyn MetricsEmitter>) -> Self {
        Self {
            answers: Default::default(),
            evictions: AtomicU64::new(0),
            metrics,
        }
    }

    pub(crate) fn answered(&self, how: Answered, age: Option<Duration>) {
        let [fresh, negative, stale, shared, store] = &self.answers;
        let (counter, label) = match how {
            Answered::Fresh => (fresh, "hit"),
            Answered::Negative => (negative, "negative"),
            Answered::Stale => (stale, "stale"),
            Answered::Shared => (shared, "shared"),
            Answered::Store => (store, "miss"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.metrics
            .increment("nebula_credential_cache_reads_total", &[("result", label)], 1);
        if let Some(age) = age {
            self.metrics
                .observe("nebula_credential_cache_age_seconds", &[], age.as_secs_f64());
        }
    }

    pub(crate) fn removed(&self, why: Removed) {
        let label = match why {
            Removed::Expired => "expired",
            Removed::Spent => "spent",
            Removed::Changed => "changed",
            Removed::Rejected => "rejected",
            Removed::Size => "size",
        };
        self.evictions.fetch_add(1, Ordering::Relaxed);
        self.metrics
            .increment("nebula_credential_cache_evictions_total", &[("reason", label)], 1);
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 1,000")]
    pub(crate) fn entries(&self, entries: u64) {
        self.metrics
            .gauge("nebula_credential_cache_entries", &[], entries as f64);
    }

    pub(crate) fn stats(&self, entries: u64) -> CacheStats {
        let [hits, negative_hits, stale, shared, misses] = self
            .answers
            .each_ref()
            .map(|counter| counter.load(Ordering::Relaxed));
        CacheStats {
            hits,
            negative_hits,
            stale,
            shared,
            misses,
            evictions: self.evictions.load(Ordering::Relaxed),
            entries,
        }
    }
}
