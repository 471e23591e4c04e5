//! Key rings: one root key, opened by any of up to eight protectors, over the key-encryption keys of all epochs.

mod draft;
mod epoch;
mod epochs;
mod file;
mod format;
mod slot;
mod state;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;

pub use draft::RingDraft;
use epoch::EpochKey;
pub(crate) use epoch::GRACE;
pub use epoch::{Epoch, EpochInfo, EpochState};
pub use file::KeyRingFile;
pub use slot::{SlotId, SlotInfo};
pub(crate) use state::State;

use crate::protector::Protector;
use crate::random::PooledEntropy;
use crate::{Entropy, OsEntropy, Suite};

/// Longest key ring, in bytes: room for 512 epochs, and for eight slots of the longest kind.
pub const RING_BYTES_MAX: usize = 64 * 1024;

/// The random name of a ring; every envelope names the ring it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RingId(pub(crate) [u8; 16]);

impl RingId {
    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RingId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a ring is made and where its randomness comes from.
#[derive(Clone, Default)]
pub struct RingSettings {
    /// The algorithms of a new ring and of all it seals. It also refuses envelopes of a suite with a lower number.
    pub suite: Suite,
    /// Where random bytes come from; `None` for the operating system. Only tests give another.
    pub entropy: Option<Arc<dyn Entropy>>,
}

impl RingSettings {
    fn source(&self) -> &dyn Entropy {
        self.entropy.as_deref().unwrap_or(&OsEntropy)
    }
}

impl fmt::Debug for RingSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingSettings")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// An unlocked key ring. Clones share one state: a change made through any is seen by all.
///
/// Its keys lie in locked memory and are wiped when the last clone is dropped.
#[derive(Clone)]
pub struct KeyRing(Arc<Shared>);

struct Shared {
    state: RwLock<Arc<State>>,
    /// Held while a change is made and persisted.
    changes: Mutex<()>,
    settings: RingSettings,
    /// Where the ring's bytes lie, if others may change them there.
    source: Option<Box<Source>>,
}

/// Reads the ring's bytes as they are now.
type Source = dyn Fn() -> Result<Vec<u8>, CredentialError> + Send + Sync;

impl KeyRing {
    /// Makes a ring with one slot, opened by `protector`, and one epoch.
    ///
    /// It exists only in memory: keep [`to_bytes`](Self::to_bytes) before anything is sealed under it.
    /// May block, as [`Protector`] says.
    ///
    /// # Errors
    /// Those of the protector, and [`CredentialError::EncryptionFailed`] without random bytes.
    pub fn create(protector: &dyn Protector, now: DateTime<Utc>) -> Result<Self, CredentialError> {
        Self::create_with(RingSettings::default(), protector, now)
    }

    /// [`create`](Self::create) with settings.
    ///
    /// # Errors
    /// Those of [`create`](Self::create).
    pub fn create_with(
        settings: RingSettings,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<Self, CredentialError> {
        let draft = RingDraft::new(&settings, protector, now)?;
        let state = draft.finish()?.0;
        Ok(Self::of(state, settings, None))
    }

    /// Opens a ring. Tries every slot of the protector's kind. May block, as [`Protector`] says.
    ///
    /// # Errors
    /// Found before any record is touched, and each its own:
    /// [`Unlock`](CredentialError::Unlock) when the protector opens no slot;
    /// [`DecryptionFailed`](CredentialError::DecryptionFailed) when the ring is damaged or was altered;
    /// [`UnsupportedFormat`](CredentialError::UnsupportedFormat) when it is newer than this program, or no ring;
    /// [`LimitExceeded`](CredentialError::LimitExceeded) or [`Validation`](CredentialError::Validation) when a slot
    /// asks for key derivation parameters out of bounds, before any derivation;
    /// those of a key provider.
    pub fn unlock(bytes: &[u8], protector: &dyn Protector) -> Result<Self, CredentialError> {
        Self::unlock_with(RingSettings::default(), bytes, protector)
    }

    /// [`unlock`](Self::unlock) with settings, of which only the entropy matters.
    ///
    /// # Errors
    /// Those of [`unlock`](Self::unlock).
    pub fn unlock_with(
        settings: RingSettings,
        bytes: &[u8],
        protector: &dyn Protector,
    ) -> Result<Self, CredentialError> {
        Ok(Self::of(State::unlock(bytes, protector)?, settings, None))
    }

    fn of(state: State, settings: RingSettings, source: Option<Box<Source>>) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::new(Arc::new(state)),
            changes: Mutex::new(()),
            settings,
            source,
        }))
    }

    /// The ring as it is to be stored. Nothing in it can be read without a protector.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// The name of the ring.
    pub fn id(&self) -> RingId {
        self.state().outside.id
    }

    /// The algorithms it seals with.
    pub fn suite(&self) -> Suite {
        self.state().outside.suite
    }

    /// What is known of the ring without its keys.
    pub fn status(&self) -> RingStatus {
        let state = self.state();
        RingStatus {
            id: state.outside.id,
            suite: state.outside.suite,
            generation: state.outside.generation,
            slots: state.outside.slots.iter().map(slot::Slot::info).collect(),
            epochs: state.epochs.iter().map(EpochKey::info).collect(),
        }
    }

    /// How many wraps of the primary key no change of the ring has recorded yet.
    pub fn unrecorded_wraps(&self) -> u64 {
        let state = self.state();
        let primary = state.epochs.last();
        primary.map_or(0, |epoch| epoch.pending.load(Ordering::Relaxed))
    }

    /// Changes the ring: `change` alters a draft, `persist` makes its bytes durable, and only then is it in use.
    ///
    /// If either fails, the ring is as it was. Neither may change or refresh the ring by another way: they would wait
    /// for themselves. Changes of one process are made one after another; a ring that several
    /// processes use belongs in a [`KeyRingFile`], which excludes them too.
    ///
    /// # Errors
    /// Those of `change` and `persist`; [`CredentialError::InvalidState`] for a ring in a [`KeyRingFile`].
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut RingDraft<'_>) -> Result<T, CredentialError>,
        persist: impl FnOnce(&[u8]) -> Result<(), CredentialError>,
    ) -> Result<T, CredentialError> {
        if self.0.source.is_some() {
            return Err(CredentialError::invalid_state(
                "this key ring lies in a file; change it through its KeyRingFile",
            ));
        }
        self.apply(change, persist)
    }

    fn apply<T>(
        &self,
        change: impl FnOnce(&mut RingDraft<'_>) -> Result<T, CredentialError>,
        persist: impl FnOnce(&[u8]) -> Result<(), CredentialError>,
    ) -> Result<T, CredentialError> {
        let _one_at_a_time = self.changing();
        let mut draft = RingDraft::of(&self.state(), self.0.settings.source())?;
        let answer = change(&mut draft)?;
        let (state, counted) = draft.finish()?;
        persist(&state.bytes)?;
        self.set(state);
        // What is recorded now is pending no more.
        for (pending, recorded) in counted {
            pending.fetch_sub(recorded, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// Looks whether another process has changed the ring, and follows it. A ring without a file never changes so.
    ///
    /// # Errors
    /// [`CredentialError::KeyNotFound`] when the ring is gone, [`CredentialError::InvalidState`] when an older one was
    /// put in its place, [`CredentialError::Unlock`] when its root key was replaced: open it again. Those of
    /// [`unlock`](Self::unlock).
    pub fn refresh(&self) -> Result<bool, CredentialError> {
        let Some(source) = &self.0.source else {
            return Ok(false);
        };
        if source()? == self.state().bytes {
            return Ok(false);
        }
        // Read again under the lock: a change by this process may have come between, and what was read be old.
        let _one_at_a_time = self.changing();
        let bytes = source()?;
        let current = self.state();
        if bytes == current.bytes {
            return Ok(true);
        }
        let next = current.follow(&bytes)?;
        if !next.continues(&current) {
            return Err(CredentialError::invalid_state(
                "another or an older key ring was put in the place of the one in use; put the newest back, or open \
                 the store again",
            ));
        }
        self.set(next);
        Ok(true)
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, state: State) {
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For sealing, which hedges: it may be read ahead.
    pub(crate) fn sealing_entropy(&self) -> &dyn Entropy {
        self.0.settings.entropy.as_deref().unwrap_or(&PooledEntropy)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("KeyRing")
            .field("id", &format_args!("{}", state.outside.id))
            .field("generation", &state.outside.generation)
            .finish_non_exhaustive()
    }
}

/// What is known of a ring without its keys.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingStatus {
    /// Its name.
    pub id: RingId,
    /// The algorithms it seals with.
    pub suite: Suite,
    /// How often it was changed, its making included.
    pub generation: u64,
    /// What opens it.
    pub slots: Vec<SlotInfo>,
    /// Its keys, oldest first; the last is the primary one.
    pub epochs: Vec<EpochInfo>,
}

impl RingStatus {
    /// Whether the primary key should be rotated: a year old, or 90 % of 2^32 wraps. After two years, or 2^32 wraps,
    /// sealing is refused.
    pub fn rotation_due(&self, now: DateTime<Utc>) -> bool {
        self.epochs.last().is_some_and(|epoch| epoch.rotation_due(now))
    }
}
