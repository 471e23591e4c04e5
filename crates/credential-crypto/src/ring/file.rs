use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;
use nebula_credential_fs::{CreateOutcome, FileLock, PrivateDir};

use super::{KeyRing, RING_BYTES_MAX, RingDraft, RingSettings, State};
use crate::protector::Protector;

/// The ring's file in its directory.
const FILE: &str = "keyring";
/// The file whose lock a change holds.
const LOCK: &str = "keyring.lock";

/// A key ring in a file named `keyring` of a private directory, shared by processes.
///
/// Every change takes a lock, reads the file again, and replaces it atomically and durably before it is in use. The
/// [`ring`](Self::ring) looks at the file before each seal and whenever an envelope names a key it does not know, so
/// it follows what other processes do.
///
/// These methods block on files, and those that take a [`Protector`] on key derivation too.
#[derive(Clone)]
pub struct KeyRingFile {
    ring: KeyRing,
    dir: Arc<PrivateDir>,
}

impl KeyRingFile {
    /// Opens the ring in the directory `dir`.
    ///
    /// # Errors
    /// [`CredentialError::KeyNotFound`] when there is none; those of [`KeyRing::unlock`] and of the file system.
    pub fn open(dir: impl AsRef<Path>, protector: &dyn Protector) -> Result<Self, CredentialError> {
        Self::open_in(PrivateDir::open(dir)?, protector)
    }

    /// [`open`](Self::open) in a directory that is open already.
    ///
    /// # Errors
    /// As there.
    pub fn open_in(dir: PrivateDir, protector: &dyn Protector) -> Result<Self, CredentialError> {
        let bytes = read(&dir)?.ok_or_else(|| missing(&dir))?;
        Self::unlocked(dir, &bytes, protector)
    }

    /// Makes a ring in the directory `dir`, which is made as well if need be.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`] when there is one already: it is never replaced; those of
    /// [`KeyRing::create`] and of the file system.
    pub fn create(
        dir: impl AsRef<Path>,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<Self, CredentialError> {
        Self::create_with(RingSettings::default(), dir, protector, now)
    }

    /// [`create`](Self::create) with settings.
    ///
    /// # Errors
    /// As there.
    pub fn create_with(
        settings: RingSettings,
        dir: impl AsRef<Path>,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<Self, CredentialError> {
        let dir = PrivateDir::create(dir)?;
        match Self::try_create(settings, dir, protector, now)? {
            Ok(file) => Ok(file),
            Err(dir) => Err(CredentialError::invalid_state(format!(
                "there is a key ring in {:?} already; open it, or choose another directory",
                dir.path()
            ))),
        }
    }

    /// Opens the ring in the directory `dir`, or makes one there; says which.
    ///
    /// Only for a store that holds no records yet: a ring made in the place of a lost one opens none of them.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create(
        dir: impl AsRef<Path>,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<(Self, CreateOutcome), CredentialError> {
        let dir = PrivateDir::create(dir)?;
        if let Some(bytes) = read(&dir)? {
            let file = Self::unlocked(dir, &bytes, protector)?;
            return Ok((file, CreateOutcome::Exists));
        }
        match Self::try_create(RingSettings::default(), dir, protector, now)? {
            Ok(file) => Ok((file, CreateOutcome::Created)),
            // Another process was faster.
            Err(dir) => Ok((Self::open_in(dir, protector)?, CreateOutcome::Exists)),
        }
    }

    /// Whether the directory holds a ring. Whether it can be opened is another question.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn exists_in(dir: &PrivateDir) -> Result<bool, CredentialError> {
        dir.check_file(FILE).map(|found| found.is_some())
    }

    fn unlocked(dir: PrivateDir, bytes: &[u8], protector: &dyn Protector) -> Result<Self, CredentialError> {
        let state = State::unlock(bytes, protector)?;
        Ok(Self::of(RingSettings::default(), dir, state))
    }

    /// The directory comes back if it holds a ring.
    fn try_create(
        settings: RingSettings,
        dir: PrivateDir,
        protector: &dyn Protector,
        now: DateTime<Utc>,
    ) -> Result<Result<Self, PrivateDir>, CredentialError> {
        let state = RingDraft::new(&settings, protector, now)?.finish()?.0;
        match dir.create_new(FILE, &state.bytes)? {
            CreateOutcome::Created => Ok(Ok(Self::of(settings, dir, state))),
            CreateOutcome::Exists => Ok(Err(dir)),
        }
    }

    fn of(settings: RingSettings, dir: PrivateDir, state: State) -> Self {
        let dir = Arc::new(dir);
        let source = Arc::clone(&dir);
        let source = move || read(&source)?.ok_or_else(|| missing(&source));
        let ring = KeyRing::of(state, settings, Some(Box::new(source)));
        Self { ring, dir }
    }

    /// The ring: a handle that follows every change of this and other processes.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The directory of the ring.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Changes the ring, durably, excluding every other process: takes the lock, follows the file, lets `change`
    /// alter a draft, replaces the file, and only then uses it.
    ///
    /// # Errors
    /// Those of `change`, of [`KeyRing::refresh`] and of the file system; after any but
    /// [`OutcomeUnknown`](CredentialError::OutcomeUnknown) the file is as it was.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut RingDraft<'_>) -> Result<T, CredentialError>,
    ) -> Result<T, CredentialError> {
        let _lock = FileLock::lock(&self.dir, LOCK)?;
        self.ring.refresh()?;
        self.ring.apply(change, |bytes| self.dir.replace(FILE, bytes))
    }

    /// Looks whether another process has changed the ring, and follows it; says so.
    ///
    /// # Errors
    /// Those of [`KeyRing::refresh`].
    pub fn reload_if_changed(&self) -> Result<bool, CredentialError> {
        self.ring.refresh()
    }

    /// Writes down how often the keys have wrapped. Any change does that too; a process that dies before forgets
    /// its count since the last one.
    ///
    /// # Errors
    /// Those of [`update`](Self::update).
    pub fn record_wraps(&self) -> Result<(), CredentialError> {
        self.update(|_| Ok(()))
    }
}

impl fmt::Debug for KeyRingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRingFile")
            .field("dir", &self.dir.path())
            .field("ring", &self.ring)
            .finish()
    }
}

fn read(dir: &PrivateDir) -> Result<Option<Vec<u8>>, CredentialError> {
    let bytes = dir.read(FILE, RING_BYTES_MAX)?;
    // Nothing in a ring's bytes is secret: no need to wipe them.
    Ok(bytes.map(|mut bytes| std::mem::take(&mut *bytes)))
}

fn missing(dir: &PrivateDir) -> CredentialError {
    CredentialError::key_not_found(format!(
        "there is no key ring in {:?}; restore the file {FILE:?} from a backup: records sealed under it open with no \
         other",
        dir.path()
    ))
}
