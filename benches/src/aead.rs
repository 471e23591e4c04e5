//! Peers of sealing: AES-256-GCM as each library offers it, with nothing around it, and tink-rust's envelope.
//!
//! Each raw call builds the key schedule, copies the input into a buffer that is reused, and works in place, with 100
//! bytes of associated data. That is the least any design with a key for each record can do.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use nebula_credential_crypto::Backend;
use tink_core::Aead as _;

use crate::{Error, Result};

/// About as many bytes as an envelope binds.
const AAD: [u8; 100] = [0x61; 100];

/// A library that offers AES-256-GCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// `aes-gcm`.
    AesGcm,
    /// `ring`.
    Ring,
    /// `aws-lc-rs`.
    AwsLc,
}

impl Library {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::AesGcm, Self::Ring, Self::AwsLc];

    /// The one below this library in this build.
    pub fn ours() -> Self {
        match Backend::default() {
            Backend::RustCrypto => Self::AesGcm,
            _ => Self::AwsLc,
        }
    }

    /// The crate.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::Ring => "ring",
            Self::AwsLc => "aws-lc-rs",
        }
    }

    /// Seals in place under a fresh key schedule; returns the tag.
    ///
    /// # Errors
    /// Never, below 64 GiB.
    pub fn seal(self, key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> Result<[u8; 16]> {
        Ok(match self {
            Self::AesGcm => Aes256Gcm::new(key.into())
                .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer))
                .map_err(refused)?
                .into(),
            Self::Ring => {
                use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
                LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(refused)?)
                    .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), buffer)
                    .map_err(refused)?
                    .as_ref()
                    .try_into()?
            }
            Self::AwsLc => {
                use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
                LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(refused)?)
                    .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), buffer)
                    .map_err(refused)?
                    .as_ref()
                    .try_into()?
            }
        })
    }

    /// Opens in place under a fresh key schedule.
    ///
    /// # Errors
    /// When it was not sealed by [`seal`](Self::seal).
    pub fn open(
        self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut Vec<u8>,
        tag: &[u8; 16],
    ) -> Result<()> {
        match self {
            Self::AesGcm => Aes256Gcm::new(key.into())
                .decrypt_inout_detached(
                    nonce.into(),
                    aad,
                    InOutBuf::from(buffer.as_mut_slice()),
                    tag.into(),
                )
                .map_err(refused),
            Self::Ring => {
                use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
                // ring opens in place only with the tag behind the ciphertext.
                let length = buffer.len();
                buffer.extend_from_slice(tag);
                LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(refused)?)
                    .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), buffer)
                    .map_err(refused)?;
                buffer.truncate(length);
                Ok(())
            }
            Self::AwsLc => {
                use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
                LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(refused)?)
                    .open_in_place_separate_tag(
                        Nonce::assume_unique_for_key(*nonce),
                        Aad::from(aad),
                        tag,
                        buffer,
                    )
                    .map(|_| ())
                    .map_err(refused)
            }
        }
    }
}

/// Where a nonce comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonces {
    /// Always the same. Not secure: what sealing costs without randomness.
    Fixed,
    /// 12 bytes of the operating system for each message.
    Random,
}

/// A message as a raw library seals it.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The nonce.
    pub nonce: [u8; 12],
    /// The ciphertext without its tag.
    pub ciphertext: Vec<u8>,
    /// The tag.
    pub tag: [u8; 16],
}

/// One library with its reused buffer.
#[derive(Debug)]
pub struct Raw {
    library: Library,
    nonces: Nonces,
    key: [u8; 32],
    message: Message,
}

impl Raw {
    /// `library`, with the nonces of [`seal`](Self::seal) from `nonces`.
    pub fn new(library: Library, nonces: Nonces) -> Self {
        Self {
            library,
            nonces,
            key: std::hint::black_box([0x6b; 32]),
            message: Message::default(),
        }
    }

    /// Seals under a fresh key schedule.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<&Message> {
        let Message {
            nonce,
            ciphertext,
            tag,
        } = &mut self.message;
        ciphertext.clear();
        ciphertext.extend_from_slice(plaintext);
        if self.nonces == Nonces::Random {
            getrandom::fill(nonce).map_err(|_| "no randomness")?;
        }
        *tag = self.library.seal(&self.key, nonce, &AAD, ciphertext)?;
        Ok(&self.message)
    }

    /// Opens under a fresh key schedule.
    ///
    /// # Errors
    /// When it was not sealed by [`seal`](Self::seal).
    pub fn open(&mut self, nonce: &[u8; 12], ciphertext: &[u8], tag: &[u8; 16]) -> Result<&[u8]> {
        let buffer = &mut self.message.ciphertext;
        buffer.clear();
        buffer.extend_from_slice(ciphertext);
        self.library.open(&self.key, nonce, &AAD, buffer, tag)?;
        Ok(buffer)
    }
}

fn refused<E>(_: E) -> Error {
    "a raw library refused its own ciphertext".into()
}

/// tink-rust's `KmsEnvelopeAead` with AES-256-GCM data keys, over an AES-256-GCM key in this process in the place of a
/// KMS: the leanest it can be.
#[derive(Clone)]
pub struct Tink(tink_aead::KmsEnvelopeAead);

impl Tink {
    /// A key-encryption key and the envelope over it.
    ///
    /// # Errors
    /// Never, with a key of 32 bytes.
    pub fn new() -> Result<Self> {
        tink_aead::init();
        let kek = tink_aead::subtle::AesGcm::new(&[0x74; 32]).map_err(tink_refused)?;
        let dek = tink_aead::aes256_gcm_key_template();
        Ok(Self(tink_aead::KmsEnvelopeAead::new(dek, Box::new(kek))))
    }

    /// Seals.
    ///
    /// # Errors
    /// Those of tink.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        self.0.encrypt(plaintext, &AAD).map_err(tink_refused)
    }

    /// Opens.
    ///
    /// # Errors
    /// When it was not sealed by [`seal`](Self::seal).
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        self.0.decrypt(sealed, &AAD).map_err(tink_refused)
    }
}

fn tink_refused(_: tink_core::TinkError) -> Error {
    "tink refused its own ciphertext".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_do_the_work_they_are_timed_for() {
        let secret = [7; 300];
        for sealer in Library::ALL {
            let mut raw = Raw::new(sealer, Nonces::Random);
            let sealed = raw.seal(&secret).unwrap().clone();
            assert_ne!(sealed.ciphertext, secret);
            for opener in Library::ALL {
                let mut raw = Raw::new(opener, Nonces::Random);
                let opened = raw.open(&sealed.nonce, &sealed.ciphertext, &sealed.tag).unwrap();
                assert_eq!(opened[..300], secret);
                assert!(raw.open(&sealed.nonce, &sealed.ciphertext, &[0; 16]).is_err());
            }
        }
        let tink = Tink::new().unwrap();
        let sealed = tink.seal(&secret).unwrap();
        assert_eq!(tink.open(&sealed).unwrap(), secret);
        assert!(tink.open(&sealed[1..]).is_err());
    }
}
