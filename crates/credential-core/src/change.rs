//! How those who keep copies learn that a value is no longer current.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::CredentialRef;

/// Tells when a store's values changed, in whichever process.
///
/// A store has a fixed number of counters, and each credential belongs to one of them. A counter has moved, or is
/// [busy](Self::read), by the time a change is visible to readers, so a copy that was taken while the counter stood
/// at `n` is current as long as it still does.
pub trait ChangeCounters: Send + Sync + 'static {
    /// The counter `id` belongs to. Constant for the life of the store.
    fn counter_of(&self, id: &CredentialRef) -> usize;

    /// Where a counter stands; `None` while a change is under way, or if the counter cannot be trusted. Then nothing
    /// may be served from a copy, nor kept as one. A few nanoseconds.
    fn read(&self, counter: usize) -> Option<u64>;
}

/// Counts the changes of a policy: what was decided, or kept, under an earlier one no longer holds.
#[derive(Debug, Clone, Default)]
pub struct PolicyEpoch(Arc<AtomicU64>);

impl PolicyEpoch {
    /// The present epoch.
    pub fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Begins the next epoch.
    pub fn advance(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
