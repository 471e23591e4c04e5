//! The bytes of a key ring. `FORMAT.md` is their specification.
//!
//! ```text
//! header   magic 8 | version 1 | suite 2 | flags 2 | ring id 16 | generation 8
//! slots    count 1 | { id 1 | kind 1 | created 8 | params 2+n | wrapped root 2+m } ...
//! canary   salt 32 | commitment 32 | tag 16              under K_canary, over the header without the generation
//! slot MAC salt 32 | commitment 32 | tag 16              under K_slotmac, over header and slots
//! epochs   length 4 | salt 32 | commitment 32 | ciphertext | tag 16   under K_ring, over all before
//! check    first 32 bytes of BLAKE3 of all before: damage is told from attack and from a wrong passphrase
//! ```

use chrono::{DateTime, Utc};
use nebula_credential_core::{CredentialError, DataKey, KEY_REFERENCE_BYTES, WRAPPED_KEY_BYTES};
use nebula_credential_memory::{LockedKey, scrub_stack};
use zeroize::Zeroizing;

use super::epoch::EpochKey;
use super::epochs::{EPOCH_LEN, EPOCHS_MAX, read_epochs, write_epochs};
use super::slot::{Slot, SlotId};
use super::{RING_BYTES_MAX, RingId};
use crate::bytes::{Malformed, Reader, put_block};
use crate::head::{CHECK_LEN, Head, put_check};
use crate::primitive::{
    Aad, COMMITMENT_LEN, KEY_LEN, Label, SALT_LEN, Subkey, TAG_LEN, open_in_place, seal_in_place, subkey,
};
use crate::protector::{SlotKind, WrappedRoot, check_params};
use crate::wrap::WRAP_LEN;
use crate::{Entropy, Suite};

const HEAD: Head = Head {
    what: "key ring",
    magic: [0x89, b'N', b'B', b'K', b'\r', b'\n', 0x1a, b'\n'],
    version: 1,
    damaged,
};
/// Most slots of a ring.
pub(super) const SLOTS_MAX: usize = 8;
/// Salt, commitment and tag of an empty message.
const SEAL_LEN: usize = SALT_LEN + COMMITMENT_LEN + TAG_LEN;

// The longest ring can be written: header, slots, canary, slot MAC, epochs and check.
const _: () = assert!(
    Head::LEN
        + (16 + 8)
        + 1
        + SLOTS_MAX * (1 + 1 + 8 + (2 + KEY_REFERENCE_BYTES) + (2 + WRAPPED_KEY_BYTES))
        + 3 * SEAL_LEN
        + (4 + EPOCHS_MAX * EPOCH_LEN)
        + CHECK_LEN
        <= RING_BYTES_MAX
);

/// What a ring's bytes hold in the clear.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) suite: Suite,
    pub(super) id: RingId,
    /// One more for each change.
    pub(super) generation: u64,
    pub(super) slots: Vec<Slot>,
}

impl Outside {
    /// What stays the same for the life of a ring.
    fn identity(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        HEAD.write(self.suite, &mut out);
        out.extend_from_slice(&self.id.0);
        out
    }

    /// What slot `slot` of this ring is bound to.
    pub(super) fn slot_context(
        &self,
        slot: SlotId,
        kind: SlotKind,
        created_at: DateTime<Utc>,
    ) -> crate::protector::SlotContext {
        let mut bytes = self.identity();
        bytes.push(slot.0);
        bytes.push(kind.id());
        bytes.extend_from_slice(&created_at.timestamp_micros().to_be_bytes());
        crate::protector::SlotContext {
            suite: self.suite,
            bytes,
        }
    }
}

/// A ring's bytes, in parts, not yet believed.
pub(super) struct Encoded<'a> {
    pub(super) outside: Outside,
    canary: &'a [u8],
    slot_mac: &'a [u8],
    epochs: &'a [u8],
    /// All before the canary, before the slot MAC's own bytes, and before the epochs.
    before: [&'a [u8]; 2],
}

impl<'a> Encoded<'a> {
    /// Takes the bytes apart. There is one way to write a ring; anything else is refused before any key derivation.
    ///
    /// # Errors
    /// [`CredentialError::UnsupportedFormat`] for another kind of file or a newer version;
    /// [`CredentialError::DecryptionFailed`] for damage; [`CredentialError::LimitExceeded`] and
    /// [`CredentialError::Validation`] for hostile key derivation parameters.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CredentialError> {
        if bytes.len() > RING_BYTES_MAX {
            return Err(CredentialError::limit(
                "key ring bytes",
                RING_BYTES_MAX,
                bytes.len(),
            ));
        }
        if !bytes.starts_with(&HEAD.magic) {
            return Err(CredentialError::unsupported_format(
                "this is no key ring; give the path of one, or restore it from a backup",
            ));
        }
        let (suite, body, reader) = HEAD.checked(bytes)?;
        let parts = Self::fields(body, suite, reader).map_err(|_| damaged())?;
        for slot in &parts.outside.slots {
            check_params(slot.kind, &slot.wrapped.params).map_err(|error| match error {
                CredentialError::Tampered => damaged(),
                other => other,
            })?;
        }
        Ok(parts)
    }

    fn fields(body: &'a [u8], suite: Suite, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let id = RingId(*reader.array()?);
        let generation = reader.u64()?;
        let count = usize::from(reader.u8()?);
        if count == 0 || count > SLOTS_MAX || generation == 0 {
            return Err(Malformed);
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(count);
        for _ in 0..count {
            let slot = read_slot(&mut reader)?;
            // Ascending: one order, no number twice.
            if slot.id.0 == 0 || slots.last().is_some_and(|last| last.id >= slot.id) {
                return Err(Malformed);
            }
            slots.push(slot);
        }
        let consumed = |reader: &Reader<'_>| body.get(..body.len() - reader.remaining()).ok_or(Malformed);
        let before_mac = consumed(&reader)?;
        let canary = reader.take(SEAL_LEN)?;
        let slot_mac = reader.take(SEAL_LEN)?;
        let before_epochs = consumed(&reader)?;
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
        if length > RING_BYTES_MAX || length == 0 || !length.is_multiple_of(EPOCH_LEN) {
            return Err(Malformed);
        }
        let epochs = reader.take(SEAL_LEN + length)?;
        reader.finish()?;
        Ok(Self {
            outside: Outside {
                suite,
                id,
                generation,
                slots,
            },
            canary,
            slot_mac,
            epochs,
            before: [before_mac, before_epochs],
        })
    }

    /// Checks canary and slot table, then deciphers the epochs.
    ///
    /// # Errors
    /// [`CredentialError::Unlock`] when `root` is another ring's or an older root key;
    /// [`CredentialError::DecryptionFailed`].
    pub(super) fn open(&self, root: &LockedKey) -> Result<Vec<EpochKey>, CredentialError> {
        let suite = self.outside.suite;
        let [before_mac, before_epochs] = self.before;
        let canary = self.outside.identity();
        open_box(suite, root, Subkey::Canary, Label::Canary, &canary, self.canary).map_err(|_| {
            CredentialError::unlock_failed(
                "the key ring has another root key; open it again with a protector",
            )
        })?;
        open_box(
            suite,
            root,
            Subkey::SlotMac,
            Label::SlotTable,
            before_mac,
            self.slot_mac,
        )
        .map_err(|_| damaged())?;
        let bytes = open_box(
            suite,
            root,
            Subkey::Ring,
            Label::RingSeal,
            before_epochs,
            self.epochs,
        )
        .map_err(|_| damaged())?;
        scrub_stack();
        read_epochs(&bytes)
    }
}

/// Writes a ring.
///
/// # Errors
/// Those of `entropy`; [`CredentialError::LimitExceeded`].
pub(super) fn encode(
    outside: &Outside,
    root: &LockedKey,
    epochs: &[EpochKey],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, CredentialError> {
    let suite = outside.suite;
    let mut out = outside.identity();
    let canary = out.clone();
    out.extend_from_slice(&outside.generation.to_be_bytes());
    write_slots(&mut out, &outside.slots).map_err(|_| unwritable())?;
    let table = out.clone();
    seal_box(
        suite,
        root,
        Subkey::Canary,
        Label::Canary,
        &canary,
        &mut [],
        &mut out,
        entropy,
    )?;
    seal_box(
        suite,
        root,
        Subkey::SlotMac,
        Label::SlotTable,
        &table,
        &mut [],
        &mut out,
        entropy,
    )?;

    let mut plain = Zeroizing::new(Vec::with_capacity(epochs.len() * EPOCH_LEN));
    write_epochs(&mut plain, epochs);
    let all = out.clone();
    let length = u32::try_from(plain.len()).map_err(|_| unwritable())?;
    out.extend_from_slice(&length.to_be_bytes());
    seal_box(
        suite,
        root,
        Subkey::Ring,
        Label::RingSeal,
        &all,
        &mut plain,
        &mut out,
        entropy,
    )?;
    scrub_stack();
    put_check(&mut out);
    // Whatever is wrong with it is found before it takes the place of one that can be read.
    Encoded::parse(&out)?;
    Ok(out)
}

/// Appends salt, commitment, ciphertext and tag of `plain`, which is enciphered in place.
#[expect(clippy::too_many_arguments, reason = "each names one input of the seal")]
fn seal_box(
    suite: Suite,
    root: &LockedKey,
    key: Subkey,
    label: Label,
    context: &[u8],
    plain: &mut [u8],
    out: &mut Vec<u8>,
    entropy: &dyn Entropy,
) -> Result<(), CredentialError> {
    let mut salt = [0; SALT_LEN];
    entropy.fill(&mut salt)?;
    let mut derived = Zeroizing::new([0; KEY_LEN]);
    subkey(suite, root.expose(), key, &mut derived)?;
    let sealed = seal_in_place(suite, label, &derived, &salt, &Aad::new(context), plain)?;
    out.extend_from_slice(&salt);
    out.extend_from_slice(&sealed.commitment);
    out.extend_from_slice(plain);
    out.extend_from_slice(&sealed.tag);
    Ok(())
}

fn open_box(
    suite: Suite,
    root: &LockedKey,
    key: Subkey,
    label: Label,
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let mut reader = Reader::new(sealed);
    let mut fields = || -> Result<_, Malformed> {
        let salt = reader.array()?;
        let commitment = reader.array()?;
        let length = reader.remaining().checked_sub(TAG_LEN).ok_or(Malformed)?;
        Ok((salt, commitment, reader.take(length)?, reader.array()?))
    };
    let (salt, commitment, ciphertext, tag) = fields().map_err(|_| CredentialError::Tampered)?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    let mut derived = Zeroizing::new([0; KEY_LEN]);
    subkey(suite, root.expose(), key, &mut derived)?;
    open_in_place(
        suite,
        label,
        &derived,
        salt,
        commitment,
        &Aad::new(context),
        &mut plain,
        tag,
    )?;
    Ok(plain)
}

fn read_slot(reader: &mut Reader<'_>) -> Result<Slot, Malformed> {
    let id = SlotId(reader.u8()?);
    let kind = SlotKind::from_id(reader.u8()?).ok_or(Malformed)?;
    let created_at = reader.time()?;
    let params = reader.block(KEY_REFERENCE_BYTES)?.to_vec();
    let bytes = reader.block(WRAPPED_KEY_BYTES)?.to_vec();
    if kind != SlotKind::Provider && bytes.len() != WRAP_LEN {
        return Err(Malformed);
    }
    Ok(Slot {
        id,
        kind,
        created_at,
        wrapped: WrappedRoot { params, bytes },
    })
}

fn write_slots(out: &mut Vec<u8>, slots: &[Slot]) -> Result<(), Malformed> {
    out.push(u8::try_from(slots.len()).map_err(|_| Malformed)?);
    for slot in slots {
        out.push(slot.id.0);
        out.push(slot.kind.id());
        out.extend_from_slice(&slot.created_at.timestamp_micros().to_be_bytes());
        put_block(out, &slot.wrapped.params)?;
        put_block(out, &slot.wrapped.bytes)?;
    }
    Ok(())
}

/// The root key out of a protector's hands, into locked memory.
pub(super) fn lock_root(root: &DataKey) -> Result<LockedKey, CredentialError> {
    LockedKey::init(|place| {
        place.copy_from_slice(root.expose());
        Ok(())
    })
}

pub(super) fn damaged() -> CredentialError {
    CredentialError::decryption_failed(
        "the key ring is damaged or was altered; restore it from a backup (records are unharmed, but closed without it)",
    )
}

fn unwritable() -> CredentialError {
    CredentialError::internal("a key ring part is too long to be written")
}
