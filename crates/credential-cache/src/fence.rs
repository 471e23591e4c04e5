//! When a copy is no longer current.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nebula_credential_core::{ChangeCounters, CredentialRef, PolicyEpoch};

use crate::stats::NotKept;

/// How many counters the credentials share. A write makes copies stale of those that share its counter, 1 in 1024.
const BUCKETS: usize = 1024;

/// For how long nothing is kept after a write whose outcome is not known, where the store has no counters of its own:
/// the write may still be under way. HTTP clients of secret stores give up after 5 to 60 seconds.
const UNSETTLED: Duration = Duration::from_secs(60);

/// Counts the writes through this cache, and reads the store's own counters.
pub(crate) struct Fence {
    buckets: Box<[Bucket]>,
    changes: Option<Arc<dyn ChangeCounters>>,
    epoch: PolicyEpoch,
}

#[derive(Default)]
struct Bucket {
    /// Moves when a write begins, and again before it is acknowledged or given up.
    generation: AtomicU64,
    /// Nothing is kept until then.
    unsettled: Mutex<Option<Instant>>,
}

/// Where everything stood before a read; the answer is current as long as it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    bucket: usize,
    generation: u64,
    /// The store's counter and where it stood, if it has any.
    counter: Option<(usize, u64)>,
    pub(crate) epoch: u64,
}

impl Fence {
    pub(crate) fn new(changes: Option<Arc<dyn ChangeCounters>>, epoch: PolicyEpoch) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            changes,
            epoch,
        }
    }

    /// Whether the store tells of its changes.
    pub(crate) fn has_counters(&self) -> bool {
        self.changes.is_some()
    }

    /// To be taken before a read begins. `None` while the store's counter is busy or not to be trusted: then nothing
    /// may be served from a copy or kept.
    pub(crate) fn stamp(&self, id: &CredentialRef) -> Option<Stamp> {
        let counter = match &self.changes {
            None => None,
            Some(changes) => {
                let counter = changes.counter_of(id);
                Some((counter, changes.read(counter)?))
            }
        };
        let bucket = Self::bucket_of(id);
        Some(Stamp {
            bucket,
            generation: self.generation(bucket),
            counter,
            epoch: self.epoch.current(),
        })
    }

    /// Whether nothing has moved since `stamp` was taken.
    pub(crate) fn holds(&self, stamp: &Stamp) -> bool {
        let counter_stands = || match (&self.changes, stamp.counter) {
            (Some(changes), Some((counter, at))) => changes.read(counter) == Some(at),
            (None, None) => true,
            _ => false,
        };
        self.generation(stamp.bucket) == stamp.generation
            && self.epoch.current() == stamp.epoch
            && counter_stands()
    }

    /// Whether an answer with this stamp may be kept.
    pub(crate) fn may_keep(&self, stamp: &Stamp) -> Result<(), NotKept> {
        let settled = || match self.buckets.get(stamp.bucket) {
            Some(bucket) => bucket
                .unsettled
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_none_or(|until| until <= Instant::now()),
            None => false,
        };
        match self.holds(stamp) {
            false => Err(NotKept::Changed),
            true if settled() => Ok(()),
            true => Err(NotKept::Unsettled),
        }
    }

    /// Makes every copy of `id` stale.
    pub(crate) fn advance(&self, id: &CredentialRef) {
        self.advance_bucket(Self::bucket_of(id));
    }

    /// Makes every copy of everything stale.
    pub(crate) fn advance_all(&self) {
        (0..self.buckets.len()).for_each(|bucket| self.advance_bucket(bucket));
    }

    /// A write of `id` may still be under way, and nobody will say when it ends. The store's own counters would.
    pub(crate) fn unsettle(&self, id: &CredentialRef) {
        if let (None, Some(bucket)) = (&self.changes, self.buckets.get(Self::bucket_of(id))) {
            let mut unsettled = bucket.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            *unsettled = Instant::now().checked_add(UNSETTLED);
        }
    }

    fn bucket_of(id: &CredentialRef) -> usize {
        // Without a key: who may write can make others who share a counter read again, at the price of a write each time.
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        // The remainder of a division by `BUCKETS` fits.
        usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0)
    }

    // Sequentially consistent: a read that begins after a write was acknowledged sees the write's generation.
    fn generation(&self, bucket: usize) -> u64 {
        self.buckets
            .get(bucket)
            .map_or(0, |bucket| bucket.generation.load(Ordering::SeqCst))
    }

    fn advance_bucket(&self, bucket: usize) {
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.generation.fetch_add(1, Ordering::SeqCst);
        }
    }
}
