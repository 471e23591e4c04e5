use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential_core::{CredentialError, DataKey};
use nebula_credential_memory::LockedKey;

use super::epoch::{Epoch, EpochKey, EpochState, GRACE};
use super::epochs::EPOCHS_MAX;
use super::format::{Outside, SLOTS_MAX, encode};
use super::slot::{Slot, SlotId};
use super::{RingId, RingSettings, State};
use crate::Entropy;
use crate::protector::Protector;
use crate::rewrap::EpochUse;

/// A key ring being changed, inside [`KeyRing::update`](super::KeyRing::update) or
/// [`KeyRingFile::update`](super::KeyRingFile::update). All changes made to it become durable at once, or none.
pub struct RingDraft<'a> {
    outside: Outside,
    root: Arc<LockedKey>,
    epochs: Vec<EpochKey>,
    entropy: &'a dyn Entropy,
}

/// A counter of wraps, and how many of them the new bytes record.
type Counted = Vec<(Arc<AtomicU64>, u64)>;

impl<'a> RingDraft<'a> {
    pub(super) fn new(
        settings: &'a RingSettings,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<Self, CredentialError> {
        let entropy = settings.source();
        let mut id = [0; 16];
        entropy.fill(&mut id)?;
        let mut draft = Self {
            outside: Outside {
                suite: settings.suite,
                id: RingId(id),
                generation: 1,
                slots: Vec::new(),
            },
            root: Arc::new(LockedKey::init(|key| entropy.fill(key))?),
            epochs: Vec::new(),
            entropy,
        };
        draft.add_slot(protector, now)?;
        draft.rotate(now)?;
        Ok(draft)
    }

    pub(super) fn of(state: &State, entropy: &'a dyn Entropy) -> Result<Self, CredentialError> {
        let mut outside = state.outside.clone();
        outside.generation = outside
            .generation
            .checked_add(1)
            .ok_or_else(|| CredentialError::internal("the key ring ran out of generations"))?;
        Ok(Self {
            outside,
            root: Arc::clone(&state.root),
            epochs: state.epochs.clone(),
            entropy,
        })
    }

    /// The new state, with its bytes.
    pub(super) fn finish(mut self) -> Result<(State, Counted), CredentialError> {
        let mut counted = Vec::with_capacity(self.epochs.len());
        for epoch in &mut self.epochs {
            let pending = epoch.pending.load(Ordering::Relaxed);
            epoch.recorded = epoch.recorded.saturating_add(pending);
            counted.push((Arc::clone(&epoch.pending), pending));
        }
        let bytes = encode(&self.outside, &self.root, &self.epochs, self.entropy)?;
        let state = State::new(self.outside, self.root, self.epochs, bytes)?;
        Ok((state, counted))
    }

    /// Adds a slot that `protector` opens. May block, as [`Protector`] says.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] beyond eight slots; those of the protector.
    pub fn add_slot(
        &mut self,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<SlotId, CredentialError> {
        if self.outside.slots.len() >= SLOTS_MAX {
            return Err(CredentialError::limit(
                "key ring slots",
                SLOTS_MAX,
                self.outside.slots.len() + 1,
            ));
        }
        self.push_slot(protector, now)
    }

    fn push_slot(
        &mut self,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<SlotId, CredentialError> {
        let taken = |number: &u8| self.outside.slots.iter().all(|slot| slot.id.0 != *number);
        let number = (1..=u8::MAX).find(taken);
        let id = SlotId(number.ok_or_else(|| CredentialError::internal("no slot number is free"))?);
        let kind = protector.kind();
        let mut root = *self.root.expose();
        let root = DataKey::take(&mut root);
        let context = self.outside.slot_context(id, kind, now);
        let wrapped = protector.wrap(&root, &context, self.entropy)?;
        wrapped.check_lengths()?;
        self.outside.slots.push(Slot {
            id,
            kind,
            created_at: now,
            wrapped,
        });
        self.outside.slots.sort_by_key(|slot| slot.id);
        Ok(id)
    }

    /// Removes a slot. Whoever opened the ring with it may have kept the root key: [`new_root`](Self::new_root)
    /// takes that from them.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] for the last slot, [`CredentialError::KeyNotFound`] for one there is not.
    pub fn remove_slot(&mut self, id: SlotId) -> Result<(), CredentialError> {
        let at = self.slot(id)?;
        if self.outside.slots.len() == 1 {
            return Err(CredentialError::invalid_state(
                "the last slot cannot be removed: nothing would open the key ring; add another first",
            ));
        }
        self.outside.slots.remove(at);
        Ok(())
    }

    /// Puts a slot that `protector` opens in the place of slot `id`: a new passphrase for an old one. Both happen at
    /// once, so at every moment one of the two opens the ring. May block, as [`Protector`] says.
    ///
    /// # Errors
    /// [`CredentialError::KeyNotFound`]; those of the protector.
    pub fn change_slot(
        &mut self,
        id: SlotId,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<SlotId, CredentialError> {
        self.slot(id)?;
        let new = self.push_slot(protector, now)?;
        self.outside.slots.retain(|slot| slot.id != id);
        Ok(new)
    }

    fn slot(&self, id: SlotId) -> Result<usize, CredentialError> {
        self.outside
            .slots
            .iter()
            .position(|slot| slot.id == id)
            .ok_or_else(|| {
                CredentialError::key_not_found(format!(
                    "the key ring has no slot {id}; its status shows those there are"
                ))
            })
    }

    /// Starts a new epoch: from now on its key wraps, and the old primary one only unwraps.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] when no more epochs can be remembered: destroy the old ones.
    pub fn rotate(&mut self, now: DateTime<Utc>) -> Result<Epoch, CredentialError> {
        if self.epochs.len() >= EPOCHS_MAX {
            // The oldest destroyed one: what names it cannot be read in any case.
            match self
                .epochs
                .iter()
                .position(|epoch| epoch.state == EpochState::Destroyed)
            {
                Some(at) => drop(self.epochs.remove(at)),
                None => {
                    return Err(CredentialError::limit(
                        "key ring epochs",
                        EPOCHS_MAX,
                        self.epochs.len() + 1,
                    ));
                }
            }
        }
        let number = match self.epochs.last_mut() {
            None => 1,
            Some(primary) => {
                primary.state = EpochState::DecryptOnly;
                primary.retired_at = Some(now);
                primary
                    .epoch
                    .0
                    .checked_add(1)
                    .ok_or_else(|| CredentialError::internal("the key ring ran out of epochs"))?
            }
        };
        let epoch = Epoch(number);
        let kek = LockedKey::init(|key| self.entropy.fill(key))?;
        self.epochs.push(EpochKey::new(epoch, kek, now));
        Ok(epoch)
    }

    /// Makes a retired epoch refuse to unwrap: the trial before [`destroy_epoch`](Self::destroy_epoch).
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] unless it is decrypt-only; [`CredentialError::KeyNotFound`].
    pub fn disable_epoch(&mut self, epoch: Epoch) -> Result<(), CredentialError> {
        self.switch(epoch, EpochState::DecryptOnly, EpochState::Disabled)
    }

    /// Takes [`disable_epoch`](Self::disable_epoch) back.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] unless it is disabled; [`CredentialError::KeyNotFound`].
    pub fn enable_epoch(&mut self, epoch: Epoch) -> Result<(), CredentialError> {
        self.switch(epoch, EpochState::Disabled, EpochState::DecryptOnly)
    }

    fn switch(&mut self, epoch: Epoch, from: EpochState, to: EpochState) -> Result<(), CredentialError> {
        let key = self.epoch(epoch)?;
        if key.state != from {
            return Err(CredentialError::invalid_state(format!(
                "key {epoch} of the key ring is not {}; its status shows what it is",
                match from {
                    EpochState::DecryptOnly => "decrypt-only",
                    _ => "disabled",
                }
            )));
        }
        key.state = to;
        Ok(())
    }

    /// Destroys the key of a retired epoch, once a scan has shown that nothing needs it.
    ///
    /// `found` tells of one store. Where several share the ring, scan each, and destroy nothing that any of them uses.
    ///
    /// The scan must have begun at least five minutes after the rotation that retired the epoch: until then a process
    /// that had looked at the ring just before may still write under the old key.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] that says what is missing; [`CredentialError::KeyNotFound`].
    pub fn destroy_epoch(&mut self, epoch: Epoch, found: &EpochUse) -> Result<(), CredentialError> {
        let id = self.outside.id;
        let key = self.epoch(epoch)?;
        let Some(retired_at) = key.retired_at else {
            return Err(CredentialError::invalid_state(
                "the primary key cannot be destroyed; rotate the key ring first",
            ));
        };
        if found.ring() != id {
            return Err(CredentialError::invalid_state(
                "this scan was made for another key ring; scan with this one",
            ));
        }
        let used = found.count(epoch);
        if used > 0 {
            return Err(CredentialError::invalid_state(format!(
                "{used} records still need key {epoch}; rewrap them first"
            )));
        }
        if found.unreadable() > 0 {
            return Err(CredentialError::invalid_state(format!(
                "{} records are damaged or of a newer format, and may need key {epoch}; upgrade this program, restore \
                 them, or purge them, then scan again",
                found.unreadable()
            )));
        }
        if found.started_at() < retired_at.checked_add_signed(GRACE).unwrap_or(retired_at) {
            return Err(CredentialError::invalid_state(format!(
                "key {epoch} was retired less than {} minutes before the scan began, and another process may not have \
                 noticed; scan again later",
                TimeDelta::num_minutes(&GRACE)
            )));
        }
        key.state = EpochState::Destroyed;
        key.kek = None;
        Ok(())
    }

    fn epoch(&mut self, epoch: Epoch) -> Result<&mut EpochKey, CredentialError> {
        self.epochs
            .iter_mut()
            .find(|key| key.epoch == epoch)
            .ok_or_else(|| {
                CredentialError::key_not_found(format!(
                    "the key ring has no key {epoch}; its status shows those there are"
                ))
            })
    }

    /// Replaces the root key, and all slots by one for each of `protectors`: what an old slot, or an old copy of the
    /// ring, opens is worth nothing for what is sealed from now on. A new epoch starts.
    ///
    /// Records sealed before can still be read by whoever kept the old ring: re-encrypt them all, then purge. Other
    /// processes must open the ring again. May block, as [`Protector`] says.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] without a protector; those of [`add_slot`](Self::add_slot) and
    /// [`rotate`](Self::rotate).
    pub fn new_root(
        &mut self,
        protectors: &[&dyn Protector],
        now: DateTime<Utc>,
    ) -> Result<Epoch, CredentialError> {
        if protectors.is_empty() {
            return Err(CredentialError::validation(
                "a new root key needs at least one protector to open it again",
            ));
        }
        self.root = Arc::new(LockedKey::init(|key| self.entropy.fill(key))?);
        self.outside.slots.clear();
        for protector in protectors {
            self.add_slot(*protector, now)?;
        }
        self.rotate(now)
    }
}
