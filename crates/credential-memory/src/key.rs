use std::fmt;

use nebula_credential_core::CredentialError;
use zeroize::Zeroize;

use crate::arena::Slot;

/// Bytes in a [`LockedKey`]: the key length of AES-256, BLAKE3 and every other primitive used here.
pub const KEY_LEN: usize = 32;

/// What the operating system granted for the page a key lies in.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protection {
    /// The page is locked into RAM and is never written to swap.
    ///
    /// `false` when `RLIMIT_MEMLOCK` is used up or the platform has no page locks.
    pub locked: bool,
    /// The page is left out of core dumps.
    pub dump_excluded: bool,
}

impl Protection {
    /// What a key made now would be granted: for checks at the start of a program.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] when no memory can be mapped.
    pub fn of_new_keys() -> Result<Self, CredentialError> {
        Slot::take().map(|slot| slot.protection())
    }
}

/// A 256-bit key in locked memory, wiped on drop.
///
/// Share one behind an `Arc`; there is no way to copy it except through [`expose`](Self::expose):
///
/// ```compile_fail,E0599
/// # use nebula_credential_memory::LockedKey;
/// let key = LockedKey::generate().unwrap();
/// let copy = key.clone();
/// ```
pub struct LockedKey(Slot);

impl LockedKey {
    /// A fresh key, written by the operating system's random source straight into its place.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] when no memory can be mapped or no randomness is to be had.
    pub fn generate() -> Result<Self, CredentialError> {
        Self::init(|bytes| {
            getrandom::fill(bytes).map_err(|_| {
                CredentialError::unavailable(
                    "the operating system gave no random bytes; check that getrandom(2) or /dev/urandom is permitted",
                )
            })
        })
    }

    /// Moves a key into locked memory: `source` is zero afterwards, also when this fails.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] when no memory can be mapped.
    pub fn from_bytes(source: &mut [u8; KEY_LEN]) -> Result<Self, CredentialError> {
        let key = Self::init(|bytes| {
            bytes.copy_from_slice(source);
            Ok(())
        });
        source.zeroize();
        key
    }

    /// Lets `write` derive or decrypt a key straight into its place, which starts as zeros.
    ///
    /// # Errors
    ///
    /// Those of `write`, after which what it wrote is wiped; [`CredentialError::Unavailable`] when
    /// no memory can be mapped.
    pub fn init<F>(write: F) -> Result<Self, CredentialError>
    where
        F: FnOnce(&mut [u8; KEY_LEN]) -> Result<(), CredentialError>,
    {
        let mut slot = Slot::take()?;
        write(slot.bytes_mut())?;
        Ok(Self(slot))
    }

    /// The key. Whoever copies it answers for the copy.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.bytes()
    }

    /// What the operating system granted for this key.
    pub fn protection(&self) -> Protection {
        self.0.protection()
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedKey([REDACTED])")
    }
}
