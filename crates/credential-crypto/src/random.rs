//! Randomness from the operating system, and data keys that survive its failure.

use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use nebula_credential_core::CredentialError;
use nebula_credential_memory::LockedKey;
use zeroize::{Zeroize, Zeroizing};

use crate::primitive::{KEY_LEN, SALT_LEN, Subkey, subkey};

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
pub struct Fresh {
    /// The data key.
    pub dek: [u8; KEY_LEN],
    /// The salt of the payload; public.
    pub salt: [u8; SALT_LEN],
    /// The salt of the wrapped data key; public.
    pub wrap_salt: [u8; SALT_LEN],
}

impl Fresh {
    /// All zero, to be filled by [`HedgeKey::draw`].
    pub const fn empty() -> Self {
        Self {
            dek: [0; KEY_LEN],
            salt: [0; SALT_LEN],
            wrap_salt: [0; SALT_LEN],
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.dek.as_mut_slice().zeroize();
    }
}

/// Hedges the randomness of sealing: data keys and salts differ for different secrets or contexts
/// even if the random source repeats itself, as it does in two clones of one virtual machine.
///
/// ```text
/// t                    = GHASH(hash_key, secret, length of secret)
/// dek, salt, wrap_salt = keyed-BLAKE3(prf_key, random 32 ‖ t 16 ‖ context)
/// ```
///
/// With a sound source the 32 random bytes alone make the output unpredictable, to those who know
/// the keys too. With a source that repeats, GHASH is a universal hash under a secret key that
/// only this use has: two secrets of n 16-byte blocks agree in `t` with probability (n + 1) / 2^128,
/// whatever the secrets, and the pseudorandom function hides `t`. It takes 190 ns for 1 KiB where
/// BLAKE3 takes 810.
pub struct HedgeKey {
    prf: LockedKey,
    hash: LockedKey,
}

impl HedgeKey {
    /// The hedge of a key ring, or of any other root key.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] if no locked memory can be had.
    pub fn derive(root: &[u8; KEY_LEN]) -> Result<Self, CredentialError> {
        let derive = |which| {
            LockedKey::init(|out| {
                subkey(root, which, out);
                Ok(())
            })
        };
        Ok(Self {
            prf: derive(Subkey::Hedge)?,
            hash: derive(Subkey::HedgeHash)?,
        })
    }

    /// Draws a data key and salts for `secret` in `context` into `out`.
    ///
    /// # Errors
    ///
    /// Those of `entropy`.
    pub fn draw(
        &self,
        entropy: &dyn Entropy,
        context: &[u8],
        secret: &[u8],
        out: &mut Fresh,
    ) -> Result<(), CredentialError> {
        let mut random = Zeroizing::new([0; 32]);
        entropy.fill(random.as_mut_slice())?;
        let tag = self.hash(secret);
        let mut okm = [0; 128];
        let mut hasher = blake3::Hasher::new_keyed(self.prf.expose());
        hasher.update(random.as_slice()).update(&tag).update(context);
        hasher.finalize_xof().fill(&mut okm);
        for (to, from) in [&mut out.dek, &mut out.salt, &mut out.wrap_salt]
            .into_iter()
            .zip(okm.as_chunks::<32>().0)
        {
            *to = *from;
        }
        okm.as_mut_slice().zeroize();
        Ok(())
    }

    fn hash(&self, secret: &[u8]) -> [u8; 16] {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(self.hash.expose()) {
            *to = *from;
        }
        let mut hash = GHash::new(&key.into());
        key.as_mut_slice().zeroize();
        hash.update_padded(secret);
        let mut length = [0; 16];
        for (to, from) in length.iter_mut().zip((secret.len() as u64).to_be_bytes()) {
            *to = from;
        }
        hash.update(&[length.into()]);
        hash.finalize().into()
    }
}
