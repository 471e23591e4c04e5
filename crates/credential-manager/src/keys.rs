use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nebula_credential_core::{
    Clock, CredentialError, Op, OpContext, Principal, Request, Scan, SecretString, StoreHandle,
};
use nebula_credential_crypto::{KeyFile, KeyRingFile, Passphrase, PassphraseAndKeyFile, Protector};
use nebula_credential_fs::{CreateOutcome, PrivateDir, read_private_file};
use tower::ServiceExt as _;

use crate::blocking::blocking;

/// Longest passphrase, in bytes, read from a file.
const PASSPHRASE_BYTES: usize = 4096;

/// What unlocks the key ring of a store.
///
/// A ring that does not exist yet is made, protected by this, as long as the store is empty.
#[derive(Clone)]
pub struct Keys(Source);

#[derive(Clone)]
enum Source {
    KeyFile(PathBuf),
    DefaultKeyFile,
    Passphrase(SecretString),
    PassphraseFile(PathBuf),
    PassphraseAndKeyFile(SecretString, PathBuf),
    Given(Arc<dyn Protector>),
}

impl Keys {
    /// A file of 32 random bytes, made if the store has no key ring yet. Keep it away from the store: whoever copies
    /// both has everything.
    pub fn key_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::KeyFile(path.into()))
    }

    /// A passphrase, through Argon2id: unlocking takes a third of a second and 64 MiB.
    pub fn passphrase(text: impl Into<SecretString>) -> Self {
        Self(Source::Passphrase(text.into()))
    }

    /// A passphrase in a file of mode 0600; one line end after it is left out.
    pub fn passphrase_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::PassphraseFile(path.into()))
    }

    /// A passphrase and a key file, both needed.
    pub fn passphrase_and_key_file(text: impl Into<SecretString>, path: impl Into<PathBuf>) -> Self {
        Self(Source::PassphraseAndKeyFile(text.into(), path.into()))
    }

    /// Any other protector, such as a [`ProviderProtector`](nebula_credential_crypto::ProviderProtector) around an
    /// HSM or a KMS.
    pub fn protector(protector: impl Protector + 'static) -> Self {
        Self(Source::Given(Arc::new(protector)))
    }

    /// What the environment names, in this order:
    ///
    /// 1. `NEBULA_CREDENTIAL_KEY_FILE`: the path of a key file;
    /// 2. `NEBULA_CREDENTIAL_PASSPHRASE_FILE`: the path of a file that holds a passphrase;
    /// 3. `NEBULA_CREDENTIAL_PASSPHRASE`: the passphrase itself. It works, with a warning: an environment is
    ///    inherited by every child and shown to whoever may inspect the process;
    /// 4. otherwise the key file `nebula-credential/key` in the user's configuration directory, which is made once,
    ///    with a notice, when it is needed for a new store. There is no built-in key.
    pub fn from_env() -> Self {
        let path = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(path) = path("NEBULA_CREDENTIAL_KEY_FILE") {
            return Self::key_file(path);
        }
        if let Some(path) = path("NEBULA_CREDENTIAL_PASSPHRASE_FILE") {
            return Self::passphrase_file(path);
        }
        match std::env::var("NEBULA_CREDENTIAL_PASSPHRASE") {
            Ok(text) if !text.is_empty() => {
                tracing::warn!(
                    "the passphrase comes from the environment, where child processes inherit it; name a file with \
                     NEBULA_CREDENTIAL_PASSPHRASE_FILE instead"
                );
                Self::passphrase(SecretString::from(text))
            }
            _ => Self(Source::DefaultKeyFile),
        }
    }

    /// Opens the key ring in `directory`, or makes it for an empty store.
    pub(crate) async fn open_ring(
        &self,
        directory: PathBuf,
        store: &StoreHandle,
        clock: Arc<dyn Clock>,
    ) -> Result<KeyRingFile, CredentialError> {
        let keys = self.clone();
        let at = directory.clone();
        if let Some(ring) = blocking(move || keys.open_existing(&at)).await?? {
            return Ok(ring);
        }
        if holds_records(store, &clock).await? {
            return Err(CredentialError::key_not_found(format!(
                "the key ring {} is missing and the store holds records that only it opens; restore it from a backup",
                directory.join("keyring").display()
            )));
        }
        let keys = self.clone();
        blocking(move || keys.open_or_create(&directory, &*clock)).await?
    }

    fn open_existing(&self, directory: &Path) -> Result<Option<KeyRingFile>, CredentialError> {
        if !directory.exists() {
            return Ok(None);
        }
        let private = PrivateDir::open(directory)?;
        if !KeyRingFile::exists_in(&private)? {
            return Ok(None);
        }
        KeyRingFile::open_in(private, &*self.load(directory, false)?).map(Some)
    }

    fn open_or_create(&self, directory: &Path, clock: &dyn Clock) -> Result<KeyRingFile, CredentialError> {
        let protector = self.load(directory, true)?;
        let (file, outcome) = KeyRingFile::open_or_create(directory, &*protector, clock.now())?;
        if outcome == CreateOutcome::Created {
            tracing::info!(directory = %directory.display(), protector = protector.kind().as_str(), "made a key ring");
        }
        Ok(file)
    }

    /// Brings the protector; a key file that is missing is made only if `create` says so.
    fn load(&self, ring: &Path, create: bool) -> Result<Arc<dyn Protector>, CredentialError> {
        Ok(match &self.0 {
            Source::KeyFile(path) => Arc::new(key_file(path, ring, create)?),
            Source::DefaultKeyFile => {
                Arc::new(key_file(&crate::paths::config_dir()?.join("key"), ring, create)?)
            }
            Source::Passphrase(text) => Arc::new(Passphrase::new(text.clone())),
            Source::PassphraseFile(path) => Arc::new(Passphrase::new(read_passphrase(path)?)),
            Source::PassphraseAndKeyFile(text, path) => Arc::new(PassphraseAndKeyFile::new(
                Passphrase::new(text.clone()),
                key_file(path, ring, create)?,
            )),
            Source::Given(protector) => Arc::clone(protector),
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.0 {
            Source::KeyFile(path) => return write!(f, "Keys(key file {})", path.display()),
            Source::PassphraseFile(path) => return write!(f, "Keys(passphrase file {})", path.display()),
            Source::DefaultKeyFile => "default key file",
            Source::Passphrase(_) => "passphrase",
            Source::PassphraseAndKeyFile(..) => "passphrase and key file",
            Source::Given(protector) => protector.kind().as_str(),
        };
        write!(f, "Keys({what})")
    }
}

/// Opens or makes a key file; never one that lies with the data it protects.
fn key_file(path: &Path, ring: &Path, create: bool) -> Result<KeyFile, CredentialError> {
    if path.parent().is_some_and(|parent| same(parent, ring)) {
        return Err(CredentialError::insecure_storage(format!(
            "the key file {} lies beside the data it protects; choose another directory",
            path.display()
        )));
    }
    if !create {
        return KeyFile::open(path);
    }
    let (key, outcome) = KeyFile::open_or_create(path)?;
    if outcome == CreateOutcome::Created {
        tracing::warn!(
            path = %path.display(),
            "made a new key file; back it up: without it nothing in the store can be read"
        );
    }
    Ok(key)
}

/// Whether two paths name one directory.
fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn read_passphrase(path: &Path) -> Result<SecretString, CredentialError> {
    let bytes = read_private_file(path, PASSPHRASE_BYTES)?.ok_or_else(|| {
        CredentialError::key_not_found(format!("there is no passphrase file {}", path.display()))
    })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| CredentialError::unlock_failed("the passphrase file does not hold UTF-8 text"))?;
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(CredentialError::unlock_failed(format!(
            "the passphrase file {} is empty",
            path.display()
        )));
    }
    Ok(SecretString::from(Box::<str>::from(line)))
}

/// Whether the store holds anything sealed. One that cannot scan is taken to be empty.
async fn holds_records(store: &StoreHandle, clock: &Arc<dyn Clock>) -> Result<bool, CredentialError> {
    if !store.capability().rewrite {
        return Ok(false);
    }
    let ctx = OpContext::new(Principal::Process, Arc::clone(clock));
    let op = Op::Scan(Scan {
        after: None,
        limit: 1,
    });
    let page = store.clone().oneshot(Request { ctx, op }).await?.into_scanned()?;
    Ok(!page.items.is_empty())
}
