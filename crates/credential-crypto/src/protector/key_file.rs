use std::ffi::OsStr;
use std::path::Path;

use nebula_credential_core::{CredentialError, DataKey};
use nebula_credential_fs::{CreateOutcome, PrivateDir, read_private_file};
use nebula_credential_memory::{LockedKey, scrub_stack};
use zeroize::Zeroizing;

use super::private::Wrap;
use super::{Protector, SlotContext, SlotKind, WrappedRoot, open_root, seal_root};
use crate::bytes::{Malformed, Reader};
use crate::primitive::KEY_LEN;
use crate::{Entropy, OsEntropy};

/// What a key file begins with, in the manner of [`ENVELOPE_MAGIC`](nebula_credential_core::ENVELOPE_MAGIC).
const MAGIC: [u8; 8] = [0x89, b'N', b'B', b'F', b'\r', b'\n', 0x1a, b'\n'];
const FORMAT_VERSION: u8 = 1;
/// The first bytes of the BLAKE3 hash of all before them: tells a damaged file from a wrong one.
const CHECK_LEN: usize = 8;
const FILE_LEN: usize = 8 + 1 + KEY_LEN + CHECK_LEN;

/// A file that holds a random 256-bit key, as a protector.
///
/// Keep it away from the store it protects: whoever copies both has everything. The caller chooses the place; the
/// file is mode 0600 in a directory of mode 0700.
#[derive(Debug)]
pub struct KeyFile(LockedKey);

impl KeyFile {
    /// Reads an existing key file.
    ///
    /// # Errors
    /// [`CredentialError::KeyNotFound`] when there is none; [`CredentialError::InsecureStorage`] when others can read
    /// it; [`CredentialError::DecryptionFailed`] when it is damaged; [`CredentialError::UnsupportedFormat`] when it is
    /// no key file or a newer one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        let path = path.as_ref();
        let bytes = read_private_file(path, FILE_LEN).map_err(|error| match error {
            CredentialError::LimitExceeded { .. } => foreign(),
            other => other,
        })?;
        match bytes {
            Some(bytes) => Self::decode(&bytes),
            None => Err(CredentialError::key_not_found(format!(
                "there is no key file at {path:?}; give the path it was moved to, or restore it from a backup"
            ))),
        }
    }

    /// Makes a key file, durably, in a directory that is private or new.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] when something exists there; [`CredentialError::InsecureStorage`],
    /// [`CredentialError::Storage`], [`CredentialError::OutcomeUnknown`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        let path = path.as_ref();
        match Self::create_new(path, &OsEntropy)? {
            Some(key) => Ok(key),
            None => Err(CredentialError::invalid_state(format!(
                "there is a file at {path:?} already; open it, or choose another path"
            ))),
        }
    }

    /// Reads the key file, or makes it if there is none. Says whether it is new.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<(Self, CreateOutcome), CredentialError> {
        let path = path.as_ref();
        match Self::open(path) {
            Err(CredentialError::KeyNotFound(_)) => {}
            found => return found.map(|key| (key, CreateOutcome::Exists)),
        }
        match Self::create_new(path, &OsEntropy)? {
            Some(key) => Ok((key, CreateOutcome::Created)),
            // Another process was faster.
            None => Self::open(path).map(|key| (key, CreateOutcome::Exists)),
        }
    }

    /// Reads a key file that was delivered by other means than a path: its whole content.
    ///
    /// # Errors
    /// [`CredentialError::DecryptionFailed`] or [`CredentialError::UnsupportedFormat`], as for [`open`](Self::open).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CredentialError> {
        Self::decode(bytes)
    }

    /// The key itself, wherever it was kept, as a protector; `key` is zero afterwards.
    ///
    /// It opens what a key file with this key opens. It must be random: a key that was typed is a
    /// [`Passphrase`](crate::Passphrase).
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`] without memory to hold it.
    pub fn from_key(key: &mut [u8; KEY_LEN]) -> Result<Self, CredentialError> {
        LockedKey::from_bytes(key).map(Self)
    }

    fn create_new(path: &Path, entropy: &dyn Entropy) -> Result<Option<Self>, CredentialError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
            return Err(CredentialError::invalid_name(
                "a key file needs a path that ends in a file name of plain text",
            ));
        };
        let key = LockedKey::init(|key| entropy.fill(key))?;
        let file = Self(key);
        let dir = PrivateDir::create(parent)?;
        match dir.create_new(name, &file.encode())? {
            CreateOutcome::Created => Ok(Some(file)),
            CreateOutcome::Exists => Ok(None),
        }
    }

    pub(super) fn key(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(FILE_LEN));
        out.extend_from_slice(&MAGIC);
        out.push(FORMAT_VERSION);
        out.extend_from_slice(self.0.expose());
        let check = blake3::hash(&out);
        out.extend(check.as_bytes().iter().take(CHECK_LEN));
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let mut reader = Reader::new(bytes);
        let mut fields = || -> Result<_, Malformed> {
            let fields = (
                *reader.array::<8>()?,
                reader.u8()?,
                reader.array::<KEY_LEN>()?,
                reader.array::<CHECK_LEN>()?,
            );
            reader.finish().map(|()| fields)
        };
        let (magic, version, key, check) = fields().map_err(|_| {
            if bytes.starts_with(&MAGIC) {
                damaged()
            } else {
                foreign()
            }
        })?;
        if magic != MAGIC {
            return Err(foreign());
        }
        let sum = blake3::hash(bytes.get(..FILE_LEN - CHECK_LEN).unwrap_or_default());
        if !sum.as_bytes().starts_with(check) {
            return Err(damaged());
        }
        if version != FORMAT_VERSION {
            return Err(CredentialError::unsupported_format(format!(
                "the key file has format version {version} and this program knows {FORMAT_VERSION}; upgrade it"
            )));
        }
        LockedKey::init(|place| {
            place.copy_from_slice(key);
            Ok(())
        })
        .map(Self)
    }
}

fn foreign() -> CredentialError {
    CredentialError::unsupported_format("this is no key file; give the path of one made by this library")
}

fn damaged() -> CredentialError {
    CredentialError::decryption_failed("the key file is damaged; restore it from a backup")
}

impl Protector for KeyFile {
    fn kind(&self) -> SlotKind {
        SlotKind::KeyFile
    }
}

impl Wrap for KeyFile {
    fn wrap(
        &self,
        root: &DataKey,
        context: &SlotContext,
        entropy: &dyn Entropy,
    ) -> Result<WrappedRoot, CredentialError> {
        let wrapped = seal_root(self.key(), root, context, Vec::new(), entropy);
        scrub_stack();
        wrapped
    }

    fn unwrap(&self, wrapped: &WrappedRoot, context: &SlotContext) -> Result<DataKey, CredentialError> {
        if !wrapped.params.is_empty() {
            return Err(CredentialError::Tampered);
        }
        let root = open_root(self.key(), wrapped, context);
        scrub_stack();
        root
    }
}
