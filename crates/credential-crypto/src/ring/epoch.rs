use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Days, TimeDelta, Utc};
use nebula_credential_core::CredentialError;
use nebula_credential_memory::LockedKey;

/// A primary key should be rotated after this many days: one year (NIST SP 800-57 part 1, master keys).
const ROTATE_AFTER_DAYS: u64 = 365;
/// A primary key older than this wraps nothing any more: two years (NIST SP 800-57 part 1, wrapping keys).
const STOP_AFTER: TimeDelta = TimeDelta::days(730);
/// A primary key should be rotated after 90 % of [`STOP_AFTER_WRAPS`].
const ROTATE_AFTER_WRAPS: u64 = STOP_AFTER_WRAPS / 10 * 9;
/// A key that has wrapped this many data keys wraps no more (NIST SP 800-38D's bound for random nonces; a derived
/// key per wrap makes it a precaution).
const STOP_AFTER_WRAPS: u64 = 1 << 32;

/// How long after its retirement an epoch may still be in use by a process that has not noticed.
///
/// A process looks at the ring before every seal, so this must only outlast one write to the store.
pub(crate) const GRACE: TimeDelta = TimeDelta::minutes(5);

/// The number of an epoch: 1 for a ring's first key-encryption key, one more for each that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(crate) u32);

impl Epoch {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an epoch's key may do (NIST SP 800-57: active, deactivated, suspended, destroyed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EpochState {
    /// Wraps and unwraps; there is exactly one.
    Primary,
    /// Unwraps what it wrapped.
    DecryptOnly,
    /// Kept, but refuses to unwrap.
    Disabled,
    /// The key is gone.
    Destroyed,
}

impl EpochState {
    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Primary => 1,
            Self::DecryptOnly => 2,
            Self::Disabled => 3,
            Self::Destroyed => 4,
        }
    }

    pub(crate) const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Primary),
            2 => Some(Self::DecryptOnly),
            3 => Some(Self::Disabled),
            4 => Some(Self::Destroyed),
            _ => None,
        }
    }
}

/// One key-encryption key and what is known of it.
#[derive(Clone)]
pub(crate) struct EpochKey {
    pub(crate) epoch: Epoch,
    pub(crate) state: EpochState,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
    /// When it ceased to be the primary one.
    pub(crate) retired_at: Option<DateTime<Utc>>,
    /// Wraps recorded in the ring's bytes.
    pub(crate) recorded: u64,
    /// Wraps of this process since it recorded them. Shared by all copies, so that none is lost in a reload.
    pub(crate) pending: Arc<AtomicU64>,
    /// `None` once destroyed.
    pub(crate) kek: Option<Arc<LockedKey>>,
}

impl EpochKey {
    /// A new primary key.
    pub(crate) fn new(epoch: Epoch, kek: LockedKey, now: DateTime<Utc>) -> Self {
        Self {
            epoch,
            state: EpochState::Primary,
            created_at: now,
            not_after: now.checked_add_days(Days::new(ROTATE_AFTER_DAYS)).unwrap_or(now),
            retired_at: None,
            recorded: 0,
            pending: Arc::default(),
            kek: Some(Arc::new(kek)),
        }
    }

    pub(crate) fn wraps(&self) -> u64 {
        self.recorded.saturating_add(self.pending.load(Ordering::Relaxed))
    }

    /// Whether it may unwrap, and the key.
    pub(crate) fn unwrapping(&self) -> Result<&LockedKey, CredentialError> {
        match (self.state, &self.kek) {
            (EpochState::Primary | EpochState::DecryptOnly, Some(kek)) => Ok(kek),
            (EpochState::Disabled, _) => Err(CredentialError::key_not_found(format!(
                "key {} of the key ring is disabled; enable it, or restore the record from a backup",
                self.epoch
            ))),
            _ => Err(CredentialError::key_not_found(format!(
                "key {} of the key ring was destroyed; restore the record from a backup made after its key rotation",
                self.epoch
            ))),
        }
    }

    /// Whether it may wrap once more, and the key. Counts the wrap.
    pub(crate) fn wrapping(&self, now: DateTime<Utc>) -> Result<&LockedKey, CredentialError> {
        let kek = self.unwrapping()?;
        if now.signed_duration_since(self.created_at) > STOP_AFTER {
            return Err(CredentialError::invalid_state(
                "the primary key of the key ring is more than two years old and wraps no more; rotate the key ring",
            ));
        }
        if self.wraps() >= STOP_AFTER_WRAPS {
            return Err(CredentialError::invalid_state(
                "the primary key of the key ring has wrapped 2^32 data keys and wraps no more; rotate the key ring",
            ));
        }
        self.pending.fetch_add(1, Ordering::Relaxed);
        Ok(kek)
    }

    pub(crate) fn info(&self) -> EpochInfo {
        EpochInfo {
            epoch: self.epoch,
            state: self.state,
            created_at: self.created_at,
            not_after: self.not_after,
            retired_at: self.retired_at,
            wraps: self.wraps(),
        }
    }
}

/// What is known of an epoch without its key.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// What it may do.
    pub state: EpochState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it should be rotated: a year after it was made.
    pub not_after: DateTime<Utc>,
    /// When it ceased to be the primary one.
    pub retired_at: Option<DateTime<Utc>>,
    /// How many data keys it has wrapped, at least: what is recorded in the ring, and what this process has counted
    /// since. What other processes have counted comes in when they record it.
    pub wraps: u64,
}

impl EpochInfo {
    /// Whether it is the primary one and should be rotated: a year old, or 90 % of 2^32 wraps.
    pub fn rotation_due(&self, now: DateTime<Utc>) -> bool {
        self.state == EpochState::Primary && (now > self.not_after || self.wraps >= ROTATE_AFTER_WRAPS)
    }
}
