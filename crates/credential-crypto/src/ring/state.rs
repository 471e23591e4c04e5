//! An unlocked ring as it is between two changes: the keys that its bytes hold, opened with one of its slots.

use std::sync::Arc;

use nebula_credential_core::{CredentialError, DataKey};
use nebula_credential_memory::LockedKey;
use subtle::ConstantTimeEq as _;

use super::RingId;
use super::epoch::{Epoch, EpochKey};
use super::format::{Encoded, Outside, damaged, lock_root};
use crate::Suite;
use crate::protector::{Protector, SlotKind};
use crate::random::HedgeKey;

/// One generation of a ring; never changed.
pub(crate) struct State {
    pub(super) outside: Outside,
    pub(super) root: Arc<LockedKey>,
    hedge: HedgeKey,
    /// Ascending; the last is the primary one.
    pub(super) epochs: Vec<EpochKey>,
    pub(super) bytes: Vec<u8>,
}

impl State {
    pub(super) fn new(
        outside: Outside,
        root: Arc<LockedKey>,
        epochs: Vec<EpochKey>,
        bytes: Vec<u8>,
    ) -> Result<Self, CredentialError> {
        let hedge = HedgeKey::derive(root.expose())?;
        Ok(Self {
            outside,
            root,
            hedge,
            epochs,
            bytes,
        })
    }

    pub(super) fn unlock(bytes: &[u8], protector: &dyn Protector) -> Result<Self, CredentialError> {
        let encoded = Encoded::parse(bytes)?;
        let root = recover(&encoded.outside, protector)?;
        let root = Arc::new(lock_root(&root)?);
        // The slot gave this root: that the rest does not fit it is no matter of the protector.
        let epochs = encoded.open(&root).map_err(|error| match error {
            CredentialError::Unlock(_) => damaged(),
            other => other,
        })?;
        Self::new(encoded.outside, root, epochs, bytes.to_vec())
    }

    /// The ring in `bytes`, opened with the root key at hand. Wraps counted so far stay counted.
    pub(super) fn follow(&self, bytes: &[u8]) -> Result<Self, CredentialError> {
        let encoded = Encoded::parse(bytes)?;
        let mut epochs = encoded.open(&self.root)?;
        for epoch in &mut epochs {
            if let Some(known) = self.epochs.iter().find(|known| known.epoch == epoch.epoch) {
                epoch.pending = Arc::clone(&known.pending);
            }
        }
        Self::new(encoded.outside, Arc::clone(&self.root), epochs, bytes.to_vec())
    }

    /// Whether changes made this of `earlier`. The generation alone does not tell: an old copy that was put back and
    /// changed since may have a later one, and other keys under the numbers that records name.
    pub(super) fn continues(&self, earlier: &Self) -> bool {
        let newest = |state: &Self| state.epochs.last().map(|key| key.epoch);
        let is_kept = |key: &EpochKey| match (&key.kek, earlier.epoch(key.epoch)) {
            (Some(now), Some(known)) => {
                let known = known.kek.as_ref();
                known.is_some_and(|known| bool::from(now.expose().ct_eq(known.expose())))
            }
            _ => true,
        };
        self.outside.id == earlier.outside.id
            && self.outside.generation > earlier.outside.generation
            && newest(self) >= newest(earlier)
            && self.epochs.iter().all(is_kept)
    }

    pub(crate) fn id(&self) -> RingId {
        self.outside.id
    }

    pub(crate) fn suite(&self) -> Suite {
        self.outside.suite
    }

    pub(crate) fn hedge(&self) -> &HedgeKey {
        &self.hedge
    }

    /// The epoch that wraps.
    pub(crate) fn primary(&self) -> Result<&EpochKey, CredentialError> {
        self.epochs
            .last()
            .ok_or_else(|| CredentialError::internal("a key ring has no epoch"))
    }

    pub(crate) fn epoch(&self, epoch: Epoch) -> Option<&EpochKey> {
        self.epochs
            .binary_search_by_key(&epoch, |key| key.epoch)
            .ok()
            .and_then(|at| self.epochs.get(at))
    }
}

/// The root key, from the first slot that `protector` opens.
fn recover(outside: &Outside, protector: &dyn Protector) -> Result<DataKey, CredentialError> {
    let kind = protector.kind();
    let mut tried = 0;
    for slot in outside.slots.iter().filter(|slot| slot.kind == kind) {
        tried += 1;
        let context = outside.slot_context(slot.id, slot.kind, slot.created_at);
        match protector.unwrap(&slot.wrapped, &context) {
            Ok(root) => return Ok(root),
            // Not the one that made this slot; a provider says so in one of two ways.
            Err(CredentialError::Tampered) => {}
            Err(CredentialError::KeyNotFound(_)) if kind == SlotKind::Provider => {}
            Err(error) => return Err(error),
        }
    }
    if tried == 0 {
        let mut kinds = Vec::new();
        for slot in &outside.slots {
            if !kinds.contains(&slot.kind.as_str()) {
                kinds.push(slot.kind.as_str());
            }
        }
        return Err(CredentialError::unlock_failed(format!(
            "the key ring has no slot for a {}; it opens with: {}",
            kind.as_str(),
            kinds.join(", ")
        )));
    }
    Err(CredentialError::unlock_failed(match kind {
        SlotKind::Passphrase => "the passphrase is wrong; check it, its keyboard layout and trailing spaces",
        SlotKind::KeyFile => "the key file is another ring's; give the one that was made with this key ring",
        SlotKind::PassphraseAndKeyFile => "the passphrase or the key file is wrong; check both",
        SlotKind::Provider => "the key provider did not wrap this key ring; check which key it uses",
    }))
}
