use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use nebula_credential_core::CredentialError;
use rustix::fs::{AtFlags, OFlags, fstat, statat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::check::{self, FileInfo, Rule};
use crate::error::{classify, failed};
use crate::sync::fsync;
use crate::walk::{self, Place};
use crate::{file, name};

/// A directory only this user can look into, held open: what is done through it happens in the
/// directory that was checked, whatever becomes of its path.
///
/// # What is refused
///
/// With [`CredentialError::InsecureStorage`], naming the path and the remedy:
///
/// * the directory itself is a symbolic link, is no directory, belongs to another user than the
///   effective one, or has any mode bit for group or others;
/// * any directory above it, up to the root and after resolving symbolic links, is writable by group
///   or others without the sticky bit. `/tmp` has it and passes. Who owns the directories above is
///   not asked: an owner can take the directory away, but cannot make one that passes.
///
/// The next content of a file `name` is written to `.name.tmp`; what else lies here is left alone.
pub struct PrivateDir {
    pub(crate) place: Place,
}

impl PrivateDir {
    /// Opens the directory, making it and all that is missing above it with mode 0700, durably.
    ///
    /// An existing directory is never changed: if it is not private, it is refused.
    ///
    /// # Errors
    ///
    /// [`InsecureStorage`](CredentialError::InsecureStorage) as above;
    /// [`Storage`](CredentialError::Storage) when the system refuses.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        walk::make(path.as_ref()).map(|place| Self { place })
    }

    /// Opens an existing directory.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); [`Storage`](CredentialError::Storage) also when it does not
    /// exist.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CredentialError> {
        walk::enter(path.as_ref()).map(|place| Self { place })
    }

    /// The absolute path, without symbolic links, it was opened at.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The whole content of a file, wiped on drop; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// [`InsecureStorage`](CredentialError::InsecureStorage) as for
    /// [`check_file`](Self::check_file); [`LimitExceeded`](CredentialError::LimitExceeded) when it
    /// has more than `max` bytes, before any is read; [`Storage`](CredentialError::Storage).
    pub fn read(&self, name: &str, max: usize) -> Result<Option<Zeroizing<Vec<u8>>>, CredentialError> {
        name::validate(name)?;
        let path = self.child(name);
        let Some(fd) = walk::open_file(&self.place.fd, OsStr::new(name), &path, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let stat = fstat(&fd).map_err(failed("examine", &path))?;
        let info = check::file(&stat, &path, Rule::Ours)?;
        file::read_all(File::from(fd), info.len, max, &path).map(Some)
    }

    /// Looks at a file without opening it; `None` if there is none.
    ///
    /// For a database that is in use in this process: to close another descriptor of its file would drop every POSIX
    /// lock that the process has on it.
    ///
    /// # Errors
    ///
    /// [`InsecureStorage`](CredentialError::InsecureStorage) unless it is a regular file of this
    /// user, with no mode bit beyond 0600 and no other name (hard link);
    /// [`Storage`](CredentialError::Storage) when the system refuses.
    pub fn check_file(&self, name: &str) -> Result<Option<FileInfo>, CredentialError> {
        name::validate(name)?;
        let path = self.child(name);
        match statat(&self.place.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => check::file(&stat, &path, Rule::Ours).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(classify(&errno.into(), "examine", &path)),
        }
    }

    /// Makes durable which files there are, those that were made by other means included. Not what is in them.
    ///
    /// # Errors
    ///
    /// [`Storage`](CredentialError::Storage) when the system refuses.
    pub fn sync(&self) -> Result<(), CredentialError> {
        fsync(&self.place.fd).map_err(failed("sync", self.path()))
    }

    pub(crate) fn child(&self, name: &str) -> PathBuf {
        self.place.path.join(name)
    }
}

impl fmt::Debug for PrivateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateDir").field(&self.path()).finish()
    }
}
