//! Keys from keys: one-message keys with their commitment, and the subkeys of a root key.

use nebula_credential_core::CredentialError;
use sha2::{Digest, Sha512, Sha512_256};
use zeroize::{Zeroize, Zeroizing};

use super::aead::NONCE_LEN;
use super::{COMMITMENT_LEN, KEY_LEN, SALT_LEN, Suite};

/// What a key seals. No two kinds of message share a derivation, whatever their keys.
///
/// The numbers are part of the format: never change or reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Label {
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
}

/// A key derived from the root key of a ring, for one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subkey {
    /// Seals the ring's epochs.
    Ring,
    /// Authenticates the head of a store.
    Head,
    /// Hedges the randomness of sealing.
    Hedge,
    /// Starts the audit log's evolving key.
    Audit,
    /// Authenticates the table of slots.
    SlotMac,
    /// Seals the canary.
    Canary,
    /// The hedge of a bare [`CredentialEncryption`](crate::CredentialEncryption) key.
    MessageHedge,
}

impl Subkey {
    /// BLAKE3's derive-key context: fixed, unique, never built from input.
    const fn context(self) -> &'static str {
        match self {
            Self::Ring => "nebula-credential 2026-11 root key to ring key v1",
            Self::Head => "nebula-credential 2026-11 root key to store head key v1",
            Self::Hedge => "nebula-credential 2026-11 root key to randomness hedge key v1",
            Self::Audit => "nebula-credential 2026-11 root key to first audit key v1",
            Self::SlotMac => "nebula-credential 2026-11 root key to slot table key v1",
            Self::Canary => "nebula-credential 2026-11 root key to canary key v1",
            Self::MessageHedge => {
                "nebula-credential 2026-11 message key to randomness hedge key v1"
            }
        }
    }
}

/// Derives the subkey of `root` for one use into `out`.
pub(crate) fn subkey(root: &[u8; KEY_LEN], subkey: Subkey, out: &mut [u8; KEY_LEN]) {
    let mut hasher = blake3::Hasher::new_derive_key(subkey.context());
    hasher.update(root);
    let mut reader = hasher.finalize_xof();
    reader.fill(out);
    reader.zeroize();
    hasher.zeroize();
}

/// A context reduced to 32 bytes, so that hashing it once serves the payload and the wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AadDigest([u8; 32]);

impl AadDigest {
    /// BLAKE3 key that sets this use apart from every other hash; not a secret.
    const BLAKE3_KEY: &'static [u8; 32] = b"nebula-credential context digest";

    /// Digests `parts`.
    ///
    /// Each part is preceded by its length as a big-endian `u64`, so no two lists of parts hash
    /// the same bytes.
    pub(crate) fn new(suite: Suite, parts: &[&[u8]]) -> Self {
        match suite {
            Suite::Blake3Aes256Gcm => {
                let mut hasher = blake3::Hasher::new_keyed(Self::BLAKE3_KEY);
                for part in parts {
                    hasher.update(&(part.len() as u64).to_be_bytes());
                    hasher.update(part);
                }
                Self(hasher.finalize().into())
            }
            Suite::HkdfSha512Aes256Gcm => {
                let mut hasher = Sha512_256::new();
                hasher.update(Self::BLAKE3_KEY);
                for part in parts {
                    hasher.update((part.len() as u64).to_be_bytes());
                    hasher.update(part);
                }
                Self(hasher.finalize().into())
            }
        }
    }

    /// The digest.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a message is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aad<'a> {
    /// Enters the key derivation, and so the commitment.
    pub(crate) digest: &'a AadDigest,
    /// AES-GCM's associated data: authenticated, but not committed to.
    pub(crate) extra: &'a [u8],
}

impl<'a> Aad<'a> {
    /// Bound to a digested context.
    pub(crate) const fn new(digest: &'a AadDigest) -> Self {
        Self { digest, extra: &[] }
    }

    /// Bound to a digested context and to bytes that only this message has, such as a key reference.
    pub(crate) const fn with_extra(digest: &'a AadDigest, extra: &'a [u8]) -> Self {
        Self { digest, extra }
    }
}

/// The key material of one message; wiped on drop.
pub(super) struct MessageKey {
    pub(super) key: [u8; KEY_LEN],
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) commitment: [u8; COMMITMENT_LEN],
}

impl MessageKey {
    pub(super) const fn empty() -> Self {
        Self {
            key: [0; KEY_LEN],
            nonce: [0; NONCE_LEN],
            commitment: [0; COMMITMENT_LEN],
        }
    }

    /// Derives in place, so that no frame below keeps a copy of the result.
    pub(super) fn derive(
        &mut self,
        suite: Suite,
        label: Label,
        key: &[u8; KEY_LEN],
        salt: &[u8; SALT_LEN],
        digest: &AadDigest,
    ) -> Result<(), CredentialError> {
        let mut okm = Zeroizing::new([0; OKM_LEN]);
        match suite {
            Suite::Blake3Aes256Gcm => blake3_okm(label, key, salt, digest, &mut okm),
            Suite::HkdfSha512Aes256Gcm => hkdf_okm(label, key, salt, digest, &mut okm)?,
        }
        let (key, rest) = okm.split_at(KEY_LEN);
        let (nonce, rest) = rest.split_at(NONCE_LEN);
        let (commitment, _) = rest.split_at(COMMITMENT_LEN);
        self.key.copy_from_slice(key);
        self.nonce.copy_from_slice(nonce);
        self.commitment.copy_from_slice(commitment);
        Ok(())
    }
}

/// `key ‖ nonce ‖ commitment`, rounded up to whole BLAKE3 blocks.
const OKM_LEN: usize = 128;

/// Keyed BLAKE3 over exactly one 64-byte block, `salt ‖ label ‖ first 31 bytes of the digest`:
/// fixed lengths, hence injective, and no second compression. 248 bits of the digest leave 124
/// bits against collisions of contexts.
fn blake3_okm(
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    digest: &AadDigest,
    okm: &mut [u8; OKM_LEN],
) {
    let mut block = [label as u8; 64];
    let (head, tail) = block.split_at_mut(SALT_LEN);
    head.copy_from_slice(salt);
    for (to, from) in tail.iter_mut().skip(1).zip(&digest.0) {
        *to = *from;
    }
    let mut reader = blake3::Hasher::new_keyed(key).update(&block).finalize_xof();
    reader.fill(okm);
    reader.zeroize();
}

/// HKDF-SHA-512 with the salt as salt and `prefix ‖ label ‖ digest`, all of fixed length, as info.
fn hkdf_okm(
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    digest: &AadDigest,
    okm: &mut [u8; OKM_LEN],
) -> Result<(), CredentialError> {
    hkdf::Hkdf::<Sha512>::new(Some(salt), key)
        .expand_multi_info(
            &[
                b"nebula-credential message key v1",
                &[label as u8],
                &digest.0,
            ],
            okm,
        )
        .map_err(|_| CredentialError::internal("HKDF output too long"))
}

impl Drop for MessageKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.nonce.zeroize();
        self.commitment.zeroize();
    }
}
