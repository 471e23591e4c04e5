//! AES-256-GCM under a key that serves one message: two libraries, the same bytes.

use super::{KEY_LEN, TAG_LEN};

/// Bytes of the AES-GCM nonce.
pub(super) const NONCE_LEN: usize = 12;

/// The library that runs AES-256-GCM. All of them read and write the same bytes.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Backend {
    /// The `aes-gcm` crate: pure Rust, built with its `zeroize` feature.
    #[cfg_attr(not(feature = "aws-lc-rs"), default)]
    RustCrypto,
    /// AWS-LC through `aws-lc-rs`: two to three times as fast, and in use when the feature is on.
    #[cfg(feature = "aws-lc-rs")]
    #[default]
    AwsLc,
}

/// Bytes of stack below the caller within which sealing and opening under a key ring leave their traces, to be
/// overwritten by [`scrub_stack_to`](nebula_credential_memory::scrub_stack_to). `tests/stack.rs` proves for the processor
/// it runs on that nothing lies deeper: on x86-64 with AVX-512 they reach 9.3 KiB down with `aes-gcm` and 5.0 KiB with
/// AWS-LC.
pub(crate) const STACK_REACH: usize = if cfg!(feature = "aws-lc-rs") { 8 } else { 12 } * 1024;

/// The AEAD refused; it says no more than that.
#[derive(Debug)]
pub(crate) struct Refused;

impl Backend {
    /// Enciphers `buffer` in place. After an error `buffer` holds nothing of use and must be wiped.
    pub(crate) fn seal(
        self,
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        match self {
            Self::RustCrypto => rust_crypto::seal(key, nonce, aad, buffer, tag),
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => aws_lc::seal(key, nonce, aad, buffer, tag),
        }
    }

    /// Deciphers `buffer` in place. After an error `buffer` must be wiped unread.
    pub(crate) fn open(
        self,
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        match self {
            Self::RustCrypto => rust_crypto::open(key, nonce, aad, buffer, tag),
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => aws_lc::open(key, nonce, aad, buffer, tag),
        }
    }
}

mod rust_crypto {
    use aes_gcm::aead::inout::InOutBuf;
    use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

    use super::{KEY_LEN, NONCE_LEN, Refused, TAG_LEN};

    // The cipher's round keys and GHASH key are wiped when it drops: `aes-gcm` from 0.11.1 with
    // `zeroize`; `_assert_wiped` fails to compile if that feature is lost.
    const fn _assert_wiped<T: zeroize::ZeroizeOnDrop>() {}
    const _: () = _assert_wiped::<Aes256Gcm>();

    pub(super) fn seal(
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let cipher = Aes256Gcm::new(key.into());
        let found = cipher
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer))
            .map_err(|_| Refused)?;
        tag.copy_from_slice(&found);
        Ok(())
    }

    pub(super) fn open(
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let cipher = Aes256Gcm::new(key.into());
        cipher
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer), tag.into())
            .map_err(|_| Refused)
    }
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{KEY_LEN, NONCE_LEN, Refused, TAG_LEN};

    // AWS-LC wipes the key schedule when the key drops (`EVP_AEAD_CTX_free`).
    fn prepare(key: &[u8; KEY_LEN]) -> Result<LessSafeKey, Refused> {
        UnboundKey::new(&AES_256_GCM, key)
            .map(LessSafeKey::new)
            .map_err(|_| Refused)
    }

    pub(super) fn seal(
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let found = prepare(key)?
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buffer)
            .map_err(|_| Refused)?;
        match found.as_ref().try_into() {
            Ok(bytes) => *tag = bytes,
            Err(_) => return Err(Refused),
        }
        Ok(())
    }

    pub(super) fn open(
        key: &[u8; KEY_LEN],
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        prepare(key)?
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, buffer)
            .map(|_| ())
            .map_err(|_| Refused)
    }
}
