//! The one primitive everything is sealed with: a committing AEAD whose key serves one message.
//!
//! ```text
//! key, nonce, commitment = KDF(key32, salt32, label, context)
//! ciphertext, tag        = AES-256-GCM(key, nonce, extra, plaintext)
//! ```
//!
//! *Nonces cannot repeat under a key* unless a salt does: a fresh 256-bit salt gives a fresh AES
//! key, so NIST's bound of 2^32 random nonces under one key does not arise.
//!
//! *A message opens under one key and in one context only.* AES-GCM alone lets its author craft a
//! ciphertext that opens under two keys. Here `commitment` is 32 bytes of a collision-resistant
//! function of key, salt, label and context; the opener recomputes and compares it, in constant
//! time, before it deciphers anything.
//!
//! Whoever rewrites `extra` alone needs the key, as with any AEAD: the commitment does not cover it,
//! which keeps the derivation of a wrapped key to one compression.
//!
//! *Every failure to open is one answer*, [`CredentialError::Tampered`], and leaves the buffer
//! wiped.
//!
//! Sealing and opening wipe what they own, but leave traces of derived keys in dead stack frames.
//! A caller that is done with all its operations calls
//! [`scrub_stack`](nebula_credential_memory::scrub_stack) once (80 ns, and what it pushes out of the cache).

mod aead;
mod kdf;
pub(crate) mod passphrase;
mod suite;

use nebula_credential_core::CredentialError;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub use aead::Backend;
pub(crate) use aead::STACK_REACH;
use kdf::MessageKey;
pub use kdf::{Aad, Label};
pub(crate) use kdf::{Subkey, subkey};
pub use passphrase::Argon2Params;
pub use suite::Suite;

/// Bytes of every symmetric key.
pub(crate) const KEY_LEN: usize = 32;
/// Bytes of every salt.
pub(crate) const SALT_LEN: usize = 32;
/// Bytes of every commitment.
pub(crate) const COMMITMENT_LEN: usize = 32;
/// Bytes of the AES-GCM tag.
pub(crate) const TAG_LEN: usize = 16;

/// What sealing yields beside the ciphertext; both are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Commits to key, salt, label and context.
    pub commitment: [u8; COMMITMENT_LEN],
    /// Authenticates the ciphertext.
    pub tag: [u8; TAG_LEN],
}

/// Seals `buffer` in place.
///
/// `salt` must never be used again with this `key`, `label` and `aad` for another plaintext.
///
/// # Errors
///
/// [`CredentialError::EncryptionFailed`] if `buffer` is longer than AES-GCM allows (64 GiB); it is
/// wiped then.
pub(crate) fn seal_in_place(
    suite: Suite,
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    aad: &Aad<'_>,
    buffer: &mut [u8],
) -> Result<Sealed, CredentialError> {
    seal_in_place_with(Backend::default(), suite, label, key, salt, aad, buffer)
}

/// Opens `buffer` in place.
///
/// # Errors
///
/// [`CredentialError::Tampered`], whatever the reason; `buffer` is wiped then.
#[expect(clippy::too_many_arguments, reason = "each is a field of the sealed form")]
pub(crate) fn open_in_place(
    suite: Suite,
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    commitment: &[u8; COMMITMENT_LEN],
    aad: &Aad<'_>,
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), CredentialError> {
    open_in_place_with(
        Backend::default(),
        suite,
        label,
        key,
        salt,
        commitment,
        aad,
        buffer,
        tag,
    )
}

/// `seal_in_place` with the library named.
///
/// # Errors
///
/// As there.
pub fn seal_in_place_with(
    backend: Backend,
    suite: Suite,
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    aad: &Aad<'_>,
    buffer: &mut [u8],
) -> Result<Sealed, CredentialError> {
    let mut message = MessageKey::empty();
    if message.derive(suite, label, key, salt, aad.committed).is_ok()
        && let Some(parts) = message.parts()
    {
        let mut sealed = Sealed {
            commitment: *parts.commitment,
            tag: [0; TAG_LEN],
        };
        if backend
            .seal(parts.key, parts.nonce, aad.extra, buffer, &mut sealed.tag)
            .is_ok()
        {
            return Ok(sealed);
        }
    }
    buffer.zeroize();
    Err(CredentialError::encryption_failed(
        "the value is too long for AES-GCM",
    ))
}

/// `open_in_place` with the library named.
///
/// # Errors
///
/// As there.
#[expect(clippy::too_many_arguments, reason = "each is a field of the sealed form")]
pub fn open_in_place_with(
    backend: Backend,
    suite: Suite,
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    commitment: &[u8; COMMITMENT_LEN],
    aad: &Aad<'_>,
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), CredentialError> {
    let mut message = MessageKey::empty();
    if message.derive(suite, label, key, salt, aad.committed).is_ok()
        && let Some(parts) = message.parts()
        && same(parts.commitment, commitment)
        && backend
            .open(parts.key, parts.nonce, aad.extra, buffer, tag)
            .is_ok()
    {
        return Ok(());
    }
    buffer.zeroize();
    Err(CredentialError::Tampered)
}

/// Compares in constant time, four words at a time: `subtle` over bytes takes 70 ns longer.
fn same(left: &[u8; COMMITMENT_LEN], right: &[u8; COMMITMENT_LEN]) -> bool {
    let words = |bytes: &[u8; COMMITMENT_LEN]| -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    };
    words(left).ct_eq(&words(right)).into()
}
