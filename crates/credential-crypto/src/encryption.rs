//! Encryption under one key that the caller keeps: no store, no key ring, no rotation.

mod message;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use message::{Kind, Message, OVERHEAD_MAX};
use nebula_credential_core::limits::SECRET_BYTES_MAX;
use nebula_credential_core::{Credential, CredentialError, Plaintext, decode_credential, encode_credential};
use nebula_credential_memory::{LockedKey, scrub_stack};
use zeroize::Zeroize;

use crate::primitive::{
    Aad, Argon2Params, COMMITMENT_LEN, Label, Suite, open_in_place, passphrase, seal_in_place,
};
use crate::random::{Entropy, Fresh, HedgeKey, PooledEntropy};

/// Encrypts bytes and credentials under one key that the caller keeps.
///
/// Every message has its own AES-256-GCM key, derived from this one and a fresh salt, and commits
/// to it: there is no limit to the number of messages, and none opens under two keys.
/// The bytes name their format and suite. Use it for a file or a column of your own; a store with
/// versions, rotation and a key ring is what the manager is for.
///
/// The key lies in locked memory and is wiped on drop.
///
/// ```
/// use nebula_credential_crypto::CredentialEncryption;
///
/// # fn main() -> Result<(), nebula_credential_core::CredentialError> {
/// let mut key = [0; 32];
/// getrandom::fill(&mut key).expect("the system has randomness");
/// let encryption = CredentialEncryption::new(&key);
///
/// let sealed = encryption.encrypt(b"tok_live_51H8")?;
/// assert_eq!(encryption.decrypt(&sealed)?, b"tok_live_51H8");
/// assert!(CredentialEncryption::new(&[7; 32]).decrypt(&sealed).is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Format
///
/// | Bytes | Field |
/// |---|---|
/// | 8 | magic `89 4E 42 4D 0D 0A 1A 0A` |
/// | 1 | version, 1 |
/// | 2 | suite, big-endian ([`Suite::id`]) |
/// | 1 | kind: 1 bytes, 2 credential |
/// | 4 + 1 + n | credential only: schema version, big-endian; length and name of the type |
/// | 32 | salt |
/// | 32 | commitment |
/// | … | ciphertext |
/// | 16 | tag |
///
/// Everything before the salt is the context. With `info = 07 ‖ context`, the AES key (32 bytes),
/// nonce (12) and commitment (32) follow each other in the output of
///
/// - suite 1: BLAKE3 keyed with the caller's key, over `salt ‖ info`;
/// - suite 2: HKDF-SHA-512 of the caller's key with that salt and, as info,
///   `"nebula-credential message key v1" ‖ info`;
///
/// and the ciphertext is AES-256-GCM without associated data. A reader compares the commitment,
/// in constant time, before it deciphers.
pub struct CredentialEncryption {
    /// An error of the machine, kept because [`new`](Self::new) has no way to return it.
    keys: Result<Keys, CredentialError>,
    suite: Suite,
}

struct Keys {
    key: LockedKey,
    hedge: HedgeKey,
}

impl CredentialEncryption {
    /// Encrypts under `master_key`, which should come from a random source; see
    /// [`from_password`](Self::from_password) for one that does not.
    ///
    /// The caller wipes its own copy of the key. If the operating system has no page of memory left
    /// to hold it, every later call returns [`CredentialError::Unavailable`].
    pub fn new(master_key: &[u8; 32]) -> Self {
        Self::holding(LockedKey::init(|out| {
            *out = *master_key;
            Ok(())
        }))
    }

    /// Derives the key from `password` with Argon2id at [`Argon2Params::DEFAULT`]: 64 MiB, 3
    /// passes, 4 lanes.
    ///
    /// `salt` is not secret; draw it at random once and keep it beside what is encrypted. This
    /// blocks for a third of a second, one derivation at a time in the process.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Validation`] if the password is empty; [`CredentialError::Unlock`] if
    /// the memory cannot be had.
    pub fn from_password(password: &str, salt: &[u8; 16]) -> Result<Self, CredentialError> {
        Self::from_password_with(password, salt, Argon2Params::DEFAULT)
    }

    /// [`from_password`](Self::from_password) at another cost, which must be the same every time.
    ///
    /// # Errors
    ///
    /// As [`from_password`](Self::from_password).
    pub fn from_password_with(
        password: &str,
        salt: &[u8; 16],
        params: Argon2Params,
    ) -> Result<Self, CredentialError> {
        if password.is_empty() {
            return Err(CredentialError::validation("the password is empty; choose one"));
        }
        let key = LockedKey::init(|out| passphrase::derive(password.as_bytes(), salt, params, out))?;
        Ok(Self::holding(Ok(key)))
    }

    /// Encrypts with another suite; [`decrypt`](Self::decrypt) reads the suite from the bytes.
    #[must_use]
    pub fn with_suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    fn holding(key: Result<LockedKey, CredentialError>) -> Self {
        let keys = key.and_then(|key| {
            let hedge = HedgeKey::derive(key.expose())?;
            Ok(Keys { key, hedge })
        });
        scrub_stack();
        Self {
            keys,
            suite: Suite::default(),
        }
    }

    /// Encrypts `plaintext`; no two results are equal.
    ///
    /// # Errors
    ///
    /// [`CredentialError::EncryptionFailed`] if there is no randomness or `plaintext` exceeds the
    /// 64 GiB of AES-GCM.
    pub fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, CredentialError> {
        self.seal(Kind::Bytes, plaintext)
    }

    /// Decrypts what [`encrypt`](Self::encrypt) returned.
    ///
    /// The caller owns the plaintext and wipes it; [`decrypt_secret`](Self::decrypt_secret) returns
    /// one that wipes itself.
    ///
    /// # Errors
    ///
    /// [`CredentialError::DecryptionFailed`] if the key is another one or the bytes are damaged;
    /// [`CredentialError::UnsupportedFormat`] if a newer version wrote them.
    pub fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>, CredentialError> {
        let message = Message::parse(encrypted)?;
        match message.kind {
            Kind::Bytes => self.open(&message),
            Kind::Credential { .. } => Err(CredentialError::type_mismatch(
                "this is a credential; use decrypt_credential",
            )),
        }
    }

    /// [`decrypt`](Self::decrypt) into bytes that are wiped on drop and never shown.
    ///
    /// # Errors
    ///
    /// As [`decrypt`](Self::decrypt).
    pub fn decrypt_secret(&self, encrypted: &[u8]) -> Result<Plaintext, CredentialError> {
        self.decrypt(encrypted).map(Plaintext::new)
    }

    /// Encrypts a credential with the name of its type and its schema version, as base64.
    ///
    /// # Errors
    ///
    /// As [`encrypt`](Self::encrypt); [`CredentialError::SerializationFailed`] if the credential
    /// cannot be encoded, [`CredentialError::LimitExceeded`] if it takes more than
    /// [`SECRET_BYTES_MAX`].
    pub fn encrypt_credential<C: Credential>(&self, credential: &C) -> Result<String, CredentialError> {
        let encoded = encode_credential(credential, SECRET_BYTES_MAX)?;
        let kind = Kind::Credential {
            schema: C::schema_version(),
            name: C::credential_type(),
        };
        Ok(STANDARD.encode(self.seal(kind, encoded.expose())?))
    }

    /// Decrypts what [`encrypt_credential`](Self::encrypt_credential) returned.
    ///
    /// # Errors
    ///
    /// As [`decrypt`](Self::decrypt); [`CredentialError::TypeMismatch`] if it is a credential of
    /// another type, [`CredentialError::Parse`] if it is not base64.
    pub fn decrypt_credential<C: Credential>(&self, encrypted: &str) -> Result<C, CredentialError> {
        // Four characters per three bytes; checked before anything is allocated.
        let limit = (SECRET_BYTES_MAX + OVERHEAD_MAX).div_ceil(3) * 4;
        if encrypted.len() > limit {
            return Err(CredentialError::limit(
                "characters of an encrypted credential",
                limit,
                encrypted.len(),
            ));
        }
        let bytes = STANDARD.decode(encrypted).map_err(|_| {
            CredentialError::parse_error(
                "not standard base64; pass the text as it was returned, without line breaks",
            )
        })?;
        let message = Message::parse(&bytes)?;
        let Kind::Credential { schema, name } = message.kind else {
            return Err(CredentialError::type_mismatch(
                "this is not a credential; use decrypt",
            ));
        };
        let plaintext = Plaintext::new(self.open(&message)?);
        // Only now is the name known to be what was sealed, and safe to repeat.
        if name != C::credential_type() {
            return Err(CredentialError::type_mismatch(format!(
                "found a credential of type {name}, expected {}",
                C::credential_type()
            )));
        }
        decode_credential(&plaintext, schema)
    }

    fn keys(&self) -> Result<&Keys, CredentialError> {
        self.keys.as_ref().map_err(Clone::clone)
    }

    fn seal(&self, kind: Kind<'_>, plaintext: &[u8]) -> Result<Vec<u8>, CredentialError> {
        let result = self.seal_with(&PooledEntropy, kind, plaintext);
        scrub_stack();
        result
    }

    fn seal_with(
        &self,
        entropy: &dyn Entropy,
        kind: Kind<'_>,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, CredentialError> {
        let keys = self.keys()?;
        let mut out = Vec::with_capacity(OVERHEAD_MAX.saturating_add(plaintext.len()));
        message::begin(&mut out, self.suite, &kind)?;
        let context = out.len();

        // Only the salt of the draw is used: here the caller's key stands where a store has a
        // data key.
        let mut fresh = Fresh::empty();
        keys.hedge.draw(entropy, &out, plaintext, &mut fresh)?;
        out.extend_from_slice(&fresh.salt);
        let commitment = out.len();
        out.extend_from_slice(&[0; COMMITMENT_LEN]);
        out.extend_from_slice(plaintext);

        let (head, rest) = out.split_at_mut(commitment);
        let sealed = match (head.get(..context), rest.split_first_chunk_mut()) {
            (Some(context), Some((commitment, buffer))) => {
                let aad = Aad::new(context);
                let sealed = seal_in_place(
                    self.suite,
                    Label::Message,
                    keys.key.expose(),
                    &fresh.salt,
                    &aad,
                    buffer,
                )?;
                *commitment = sealed.commitment;
                sealed
            }
            _ => {
                out.as_mut_slice().zeroize();
                return Err(CredentialError::internal("the message's layout does not add up"));
            }
        };
        out.extend_from_slice(&sealed.tag);
        Ok(out)
    }

    fn open(&self, message: &Message<'_>) -> Result<Vec<u8>, CredentialError> {
        let keys = self.keys()?;
        let mut buffer = message.ciphertext.to_vec();
        let opened = open_in_place(
            message.suite,
            Label::Message,
            keys.key.expose(),
            message.salt,
            message.commitment,
            &Aad::new(message.context),
            &mut buffer,
            message.tag,
        );
        scrub_stack();
        match opened {
            Ok(()) => Ok(buffer),
            Err(_) => Err(CredentialError::decryption_failed(
                "the key or password is not the one it was encrypted with, or the bytes were changed; check both",
            )),
        }
    }
}

impl fmt::Debug for CredentialEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialEncryption")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{CredentialEncryption, CredentialError, Entropy, Kind, Message};

    struct Constant;

    impl Entropy for Constant {
        fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
            out.fill(0x5A);
            Ok(())
        }
    }

    #[test]
    fn a_constant_random_source_repeats_no_salt() {
        let encryption = CredentialEncryption::new(&[1; 32]);
        let mut salts = std::collections::HashSet::new();
        for number in 0..2000_u32 {
            for name in ["pin", "token"] {
                let kind = Kind::Credential { schema: 1, name };
                let sealed = encryption
                    .seal_with(&Constant, kind, &number.to_be_bytes())
                    .unwrap();
                salts.insert(*Message::parse(&sealed).unwrap().salt);
            }
        }
        assert_eq!(salts.len(), 4000);
    }
}
