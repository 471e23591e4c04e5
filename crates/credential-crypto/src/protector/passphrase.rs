use std::path::Path;

use nebula_credential_core::{CredentialError, DataKey, ExposeSecret as _, SecretString};
use nebula_credential_fs::read_private_file;
use nebula_credential_memory::scrub_stack;
use zeroize::{Zeroize, Zeroizing};

use super::private::Wrap;
use super::{KeyFile, Protector, SlotContext, SlotKind, WrappedRoot, open_root, seal_root};
use crate::bytes::{Malformed, Reader};
use crate::primitive::{KEY_LEN, passphrase};
use crate::{Argon2Params, Entropy};

/// Bytes of an Argon2 salt.
const ARGON2_SALT_LEN: usize = 32;
/// Three numbers and the salt.
const PARAMS_LEN: usize = 3 * 4 + ARGON2_SALT_LEN;

/// Longest passphrase, in bytes, read from a file.
const FILE_BYTES: usize = 4096;

/// A passphrase as a protector.
#[derive(Debug)]
pub struct Passphrase {
    text: SecretString,
    params: Argon2Params,
}

impl Passphrase {
    /// The passphrase `text`. A slot made with it costs [`Argon2Params::DEFAULT`] to open.
    pub fn new(text: impl Into<SecretString>) -> Self {
        Self {
            text: text.into(),
            params: Argon2Params::DEFAULT,
        }
    }

    /// Reads the passphrase from a file of mode 0600; one line end after it is left out.
    ///
    /// # Errors
    /// [`CredentialError::KeyNotFound`] when there is none; [`CredentialError::InsecureStorage`] when others can read
    /// it; [`CredentialError::Unlock`] when it is empty or no UTF-8 text; [`CredentialError::LimitExceeded`] beyond
    /// 4096 bytes.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        let path = path.as_ref();
        let bytes = read_private_file(path, FILE_BYTES)?.ok_or_else(|| {
            CredentialError::key_not_found(format!(
                "there is no passphrase file {path:?}; give the path it was moved to, or write it there with mode 0600"
            ))
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            CredentialError::unlock_failed(
                "the passphrase file does not hold UTF-8 text; save it again as one line",
            )
        })?;
        let line = text
            .strip_suffix('\n')
            .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.is_empty() {
            return Err(CredentialError::unlock_failed(format!(
                "the passphrase file {path:?} is empty; write the passphrase into it as one line"
            )));
        }
        Ok(Self::new(Box::<str>::from(line)))
    }

    /// How many characters it has, for whoever refuses a new one that is too short.
    pub fn chars(&self) -> usize {
        self.text.expose_secret().chars().count()
    }

    /// Other costs for slots made with it. Existing slots keep theirs.
    #[must_use]
    pub fn with_params(mut self, params: Argon2Params) -> Self {
        self.params = params;
        self
    }

    fn derive(&self, stored: &Stored, out: &mut [u8; KEY_LEN]) -> Result<(), CredentialError> {
        passphrase::derive(
            self.text.expose_secret().as_bytes(),
            &stored.salt,
            stored.params,
            out,
        )
    }

    fn fresh(&self, entropy: &dyn Entropy) -> Result<Stored, CredentialError> {
        if self.text.expose_secret().is_empty() {
            return Err(CredentialError::validation(
                "the passphrase is empty; choose one of at least four random words",
            ));
        }
        let mut salt = [0; ARGON2_SALT_LEN];
        entropy.fill(&mut salt)?;
        Ok(Stored {
            params: self.params,
            salt,
        })
    }
}

impl Protector for Passphrase {
    fn kind(&self) -> SlotKind {
        SlotKind::Passphrase
    }
}

impl Wrap for Passphrase {
    fn wrap(
        &self,
        root: &DataKey,
        context: &SlotContext,
        entropy: &dyn Entropy,
    ) -> Result<WrappedRoot, CredentialError> {
        let stored = self.fresh(entropy)?;
        with_key(
            |key| self.derive(&stored, key),
            |key| seal_root(key, root, context, stored.encode(), entropy),
        )
    }

    fn unwrap(&self, wrapped: &WrappedRoot, context: &SlotContext) -> Result<DataKey, CredentialError> {
        let stored = Stored::decode(&wrapped.params)?;
        with_key(
            |key| self.derive(&stored, key),
            |key| open_root(key, wrapped, context),
        )
    }
}

/// A passphrase and a key file: neither opens the ring alone.
#[derive(Debug)]
pub struct PassphraseAndKeyFile {
    passphrase: Passphrase,
    key_file: KeyFile,
}

impl PassphraseAndKeyFile {
    /// Both, as one protector.
    pub fn new(passphrase: Passphrase, key_file: KeyFile) -> Self {
        Self { passphrase, key_file }
    }

    /// Argon2id's output and the key of the file become one key; both are of fixed length.
    fn derive(&self, stored: &Stored, out: &mut [u8; KEY_LEN]) -> Result<(), CredentialError> {
        self.passphrase.derive(stored, out)?;
        let mut hasher = blake3::Hasher::new_derive_key(
            "nebula-credential 2026-11 passphrase and key file to slot key v1",
        );
        hasher.update(out.as_slice());
        hasher.update(self.key_file.key());
        let mut reader = hasher.finalize_xof();
        reader.fill(out);
        reader.zeroize();
        hasher.zeroize();
        Ok(())
    }
}

impl Protector for PassphraseAndKeyFile {
    fn kind(&self) -> SlotKind {
        SlotKind::PassphraseAndKeyFile
    }
}

impl Wrap for PassphraseAndKeyFile {
    fn wrap(
        &self,
        root: &DataKey,
        context: &SlotContext,
        entropy: &dyn Entropy,
    ) -> Result<WrappedRoot, CredentialError> {
        let stored = self.passphrase.fresh(entropy)?;
        with_key(
            |key| self.derive(&stored, key),
            |key| seal_root(key, root, context, stored.encode(), entropy),
        )
    }

    fn unwrap(&self, wrapped: &WrappedRoot, context: &SlotContext) -> Result<DataKey, CredentialError> {
        let stored = Stored::decode(&wrapped.params)?;
        with_key(
            |key| self.derive(&stored, key),
            |key| open_root(key, wrapped, context),
        )
    }
}

/// Uses the key that `derive` writes, and leaves no trace of it.
fn with_key<T>(
    derive: impl FnOnce(&mut [u8; KEY_LEN]) -> Result<(), CredentialError>,
    using: impl FnOnce(&[u8; KEY_LEN]) -> Result<T, CredentialError>,
) -> Result<T, CredentialError> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    derive(&mut key)?;
    let result = using(&key);
    scrub_stack();
    result
}

/// What a slot says about its passphrase.
pub(crate) struct Stored {
    params: Argon2Params,
    salt: [u8; ARGON2_SALT_LEN],
}

impl Stored {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PARAMS_LEN);
        for number in [
            self.params.memory_kib(),
            self.params.passes(),
            self.params.lanes(),
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.salt);
        out
    }

    /// Reads and bounds the parameters; no key derivation happens here.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] above the ceiling, [`CredentialError::Validation`] below the floor,
    /// [`CredentialError::Tampered`] for another layout.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let mut reader = Reader::new(bytes);
        let mut fields = || -> Result<_, Malformed> {
            let fields = (reader.u32()?, reader.u32()?, reader.u32()?, reader.array()?);
            reader.finish().map(|()| fields)
        };
        let (memory, passes, lanes, salt) = fields().map_err(|_| CredentialError::Tampered)?;
        let params = Argon2Params::new(memory, passes, lanes).map_err(|error| match error {
            CredentialError::LimitExceeded { .. } => error,
            _ => CredentialError::validation(
                "a passphrase slot of the key ring was weakened: its Argon2 parameters are below the floor; \
                 restore the key ring from a backup",
            ),
        })?;
        Ok(Self { params, salt: *salt })
    }
}
