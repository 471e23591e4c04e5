//! What a cache did, counted for [`CacheStats`] and told to the emitter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// Values among them that were not kept, for whichever reason.
    pub not_kept: u64,
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

/// Why a value that was read is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotKept {
    /// No time and no room was given to the cache.
    Off,
    /// A change is under way, or may be.
    Unsettled,
    /// Something changed, or was forgotten, since the read began.
    Changed,
    /// It is older than what was acknowledged, or than what is kept.
    Behind,
    /// It was found past a store that could not be reached.
    PassedOver,
    /// It expires too soon.
    ShortLived,
    /// It is too long.
    Size,
    /// It could not be sealed.
    Seal,
    /// The cache belongs to the parent of this process.
    Forked,
    /// There is no thread that would remove it.
    Thread,
}

impl NotKept {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Unsettled => "unsettled",
            Self::Changed => "changed",
            Self::Behind => "behind",
            Self::PassedOver => "passed_over",
            Self::ShortLived => "short_lived",
            Self::Size => "size",
            Self::Seal => "seal",
            Self::Forked => "forked",
            Self::Thread => "thread",
        }
    }
}

pub(crate) struct Tally {
    answers: [AtomicU64; 5],
    not_kept: AtomicU64,
    /// Whether it was said that there is no thread, and nothing was kept since.
    threadless: AtomicBool,
    evictions: AtomicU64,
    metrics: Arc<dyn MetricsEmitter>,
}

impl Tally {
    pub(crate) fn new(metrics: Arc<dyn MetricsEmitter>) -> Self {
        Self {
            answers: Default::default(),
            not_kept: AtomicU64::new(0),
            threadless: AtomicBool::new(false),
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

    /// What became of a value that was read. To be called under no lock: whoever hears of it may read.
    pub(crate) fn kept(&self, kept: Result<(), NotKept>) {
        let Err(why) = kept else {
            if self.threadless.load(Ordering::Relaxed) {
                self.threadless.store(false, Ordering::Relaxed);
            }
            return;
        };
        self.not_kept.fetch_add(1, Ordering::Relaxed);
        self.metrics.increment(
            "nebula_credential_cache_not_kept_total",
            &[("reason", why.as_str())],
            1,
        );
        if why == NotKept::Thread && !self.threadless.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a cache keeps nothing and each read asks the store: the system has no thread left to wipe what is due; \
                 raise `ulimit -u`, or TasksMax= of the service, or the pids limit of the container"
            );
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
            not_kept: self.not_kept.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use nebula_credential_core::NoMetrics;
    use nebula_credential_testkit::TraceCapture;

    use super::*;

    #[test]
    fn that_there_is_no_thread_is_said_once_until_something_is_kept_again() {
        let tally = Tally::new(Arc::new(NoMetrics));
        let trace = TraceCapture::new();
        let _captured = trace.capture_thread();
        let said_after = |kept| {
            tally.kept(kept);
            trace.take().matches(" WARN ").count()
        };
        let threadless = Err(NotKept::Thread);
        assert_eq!([threadless; 2].map(said_after), [1, 0]);
        assert_eq!([Err(NotKept::Size), threadless].map(said_after), [0, 0]);
        assert_eq!([Ok(()), threadless, threadless].map(said_after), [0, 1, 0]);
        assert_eq!(tally.stats(0).not_kept, 6);
    }
}
