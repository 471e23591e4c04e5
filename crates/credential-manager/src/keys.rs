use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nebula_credential_core::{
    Clock, CredentialError, List, Op, OpContext, Principal, Request, Response, Scan, SecretString,
    StoreHandle, TenantId,
};
use nebula_credential_crypto::{KeyFile, KeyRingFile, Passphrase, PassphraseAndKeyFile, Protector};
use nebula_credential_fs::{CreateOutcome, PrivateDir, classify};
use tower::ServiceExt as _;

use crate::blocking::blocking;

/// What unlocks the key ring of a store. Relative paths are taken from the working directory of this moment.
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
    /// Something was asked for that cannot be had; told on first use.
    Refused(&'static str),
}

impl Keys {
    /// A file of 32 random bytes, made if the store has no key ring yet. Keep it away from the store: whoever copies
    /// both has everything. A file in the store's own directory is refused.
    pub fn key_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::KeyFile(absolute(path.into())))
    }

    /// A passphrase, through Argon2id: unlocking takes a third of a second and 64 MiB.
    pub fn passphrase(text: impl Into<SecretString>) -> Self {
        Self(Source::Passphrase(text.into()))
    }

    /// A passphrase in a file of mode 0600, not in the store's own directory; one line end after it is left out.
    pub fn passphrase_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::PassphraseFile(absolute(path.into())))
    }

    /// A passphrase and a key file, both needed.
    pub fn passphrase_and_key_file(text: impl Into<SecretString>, path: impl Into<PathBuf>) -> Self {
        Self(Source::PassphraseAndKeyFile(text.into(), absolute(path.into())))
    }

    /// Any other protector, such as a [`ProviderProtector`](nebula_credential_crypto::ProviderProtector) around an
    /// HSM or a KMS.
    pub fn protector(protector: impl Protector + 'static) -> Self {
        Self(Source::Given(Arc::new(protector)))
    }

    /// No key. What is known of credentials can be read and changed (lists, versions, tags, deletion); values can
    /// neither be read nor stored.
    pub fn none() -> Self {
        Self(Source::Refused(
            "values are neither read nor stored without a key; name what unlocks the store",
        ))
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
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("NEBULA_CREDENTIAL_KEY_FILE") {
            return Self::key_file(path);
        }
        if let Some(path) = variable("NEBULA_CREDENTIAL_PASSPHRASE_FILE") {
            return Self::passphrase_file(path);
        }
        match variable("NEBULA_CREDENTIAL_PASSPHRASE").map(OsString::into_string) {
            Some(Ok(text)) => {
                tracing::warn!(
                    "the passphrase comes from the environment, where child processes inherit it; name a file with \
                     NEBULA_CREDENTIAL_PASSPHRASE_FILE instead"
                );
                Self::passphrase(SecretString::from(text))
            }
            Some(Err(_)) => Self(Source::Refused(
                "the passphrase in NEBULA_CREDENTIAL_PASSPHRASE is not UTF-8 text; name a file with \
                 NEBULA_CREDENTIAL_PASSPHRASE_FILE instead",
            )),
            None => Self(Source::DefaultKeyFile),
        }
    }

    /// Opens the key ring in `directory`, or makes it for an empty store.
    pub(crate) async fn open_ring(
        &self,
        directory: PathBuf,
        store: &StoreHandle,
        tenant: &TenantId,
        clock: Arc<dyn Clock>,
    ) -> Result<KeyRingFile, CredentialError> {
        let data = store.home();
        let existing = async || {
            let (keys, at, data) = (self.clone(), directory.clone(), data.clone());
            blocking(move || keys.open_existing(&at, data.as_deref())).await?
        };
        if let Some(ring) = existing().await? {
            return Ok(ring);
        }
        if holds_records(store, tenant, &clock).await? {
            // Made by another process since, before it stored the first of them?
            if let Some(ring) = existing().await? {
                return Ok(ring);
            }
            return Err(lost_ring(&directory));
        }
        let keys = self.clone();
        blocking(move || keys.open_or_create(&directory, data.as_deref(), &*clock)).await?
    }

    /// Refuses a store that holds records and whose ring is not in `directory`. Needs no key.
    pub(crate) async fn check_ring(
        directory: &Path,
        store: &StoreHandle,
        tenant: &TenantId,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), CredentialError> {
        let exists = async || {
            let at = directory.to_owned();
            blocking(move || dir_with_ring(&at))
                .await?
                .map(|dir| dir.is_some())
        };
        // As above, the ring may be made between two looks.
        if exists().await? || !holds_records(store, tenant, clock).await? || exists().await? {
            return Ok(());
        }
        Err(lost_ring(directory))
    }

    fn open_existing(
        &self,
        directory: &Path,
        data: Option<&Path>,
    ) -> Result<Option<KeyRingFile>, CredentialError> {
        match dir_with_ring(directory)? {
            Some(private) => KeyRingFile::open_in(private, &*self.load(data, false)?).map(Some),
            None => Ok(None),
        }
    }

    fn open_or_create(
        &self,
        directory: &Path,
        data: Option<&Path>,
        clock: &dyn Clock,
    ) -> Result<KeyRingFile, CredentialError> {
        let protector = self.load(data, true)?;
        let (file, outcome) = KeyRingFile::open_or_create(directory, &*protector, clock.now())?;
        if outcome == CreateOutcome::Created {
            tracing::info!(directory = %directory.display(), protector = protector.kind().as_str(), "made a key ring");
        }
        Ok(file)
    }

    /// Brings the protector; a key file that is missing is made only if `create` says so. `data` is where the store
    /// lies, if that is a directory.
    fn load(&self, data: Option<&Path>, create: bool) -> Result<Arc<dyn Protector>, CredentialError> {
        Ok(match &self.0 {
            Source::KeyFile(path) => Arc::new(key_file(path, data, create)?),
            Source::DefaultKeyFile => {
                Arc::new(key_file(&crate::paths::config_dir()?.join("key"), data, create)?)
            }
            Source::Passphrase(text) => Arc::new(Passphrase::new(text.clone())),
            Source::PassphraseFile(path) => Arc::new(read_passphrase(path, data)?),
            Source::PassphraseAndKeyFile(text, path) => Arc::new(PassphraseAndKeyFile::new(
                Passphrase::new(text.clone()),
                key_file(path, data, create)?,
            )),
            Source::Given(protector) => Arc::clone(protector),
            Source::Refused(why) => return Err(CredentialError::unlock_failed(*why)),
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
            Source::Refused(_) => "nothing usable",
        };
        write!(f, "Keys({what})")
    }
}

/// The directory, if there is a key ring in it.
fn dir_with_ring(directory: &Path) -> Result<Option<PrivateDir>, CredentialError> {
    // A directory that cannot be looked at is not one that does not exist.
    match directory.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(classify(&error, "open", directory)),
    }
    let private = PrivateDir::open(directory)?;
    Ok(KeyRingFile::exists_in(&private)?.then_some(private))
}

fn lost_ring(directory: &Path) -> CredentialError {
    CredentialError::key_not_found(format!(
        "the key ring {} is missing and the store holds records that only it opens; restore it from a backup",
        directory.join("keyring").display()
    ))
}

/// Opens or makes a key file; never one that lies with the data it protects.
fn key_file(path: &Path, data: Option<&Path>, create: bool) -> Result<KeyFile, CredentialError> {
    keep_apart("key", path, data)?;
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

/// Refuses a file in the directory of the store, or in one below it: a copy of the store would bring its own key.
fn keep_apart(what: &str, path: &Path, data: Option<&Path>) -> Result<(), CredentialError> {
    if data.is_some_and(|data| real(path).starts_with(real(data))) {
        return Err(CredentialError::insecure_storage(format!(
            "the {what} file {} lies beside the data it protects; choose another directory",
            path.display()
        )));
    }
    Ok(())
}

/// `path` from the root; as it is if it is empty or there is no working directory.
pub(crate) fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// `path` from the root and without symbolic links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = absolute(path.to_owned());
    let resolved = path.ancestors().find_map(|at| {
        let rest = path.strip_prefix(at).ok()?;
        Some(at.canonicalize().ok()?.join(rest))
    });
    resolved.unwrap_or(path)
}

fn read_passphrase(path: &Path, data: Option<&Path>) -> Result<Passphrase, CredentialError> {
    keep_apart("passphrase", path, data)?;
    Passphrase::open(path)
}

/// Whether the store holds anything, deleted or not. One that cannot scan is asked for what `tenant` has.
async fn holds_records(
    store: &StoreHandle,
    tenant: &TenantId,
    clock: &Arc<dyn Clock>,
) -> Result<bool, CredentialError> {
    let op = if store.capability().rewrite {
        Op::Scan(Scan {
            after: None,
            limit: 1,
        })
    } else {
        Op::List(List {
            include_deleted: true,
            limit: 1,
            ..List::of(tenant.clone())
        })
    };
    let ctx = OpContext::new(Principal::Process, Arc::clone(clock));
    Ok(match store.clone().oneshot(Request { ctx, op }).await? {
        Response::Page(page) => !page.items.is_empty(),
        answer => {
            let page = answer.into_scanned()?;
            !(page.items.is_empty() && page.damaged.is_empty())
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn from(variables: &[(&str, &[u8])]) -> Keys {
        Keys::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from_vec(value.to_vec()))
        })
    }

    #[test]
    fn the_environment_is_asked_in_order_and_what_is_empty_is_not_there() {
        let all: &[(&str, &[u8])] = &[
            ("NEBULA_CREDENTIAL_KEY_FILE", b"/k"),
            ("NEBULA_CREDENTIAL_PASSPHRASE_FILE", b"/p"),
            ("NEBULA_CREDENTIAL_PASSPHRASE", b"hunter2"),
        ];
        let shown = |from_here: usize| format!("{:?}", from(all.get(from_here..).unwrap()));
        assert_eq!(shown(0), "Keys(key file /k)");
        assert_eq!(shown(1), "Keys(passphrase file /p)");
        assert_eq!(shown(2), "Keys(passphrase)");
        let here = std::env::current_dir().unwrap().join("k");
        assert_eq!(
            format!("{:?}", Keys::key_file("k")),
            format!("Keys(key file {})", here.display())
        );
        assert_eq!(shown(3), "Keys(default key file)");
        let empty = from(&[("NEBULA_CREDENTIAL_PASSPHRASE", b"")]);
        assert!(matches!(empty.0, Source::DefaultKeyFile));
    }

    #[test]
    fn a_passphrase_that_is_no_text_is_refused_and_no_other_key_takes_its_place() {
        let keys = from(&[("NEBULA_CREDENTIAL_PASSPHRASE", b"\xff\xfe")]);
        let error = keys.load(None, true).err().unwrap();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }

    #[test]
    fn no_way_to_write_the_path_puts_a_key_into_the_store() {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, scratch.path().join("link")).unwrap();
        for path in [
            "data/key",
            "data/sub/key",
            "link/key",
            "data/../data/key",
            "./data/./new/key",
        ] {
            let path = scratch.path().join(path);
            for create in [false, true] {
                let error = key_file(&path, Some(&data), create).unwrap_err();
                assert!(error.to_string().contains("beside the data"), "{path:?}: {error}");
            }
            let error = read_passphrase(&path, Some(&data)).unwrap_err();
            assert!(error.to_string().contains("beside the data"), "{path:?}: {error}");
        }
        let here = std::env::current_dir().unwrap();
        assert!(
            key_file(Path::new("key"), Some(&here), false).is_err_and(|e| e.to_string().contains("beside"))
        );
        assert!(key_file(&scratch.path().join("config/key"), Some(&data), true).is_ok());
        assert!(key_file(&scratch.path().join("database/key"), Some(&data), true).is_ok());
    }
}
