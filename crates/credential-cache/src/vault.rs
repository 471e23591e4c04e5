//! Values at rest in memory: sealed under a key of this process that lies in a locked, non-dumpable page.

use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use nebula_credential_core::{CredentialError, Plaintext};
use nebula_credential_memory::{Locked, LockedKey, scrub_stack_to};
use zeroize::{Zeroize, Zeroizing};

use crate::key::{AAD_LEN, Key, aad};

/// Bytes of the AES-GCM nonce.
const NONCE_LEN: usize = 12;

/// Bytes of the AES-GCM tag.
const TAG_LEN: usize = 16;

/// Bytes of stack below the caller within which the cipher leaves its traces. `reach` proves for the processor it runs on
/// that nothing lies deeper: on x86-64 with AVX-512 they reach 9.8 KiB down.
const STACK_REACH: usize = 12 * 1024;

/// Seals values under a key that nobody else has and that ends with the vault.
pub(crate) struct Vault {
    /// With its key schedule, of which the first two round keys are the key.
    cipher: Locked<Aes256Gcm>,
    /// Counts the values that were sealed: no nonce is used twice under the one key.
    sealed: AtomicU64,
}

/// A sealed value.
pub(crate) struct SealedValue {
    nonce: [u8; NONCE_LEN],
    tag: [u8; TAG_LEN],
    bytes: Vec<u8>,
}

impl SealedValue {
    /// Bytes of the value.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Drop for SealedValue {
    fn drop(&mut self) {
        self.bytes.as_mut_slice().zeroize();
    }
}

// The cipher's round keys and GHASH key are wiped when it drops: `aes-gcm` with `zeroize`.
const fn _assert_wiped<T: zeroize::ZeroizeOnDrop>() {}
const _: () = _assert_wiped::<Aes256Gcm>();

impl Vault {
    pub(crate) fn new() -> Result<Self, CredentialError> {
        let key = LockedKey::generate()?;
        Ok(Self {
            cipher: Locked::new(|| Aes256Gcm::new(key.expose().into()))?,
            sealed: AtomicU64::new(0),
        })
    }

    /// Seals a copy of `value` for `key` under `epoch`.
    pub(crate) fn seal(&self, key: &Key, epoch: u64, value: &Plaintext) -> Option<SealedValue> {
        let mut space = [0; AAD_LEN];
        let aad = aad(key, epoch, &mut space)?;
        let nonce = nonce(self.sealed.fetch_add(1, Ordering::Relaxed));
        // Wiped on every way out; its capacity is its length, so that nothing is cut off from it.
        let mut bytes = Zeroizing::new(value.expose().to_vec());
        let tag = self.encrypt(&nonce, aad, &mut bytes);
        scrub_stack_to::<STACK_REACH>();
        Some(SealedValue {
            nonce,
            tag: tag?,
            bytes: std::mem::take(&mut *bytes),
        })
    }

    /// Opens what was sealed for `key` under `epoch`; `None` if it was not, or is damaged.
    pub(crate) fn open(&self, key: &Key, epoch: u64, sealed: &SealedValue) -> Option<Plaintext> {
        let mut space = [0; AAD_LEN];
        let aad = aad(key, epoch, &mut space)?;
        let mut bytes = Zeroizing::new(sealed.bytes.clone());
        let opened = self.decrypt(sealed, aad, &mut bytes);
        scrub_stack_to::<STACK_REACH>();
        opened.map(|()| Plaintext::new(std::mem::take(&mut *bytes)))
    }

    // Frames of their own, below the one that scrubs.
    #[inline(never)]
    fn encrypt(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], bytes: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        self.cipher
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(bytes))
            .ok()
            .map(Into::into)
    }

    #[inline(never)]
    fn decrypt(&self, sealed: &SealedValue, aad: &[u8], bytes: &mut [u8]) -> Option<()> {
        self.cipher
            .decrypt_inout_detached(
                (&sealed.nonce).into(),
                aad,
                InOutBuf::from(bytes),
                (&sealed.tag).into(),
            )
            .ok()
    }
}

fn nonce(number: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    for (to, from) in nonce.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    nonce
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod reach;

#[cfg(test)]
mod tests {
    use nebula_credential_core::{CredentialName, CredentialRef, Scope, TenantId, Version};

    use super::*;

    fn id(scope: &str, name: &str) -> CredentialRef {
        CredentialRef::new(
            TenantId::default(),
            Scope::new(scope).unwrap(),
            CredentialName::new(name).unwrap(),
        )
    }

    #[test]
    fn a_value_opens_under_its_own_key_and_epoch_alone() {
        let vault = Vault::new().unwrap();
        let key = Key::latest(&id("global", "db"));
        let locked = vault.seal(&key, 3, &Plaintext::new(b"hunter2".to_vec())).unwrap();
        assert_eq!(vault.open(&key, 3, &locked).unwrap().expose(), b"hunter2");
        let others = [
            Key::latest(&id("global", "db2")),
            Key::latest(&id("globald", "b")),
            Key::exact(&id("global", "db"), Version::FIRST),
        ];
        for other in others {
            assert!(vault.open(&other, 3, &locked).is_none(), "{other:?}");
        }
        assert!(vault.open(&key, 4, &locked).is_none());
        assert!(Vault::new().unwrap().open(&key, 3, &locked).is_none());
    }

    #[test]
    fn what_rests_is_not_the_value_and_damage_shows() {
        let vault = Vault::new().unwrap();
        let longest = "a".repeat(128);
        let key = Key::latest(&id(&longest, &longest));
        for length in [0, 1, 15, 16, 17, 4096] {
            let value = Plaintext::new(vec![b'x'; length]);
            let mut locked = vault.seal(&key, u64::MAX, &value).unwrap();
            assert!(length < 15 || !locked.bytes.windows(15).any(|part| part == [b'x'; 15]));
            assert_eq!(
                vault.open(&key, u64::MAX, &locked).unwrap().expose(),
                value.expose()
            );
            locked.tag[0] ^= 1;
            assert!(vault.open(&key, u64::MAX, &locked).is_none());
        }
    }

    #[test]
    fn no_two_values_share_a_nonce() {
        let vault = Vault::new().unwrap();
        let key = Key::latest(&id("global", "db"));
        let value = Plaintext::new(vec![0; 32]);
        let sealed: std::collections::BTreeSet<_> = (0..1000)
            .map(|_| vault.seal(&key, 0, &value).unwrap())
            .map(|locked| (locked.nonce, locked.bytes.clone()))
            .map(|(nonce, bytes)| {
                assert_ne!(bytes, [0; 32]);
                nonce
            })
            .collect();
        assert_eq!(sealed.len(), 1000);
    }
}
