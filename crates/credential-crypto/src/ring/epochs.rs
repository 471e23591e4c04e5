//! The epochs of a ring as bytes: what the ring key seals.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nebula_credential_core::CredentialError;
use nebula_credential_memory::LockedKey;

use super::epoch::{Epoch, EpochKey, EpochState};
use super::format::damaged;
use crate::bytes::{Malformed, Reader};
use crate::primitive::KEY_LEN;

/// Most epochs a ring remembers: yearly rotation for five centuries, or daily for 17 months.
pub(super) const EPOCHS_MAX: usize = 512;
/// Number, state, three times, wraps, key.
pub(super) const EPOCH_LEN: usize = 4 + 1 + 3 * 8 + 8 + KEY_LEN;

pub(super) fn write_epochs(out: &mut Vec<u8>, epochs: &[EpochKey]) {
    for epoch in epochs {
        out.extend_from_slice(&epoch.epoch.0.to_be_bytes());
        out.push(epoch.state.id());
        let retired = epoch.retired_at.unwrap_or_default();
        for time in [epoch.created_at, epoch.not_after, retired] {
            out.extend_from_slice(&time.timestamp_micros().to_be_bytes());
        }
        out.extend_from_slice(&epoch.recorded.to_be_bytes());
        match &epoch.kek {
            Some(kek) => out.extend_from_slice(kek.expose()),
            None => out.extend_from_slice(&[0; KEY_LEN]),
        }
    }
}

/// Reads deciphered epochs: authentic, so a violated rule is a bug or a newer program's doing.
pub(super) fn read_epochs(bytes: &[u8]) -> Result<Vec<EpochKey>, CredentialError> {
    let count = bytes.len() / EPOCH_LEN;
    if count > EPOCHS_MAX {
        return Err(CredentialError::limit("key ring epochs", EPOCHS_MAX, count));
    }
    let mut epochs: Vec<EpochKey> = Vec::with_capacity(count);
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 {
        let epoch = read_epoch(&mut reader)?;
        if epoch.epoch.0 == 0 || epochs.last().is_some_and(|last| last.epoch >= epoch.epoch) {
            return Err(damaged());
        }
        epochs.push(epoch);
    }
    let last_is_primary = epochs
        .last()
        .is_some_and(|last| last.state == EpochState::Primary);
    let primaries = epochs
        .iter()
        .filter(|epoch| epoch.state == EpochState::Primary)
        .count();
    if !last_is_primary || primaries != 1 {
        return Err(damaged());
    }
    Ok(epochs)
}

fn read_epoch(reader: &mut Reader<'_>) -> Result<EpochKey, CredentialError> {
    let mut fields = || -> Result<_, Malformed> {
        let epoch = Epoch(reader.u32()?);
        let state = EpochState::from_id(reader.u8()?).ok_or(Malformed)?;
        let times = (reader.time()?, reader.time()?, reader.time()?);
        Ok((epoch, state, times, reader.u64()?, reader.array::<KEY_LEN>()?))
    };
    let (epoch, state, (created_at, not_after, retired_at), recorded, key) =
        fields().map_err(|_| damaged())?;
    let kek = match state {
        EpochState::Destroyed if *key != [0; KEY_LEN] => return Err(damaged()),
        EpochState::Destroyed => None,
        _ => Some(Arc::new(LockedKey::init(|place| {
            place.copy_from_slice(key);
            Ok(())
        })?)),
    };
    Ok(EpochKey {
        epoch,
        state,
        created_at,
        not_after,
        retired_at: (state != EpochState::Primary).then_some(retired_at),
        recorded,
        pending: Arc::new(AtomicU64::new(0)),
        kek,
    })
}
