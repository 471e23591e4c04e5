//! Randomness from the operating system, and data keys that survive its failure.

use nebula_credential_core::CredentialError;
use zeroize::{Zeroize, Zeroizing};

use crate::primitive::{AadDigest, KEY_LEN, SALT_LEN};

/// A source of random bytes.
///
/// Production code uses [`OsEntropy`]; tests put a broken source here.
pub trait Entropy: Send + Sync {
    /// Fills `out`.
    ///
    /// # Errors
    ///
    /// [`CredentialError::EncryptionFailed`] if the source fails; `out` is not to be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
        getrandom::fill(out).map_err(|_| {
            CredentialError::encryption_failed(
                "the operating system gave no random bytes; check that getrandom or /dev/urandom is allowed in this sandbox",
            )
        })
    }
}

/// What a seal needs that nobody else knows; wiped on drop.
pub(crate) struct Fresh {
    /// The data key.
    pub(crate) dek: [u8; KEY_LEN],
    /// The salt of the payload; public.
    pub(crate) salt: [u8; SALT_LEN],
    /// The salt of the wrapped data key; public.
    pub(crate) wrap_salt: [u8; SALT_LEN],
}

impl Fresh {
    /// All zero, to be filled by [`hedged`].
    pub(crate) const fn empty() -> Self {
        Self {
            dek: [0; KEY_LEN],
            salt: [0; SALT_LEN],
            wrap_salt: [0; SALT_LEN],
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.dek.zeroize();
    }
}

/// Draws a data key and salts that differ for different secrets or contexts even if `entropy`
/// repeats itself, as it does in two clones of one virtual machine.
///
/// `(dek, salt, wrap_salt) = keyed-BLAKE3(hedge_key, random 64 ‖ context ‖ H(secret))`.
///
/// # Errors
///
/// Those of `entropy`.
pub(crate) fn hedged(
    entropy: &dyn Entropy,
    hedge_key: &[u8; KEY_LEN],
    context: &AadDigest,
    secret: &[u8],
    out: &mut Fresh,
) -> Result<(), CredentialError> {
    let mut random = Zeroizing::new([0; 64]);
    entropy.fill(random.as_mut_slice())?;
    let mut hasher = blake3::Hasher::new_keyed(hedge_key);
    hasher.update(random.as_slice());
    hasher.update(context.as_bytes());
    hasher.update(blake3::keyed_hash(hedge_key, secret).as_bytes());
    let mut reader = hasher.finalize_xof();
    reader.fill(&mut out.dek);
    reader.fill(&mut out.salt);
    reader.fill(&mut out.wrap_salt);
    reader.zeroize();
    hasher.zeroize();
    Ok(())
}
