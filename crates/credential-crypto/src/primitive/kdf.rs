//! Keys from keys: one-message keys with their commitment, and the subkeys of a root key.

use nebula_credential_core::CredentialError;
use sha2::Sha512;
use zeroize::Zeroize;

use super::aead::NONCE_LEN;
use super::{COMMITMENT_LEN, KEY_LEN, SALT_LEN, Suite};

/// What a key seals. No two kinds of message share a derivation, whatever their keys.
///
/// The numbers are part of the format: never change or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// The secret of a record, under its data key.
    Payload = 1,
    /// A data key, under a key-encryption key.
    DekWrap = 2,
    /// The root key, under a protector.
    SlotWrap = 3,
    /// A key ring's epochs, under the ring key.
    RingSeal = 4,
    /// The head of a store.
    Head = 5,
    /// A value whose opening shows that the right root key is at hand.
    Canary = 6,
    /// A message of [`CredentialEncryption`](crate::CredentialEncryption).
    Message = 7,
    /// The table of slots of a key ring: an empty message bound to it.
    SlotTable = 8,
    /// The contents of a bundle, under its key.
    Bundle = 9,
}

/// A key derived from the root key of a ring, for one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subkey {
    /// Seals the ring's epochs.
    Ring,
    /// Hedges the randomness of sealing.
    Hedge,
    /// Hashes secrets for the hedge.
    HedgeHash,
    /// Authenticates the table of slots.
    SlotMac,
    /// Seals the canary.
    Canary,
}

impl Subkey {
    /// What sets it apart: fixed, unique, never built from input.
    const fn context(self) -> &'static str {
        match self {
            Self::Ring => "nebula-credential 2026-11 root key to ring key v1",
            Self::Hedge => "nebula-credential 2026-11 root key to randomness hedge key v1",
            Self::HedgeHash => "nebula-credential 2026-11 root key to hedge hash key v1",
            Self::SlotMac => "nebula-credential 2026-11 root key to slot table key v1",
            Self::Canary => "nebula-credential 2026-11 root key to canary key v1",
        }
    }
}

/// Derives the subkey of `root` for one use into `out`: BLAKE3's derive-key mode, or HKDF-SHA-512 without salt and
/// with the context as info.
///
/// # Errors
///
/// Never: the output is shorter than HKDF's limit.
pub(crate) fn subkey(
    suite: Suite,
    root: &[u8; KEY_LEN],
    subkey: Subkey,
    out: &mut [u8; KEY_LEN],
) -> Result<(), CredentialError> {
    match suite {
        Suite::Blake3Aes256Gcm => {
            let mut hasher = blake3::Hasher::new_derive_key(subkey.context());
            hasher.update(root);
            let mut reader = hasher.finalize_xof();
            reader.fill(out);
            reader.zeroize();
            hasher.zeroize();
            Ok(())
        }
        Suite::HkdfSha512Aes256Gcm => hkdf::Hkdf::<Sha512>::new(None, root)
            .expand(subkey.context().as_bytes(), out)
            .map_err(|_| CredentialError::internal("HKDF output too long")),
    }
}

/// What a message is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Aad<'a> {
    /// Enters the key derivation: the commitment covers it, and no two contexts share a key.
    /// The caller's encoding must be injective.
    pub(super) committed: &'a [u8],
    /// AES-GCM's associated data: authenticated under the derived key, but not committed to.
    pub(super) extra: &'a [u8],
}

impl<'a> Aad<'a> {
    /// Binds the message to `context`.
    pub const fn new(context: &'a [u8]) -> Self {
        Self {
            committed: context,
            extra: &[],
        }
    }

    /// Binds the message to `context` and also to `extra`, which only the tag covers.
    pub const fn with_extra(context: &'a [u8], extra: &'a [u8]) -> Self {
        Self {
            committed: context,
            extra,
        }
    }
}

/// Bytes of derived material: `key ‖ nonce ‖ commitment`, rounded up to whole BLAKE3 blocks, which
/// are computed side by side.
const OKM_LEN: usize = 128;

/// The key material of one message; wiped on drop.
pub(super) struct MessageKey([u8; OKM_LEN]);

/// The parts of a [`MessageKey`].
pub(super) struct MessageKeyParts<'a> {
    pub(super) key: &'a [u8; KEY_LEN],
    pub(super) nonce: &'a [u8; NONCE_LEN],
    pub(super) commitment: &'a [u8; COMMITMENT_LEN],
}

impl MessageKey {
    pub(super) const fn empty() -> Self {
        Self([0; OKM_LEN])
    }

    /// Derives in place, so that no frame keeps a copy of the result beyond the caller's own.
    ///
    /// Not inlined: what the hash functions leave on the stack then lies below the caller's frame,
    /// in reach of [`scrub_stack`](nebula_credential_memory::scrub_stack).
    #[inline(never)]
    pub(super) fn derive(
        &mut self,
        suite: Suite,
        label: Label,
        key: &[u8; KEY_LEN],
        salt: &[u8; SALT_LEN],
        committed: &[u8],
    ) -> Result<(), CredentialError> {
        match suite {
            Suite::Blake3Aes256Gcm => {
                blake3_okm(label, key, salt, committed, &mut self.0);
                Ok(())
            }
            Suite::HkdfSha512Aes256Gcm => hkdf_okm(label, key, salt, committed, &mut self.0),
        }
    }

    /// The parts; `None` never happens, as the lengths are constants that add up.
    pub(super) fn parts(&self) -> Option<MessageKeyParts<'_>> {
        let (key, rest) = self.0.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commitment, _) = rest.split_first_chunk()?;
        Some(MessageKeyParts {
            key,
            nonce,
            commitment,
        })
    }
}

impl Drop for MessageKey {
    fn drop(&mut self) {
        // As a slice: an array is wiped byte by byte.
        self.0.as_mut_slice().zeroize();
    }
}

/// Keyed BLAKE3 over `salt ‖ label ‖ context`: the first two have fixed lengths, so the input is
/// injective.
fn blake3_okm(
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    committed: &[u8],
    okm: &mut [u8; OKM_LEN],
) {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(salt).update(&[label as u8]).update(committed);
    hasher.finalize_xof().fill(okm);
}

/// HKDF-SHA-512 (RFC 5869): the salt as salt, the key as input, `prefix ‖ label ‖ context` as
/// info. Prefix and label have fixed lengths, so the info is injective.
///
/// Always the `hkdf` crate: AWS-LC's is no faster for outputs this short.
fn hkdf_okm(
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    committed: &[u8],
    okm: &mut [u8; OKM_LEN],
) -> Result<(), CredentialError> {
    hkdf::Hkdf::<Sha512>::new(Some(salt), key)
        .expand_multi_info(
            &[b"nebula-credential message key v1", &[label as u8], committed],
            okm,
        )
        .map_err(|_| CredentialError::internal("HKDF output too long"))
}
