//! Any bytes as a key ring or a key file: only what was written unlocks, and nothing costs before it is checked.

use nebula_credential_core::ErrorKind;
use nebula_credential_crypto::{Argon2Params, KeyFile, KeyRing, Passphrase, RING_BYTES_MAX};

use crate::golden::{RINGS, key_file};

/// Opens `data` as it stands, and once more with the checksum an attacker would put right.
pub fn keyring_decode(data: &[u8]) {
    unlock(data);
    if let Some((body, _)) = data.split_last_chunk::<32>() {
        let forged = [body, blake3::hash(body).as_bytes()].concat();
        unlock(&forged);
        derive(&forged);
    }
    read_key_file(data);
    if let Some((body, _)) = data.split_last_chunk::<8>() {
        read_key_file(&[body, &blake3::hash(body).as_bytes()[..8]].concat());
    }
}

/// A key file is not sealed, only summed: a second reader says which bytes are one.
fn read_key_file(bytes: &[u8]) {
    let is_one = bytes.split_last_chunk::<8>().is_some_and(|(body, check)| {
        body.len() == 8 + 1 + 32
            && body.starts_with(b"\x89NBF\r\n\x1a\n\x01")
            && blake3::hash(body).as_bytes().starts_with(check)
    });
    let key = KeyFile::from_bytes(bytes);
    assert_eq!(key.is_ok(), is_one, "{key:?}");
}

fn unlock(bytes: &[u8]) {
    let golden = RINGS.contains(&bytes);
    match KeyRing::unlock(bytes, &key_file()) {
        Ok(ring) => {
            assert!(golden, "only what was written unlocks");
            assert_eq!(ring.to_bytes(), bytes);
            let status = ring.status();
            assert!(!status.slots.is_empty() && !status.epochs.is_empty());
        }
        Err(error) => {
            assert!(!golden, "a golden ring does not open: {error}");
            assert!(refuses(error.kind()), "{error}");
            assert!(bytes.len() <= RING_BYTES_MAX || error.kind() == ErrorKind::LimitExceeded);
        }
    }
}

fn refuses(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Tampered
            | ErrorKind::UnsupportedFormat
            | ErrorKind::Key
            | ErrorKind::LimitExceeded
            | ErrorKind::InvalidInput
    )
}

/// Opens a ring with a passphrase where that must fail before Argon2 runs: a slot of a hostile cost, or none at all.
///
/// Argon2 that runs all the same takes more memory than the run allows for one allocation.
fn derive(bytes: &[u8]) {
    let Some(slots) = read_slots(bytes) else {
        return;
    };
    let costs: Vec<Result<_, _>> = slots
        .iter()
        .filter(|slot| PASSPHRASE_KINDS.contains(&slot.kind))
        .map(|slot| cost(slot.params))
        .collect();
    let is_hostile = costs.iter().any(Result::is_err);
    let has_passphrase = slots.iter().any(|slot| slot.kind == PASSPHRASE_KINDS[0]);
    if has_passphrase && !is_hostile {
        return;
    }
    let error = KeyRing::unlock(bytes, &Passphrase::new("correct horse")).expect_err("no such passphrase");
    assert!(refuses(error.kind()), "{error}");
    assert!(!is_hostile || error.kind() != ErrorKind::Key, "{error}");
}

/// The slot kinds with a passphrase: alone, and with a key file.
const PASSPHRASE_KINDS: [u8; 2] = [1, 3];

struct Slot<'a> {
    kind: u8,
    params: &'a [u8],
}

/// The slot table, by a second reader of it.
fn read_slots(bytes: &[u8]) -> Option<Vec<Slot<'_>>> {
    // Magic, version, suite, flags, ring and generation.
    let (count, mut rest) = bytes.get(8 + 1 + 2 + 2 + 16 + 8..)?.split_first()?;
    let mut slots = Vec::new();
    for _ in 0..*count {
        let kind;
        ([_, kind], rest) = rest.split_first_chunk().map(|(head, rest)| (*head, rest))?;
        rest = rest.get(8..)?;
        let params;
        (params, rest) = block(rest)?;
        (_, rest) = block(rest)?;
        slots.push(Slot { kind, params });
    }
    Some(slots)
}

fn block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// Whether the cost a slot asks for is within bounds. A layout of another length asks for nothing that is run.
fn cost(params: &[u8]) -> Result<(), ()> {
    let number = |at: usize| {
        let bytes = params
            .get(4 * at..4 * at + 4)
            .and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| u32::from_be_bytes(*bytes))
    };
    let (Some(memory), Some(passes), Some(lanes), 44) = (number(0), number(1), number(2), params.len())
    else {
        return Err(());
    };
    Argon2Params::new(memory, passes, lanes).map(drop).map_err(drop)
}
