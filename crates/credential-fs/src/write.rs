//! Durable changes: a file is whole and old, or whole and new, at every moment and after a crash.
//!
//! Every change holds the lock of the directory itself, so a temporary file of the same name seen under that lock was
//! left by a process that died, and can go. No other file is touched: the directory may be the user's own, and a key
//! whose file was never put in place protects nothing.

use std::fs::File;
use std::io::Write;

use nebula_credential_core::CredentialError;
use rustix::fs::{AtFlags, FlockOperation, OFlags, fchmod, flock, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::PrivateDir;
use crate::check::FILE_MODE;
use crate::error::{classify, failed, unsettled};
use crate::lock::Held;
use crate::name::{temporary, validate};
use crate::sync::fsync;

/// What [`PrivateDir::create_new`] did.
#[must_use = "the file may have been there already, with another content"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The file is new and durable.
    Created,
    /// Something of that name existed; it was left alone.
    Exists,
}

impl PrivateDir {
    /// Writes a file, new or in place of the old one: durable when this returns.
    ///
    /// Readers and a crash find the old content or the new, whole.
    ///
    /// # Errors
    ///
    /// [`Storage`](CredentialError::Storage): the old content is untouched.
    /// [`OutcomeUnknown`](CredentialError::OutcomeUnknown): the new content is visible, but the
    /// directory could not be synced.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), CredentialError> {
        validate(name)?;
        let _lock = self.exclusive(name)?;
        self.stage(name, bytes)?;
        let temp = temporary(name);
        renameat(&self.place.fd, &temp, &self.place.fd, name).map_err(|errno| {
            self.discard(&temp);
            classify(&errno.into(), "replace", &self.child(name))
        })?;
        self.settle(name)
    }

    /// Writes a file unless one of that name exists: durable when this returns.
    ///
    /// It becomes visible whole or not at all.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace).
    pub fn create_new(&self, name: &str, bytes: &[u8]) -> Result<CreateOutcome, CredentialError> {
        validate(name)?;
        let _lock = self.exclusive(name)?;
        if self.present(name)? {
            return Ok(CreateOutcome::Exists);
        }
        self.stage(name, bytes)?;
        let temp = temporary(name);
        match self.rename_new(&temp, name) {
            Ok(()) => self.settle(name).map(|()| CreateOutcome::Created),
            Err(errno) => {
                self.discard(&temp);
                match errno {
                    Errno::EXIST => Ok(CreateOutcome::Exists),
                    _ => Err(classify(&errno.into(), "create", &self.child(name))),
                }
            }
        }
    }

    /// Removes a file durably; `false` if there was none.
    ///
    /// Its bytes may stay on the medium: what must be unreadable afterwards has to be encrypted.
    ///
    /// # Errors
    ///
    /// As for [`replace`](Self::replace).
    pub fn remove(&self, name: &str) -> Result<bool, CredentialError> {
        validate(name)?;
        let _lock = self.exclusive(name)?;
        match unlinkat(&self.place.fd, name, AtFlags::empty()) {
            Ok(()) => self.settle(name).map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(classify(&errno.into(), "remove", &self.child(name))),
        }
    }

    /// The lock of the directory, until it is dropped, to change the file `name`.
    pub(crate) fn exclusive(&self, name: &str) -> Result<Held, CredentialError> {
        let fd = Held(self.place.reopen()?);
        retry_on_intr(|| flock(&fd.0, FlockOperation::LockExclusive)).map_err(failed("lock", self.path()))?;
        match unlinkat(&self.place.fd, temporary(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(fd),
            Err(errno) => Err(classify(&errno.into(), "remove", &self.child(&temporary(name)))),
        }
    }

    /// Writes and syncs the temporary file of `name`; on failure nothing is left.
    fn stage(&self, name: &str, bytes: &[u8]) -> Result<(), CredentialError> {
        let temp = temporary(name);
        let path = self.child(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.place.fd, &temp, flags, FILE_MODE).map_err(failed("write", &path))?;
        let mut file = File::from(fd);
        // The umask may have taken away bits the owner needs; it was never wider than this.
        fchmod(&file, FILE_MODE)
            .map_err(failed("write", &path))
            .and_then(|()| {
                file.write_all(bytes)
                    .map_err(|error| classify(&error, "write", &path))
            })
            .and_then(|()| fsync(&file).map_err(failed("sync", &path)))
            .inspect_err(|_| self.discard(&temp))
    }

    /// Best effort: the next change sweeps what stays.
    fn discard(&self, temp: &str) {
        let _ = unlinkat(&self.place.fd, temp, AtFlags::empty());
    }

    /// Makes a rename or removal survive a crash.
    fn settle(&self, name: &str) -> Result<(), CredentialError> {
        fsync(&self.place.fd).map_err(|errno| unsettled(errno, &self.child(name)))
    }

    fn present(&self, name: &str) -> Result<bool, CredentialError> {
        match statat(&self.place.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(classify(&errno.into(), "examine", &self.child(name))),
        }
    }

    /// Renames without replacing. Where the file system cannot promise that, the lock of the
    /// directory and [`present`](Self::present) do, against everyone who writes through this crate.
    fn rename_new(&self, temp: &str, name: &str) -> Result<(), Errno> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(&self.place.fd, temp, &self.place.fd, name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
                done => return done,
            }
        }
        renameat(&self.place.fd, temp, &self.place.fd, name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nebula_credential_core::ErrorKind;

    use super::*;
    use crate::sync::fault;

    fn store() -> (tempfile::TempDir, PrivateDir) {
        let scratch = tempfile::tempdir().unwrap();
        let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
        (scratch, dir)
    }

    fn count(dir: &PrivateDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn a_file_that_cannot_be_synced_is_not_put_in_place() {
        let (_scratch, dir) = store();
        dir.replace("key", b"old").unwrap();
        fault::fail(1);
        assert_eq!(dir.replace("key", b"new").unwrap_err().kind(), ErrorKind::Storage);
        fault::fail(1);
        assert_eq!(
            dir.create_new("other", b"new").unwrap_err().kind(),
            ErrorKind::Storage
        );
        assert_eq!(dir.read("key", 10).unwrap().unwrap().as_slice(), b"old");
        assert_eq!(count(&dir), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_synced_makes_the_outcome_unknown() {
        let (_scratch, dir) = store();
        dir.replace("key", b"old").unwrap();
        fault::fail(2);
        assert!(dir.replace("key", b"new").unwrap_err().is_outcome_unknown());
        fault::fail(2);
        assert!(dir.create_new("other", b"new").unwrap_err().is_outcome_unknown());
        fault::fail(1);
        assert!(dir.remove("key").unwrap_err().is_outcome_unknown());
    }

    #[test]
    fn a_directory_whose_parent_cannot_be_synced_is_not_acknowledged() {
        let scratch = tempfile::tempdir().unwrap();
        for nth in 1..=3 {
            fault::fail(nth);
            let error = PrivateDir::create(scratch.path().join("a/b/c")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Storage);
            fs::remove_dir_all(scratch.path().join("a")).unwrap();
        }
        PrivateDir::create(scratch.path().join("a/b/c")).unwrap();
    }
}
