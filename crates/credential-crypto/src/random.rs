//! Randomness from the operating system, and data keys that survive its failure.

use std::cell::RefCell;
use std::fmt;

use nebula_credential_core::CredentialError;
use nebula_credential_memory::LockedKey;
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use zeroize::Zeroize;

use crate::primitive::{KEY_LEN, SALT_LEN, Subkey, Suite, subkey};

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

/// Bytes a thread asks of the operating system at a time: one system call for 16 seals.
const POOL_LEN: usize = 512;

/// The operating system's generator, read ahead: no system call per draw on average.
///
/// For [`HedgeKey::draw`] only. A `fork` or the snapshot of a virtual machine copies what was read
/// ahead, and both copies will hand out the same bytes. The hedge makes that harmless: equal bytes
/// give equal keys only for the same secret in the same context, which is the same message. Nor
/// does the pool need locked memory: its bytes are of no use without the hedge's keys.
///
/// Each byte is handed out once and wiped as it leaves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PooledEntropy;

struct Pool {
    bytes: [u8; POOL_LEN],
    left: usize,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.bytes.as_mut_slice().zeroize();
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_LEN], left: 0 }) };
}

impl Pool {
    /// Moves the last bytes out; `false` if there are not enough.
    fn take(&mut self, out: &mut [u8]) -> bool {
        let Some(start) = self.left.checked_sub(out.len()) else {
            return false;
        };
        let Some(taken) = self.bytes.get_mut(start..self.left) else {
            return false;
        };
        out.copy_from_slice(taken);
        taken.zeroize();
        self.left = start;
        true
    }

    fn draw(&mut self, out: &mut [u8]) -> Result<(), CredentialError> {
        if self.take(out) {
            return Ok(());
        }
        self.left = 0;
        OsEntropy.fill(&mut self.bytes)?;
        self.left = POOL_LEN;
        if self.take(out) {
            Ok(())
        } else {
            OsEntropy.fill(out)
        }
    }
}

impl Entropy for PooledEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
        // The pool is out of reach while its thread winds down.
        POOL.try_with(|pool| pool.try_borrow_mut().ok().map(|mut pool| pool.draw(out)))
            .ok()
            .flatten()
            .unwrap_or_else(|| OsEntropy.fill(out))
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
/// t                    = POLYVAL(hash_key, context, secret, both lengths)
/// dek, salt, wrap_salt = keyed-BLAKE3(prf_key, random 32 ‖ t 16)
/// ```
///
/// With a sound source the 32 random bytes alone make the output unpredictable, even to those who
/// know the keys. With a source that repeats, POLYVAL is a universal hash under a secret key that
/// only this use has: two inputs of n 16-byte blocks agree in `t` with probability at most
/// (n + 1) / 2^128, whatever they are, and the pseudorandom function hides `t`. POLYVAL (RFC 8452) takes 140 ns
/// for 1 KiB where BLAKE3 takes 810.
pub struct HedgeKey {
    prf: LockedKey,
    hash: LockedKey,
}

impl HedgeKey {
    /// The hedge of a key ring, or of any other root key.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] if no memory can be mapped.
    pub fn derive(root: &[u8; KEY_LEN]) -> Result<Self, CredentialError> {
        let derive = |which| {
            LockedKey::init(|out| {
                // No part of the format, hence the same in every suite.
                subkey(Suite::Blake3Aes256Gcm, root, which, out)
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
    #[inline(never)]
    pub fn draw(
        &self,
        entropy: &dyn Entropy,
        context: &[u8],
        secret: &[u8],
        out: &mut Fresh,
    ) -> Result<(), CredentialError> {
        let mut block = [0; 48];
        let (random, tag) = block.split_at_mut(32);
        entropy.fill(random)?;
        tag.copy_from_slice(&self.hash(context, secret));
        let mut okm = [0; 128];
        blake3::Hasher::new_keyed(self.prf.expose())
            .update(&block)
            .finalize_xof()
            .fill(&mut okm);
        for (to, from) in [&mut out.dek, &mut out.salt, &mut out.wrap_salt]
            .into_iter()
            .zip(okm.as_chunks().0)
        {
            *to = *from;
        }
        okm.as_mut_slice().zeroize();
        block.as_mut_slice().zeroize();
        Ok(())
    }

    /// POLYVAL as AES-GCM-SIV feeds it: each part padded to whole blocks, then both lengths.
    fn hash(&self, context: &[u8], secret: &[u8]) -> [u8; 16] {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(self.hash.expose()) {
            *to = *from;
        }
        let mut hash = Polyval::new(&key.into());
        key.as_mut_slice().zeroize();
        hash.update_padded(context);
        hash.update_padded(secret);
        let lengths = ((context.len() as u128) << 64) | secret.len() as u128;
        hash.update(&[lengths.to_be_bytes().into()]);
        hash.finalize().into()
    }
}

impl fmt::Debug for HedgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HedgeKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::{Entropy, HedgeKey, POOL, POOL_LEN, Pool, PooledEntropy};

    #[test]
    fn every_byte_read_ahead_is_handed_out_once_and_wiped() {
        let mut pool = Pool {
            bytes: [0; POOL_LEN],
            left: POOL_LEN,
        };
        for (at, byte) in pool.bytes.iter_mut().enumerate() {
            *byte = 1 + (at / 32) as u8;
        }
        let mut out = [0; 32];
        for expected in (1..=(POOL_LEN / 32) as u8).rev() {
            assert!(pool.take(&mut out));
            assert_eq!(out, [expected; 32]);
            assert!(pool.bytes.iter().skip(pool.left).all(|byte| *byte == 0));
        }
        assert!(!pool.take(&mut out), "empty");
        pool.left = 31;
        assert!(!pool.take(&mut out), "too little left");
        assert_eq!(pool.left, 31);
    }

    #[test]
    fn the_pool_refills_and_serves_what_it_cannot_hold() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let mut out = [0_u8; 32];
            PooledEntropy.fill(&mut out).unwrap();
            assert!(seen.insert(out.to_vec()));
        }
        let mut large = vec![0_u8; 4 * POOL_LEN];
        PooledEntropy.fill(&mut large).unwrap();
        assert!(large.chunks(32).all(|chunk| seen.insert(chunk.to_vec())));
        // Nested use, as from a signal handler's point of view, falls back to the system.
        POOL.with_borrow_mut(|_| PooledEntropy.fill(&mut large).unwrap());
        assert!(large.chunks(32).all(|chunk| seen.insert(chunk.to_vec())));
    }

    #[test]
    fn threads_do_not_share_what_they_read_ahead() {
        let draw = || {
            let mut out = [0; 32];
            PooledEntropy.fill(&mut out).unwrap();
            out
        };
        let here = draw();
        assert_ne!(std::thread::spawn(draw).join().unwrap(), here);
    }

    #[test]
    fn a_hedge_shows_nothing_of_itself() {
        assert_eq!(
            format!("{:?}", HedgeKey::derive(&[1; 32]).unwrap()),
            "HedgeKey([REDACTED])"
        );
    }
}
