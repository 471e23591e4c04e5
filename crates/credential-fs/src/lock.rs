use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use nebula_credential_core::CredentialError;
use rustix::fs::{AtFlags, FlockOperation, OFlags, fchmod, flock, fstat, openat, statat};
use rustix::io::{Errno, retry_on_intr};

use crate::PrivateDir;
use crate::check::{self, FILE_MODE, Rule};
use crate::error::{classify, failed};
use crate::{name, walk};

/// An exclusive lock on a named file of a [`PrivateDir`], between processes and between threads.
///
/// Advisory: it excludes those who ask for it. Released on drop and by the system when the process
/// ends in any way. The file itself stays; its content means nothing.
///
/// A lock must not be asked for twice in one thread: the second would wait for the first for ever.
#[must_use = "the lock is released when this is dropped"]
#[derive(Debug)]
pub struct FileLock {
    _held: Held,
}

/// A descriptor whose lock is given back on drop. To close it is not enough: a child that another thread forked
/// meanwhile has a copy of it, and would keep the lock for its whole life.
#[derive(Debug)]
pub(crate) struct Held(pub(crate) OwnedFd);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it, which follows, gives back what this cannot.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl FileLock {
    /// Waits until the lock is free, and takes it. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`InsecureStorage`](CredentialError::InsecureStorage) when the lock file is not private;
    /// [`Storage`](CredentialError::Storage) when the system refuses.
    pub fn lock(dir: &PrivateDir, name: &str) -> Result<Self, CredentialError> {
        Self::lock_spinning(dir, name, Duration::ZERO)
    }

    /// [`lock`](Self::lock) for a lock that is held for fractions of a millisecond: looks for it again and again, giving
    /// way to whoever else wants the core, and sleeps only after `spin`.
    ///
    /// To wake a thread whose core is idle takes tens of microseconds in a virtual machine, and whoever gives the lock
    /// back pays a part of it. Use this where few threads wait at a time: each keeps a core busy meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn lock_spinning(dir: &PrivateDir, name: &str, spin: Duration) -> Result<Self, CredentialError> {
        loop {
            let fd = open(dir, name)?;
            let since = Instant::now();
            while !try_flock(dir, name, &fd)? {
                if since.elapsed() < spin {
                    thread::yield_now();
                    continue;
                }
                retry_on_intr(|| flock(&fd, FlockOperation::LockExclusive))
                    .map_err(failed("lock", &dir.child(name)))?;
                break;
            }
            if current(dir, name, &fd)? {
                return Ok(Self { _held: Held(fd) });
            }
        }
    }

    /// Takes the lock if it is free; `None` if someone holds it.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn try_lock(dir: &PrivateDir, name: &str) -> Result<Option<Self>, CredentialError> {
        loop {
            let fd = open(dir, name)?;
            if !try_flock(dir, name, &fd)? {
                return Ok(None);
            }
            if current(dir, name, &fd)? {
                return Ok(Some(Self { _held: Held(fd) }));
            }
        }
    }
}

/// Locks `fd` if nobody else has; whether it did.
fn try_flock(dir: &PrivateDir, name: &str, fd: &OwnedFd) -> Result<bool, CredentialError> {
    match retry_on_intr(|| flock(fd, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(classify(&errno.into(), "lock", &dir.child(name))),
    }
}

/// The file, made if missing, for reading and writing.
pub(crate) fn open(dir: &PrivateDir, name: &str) -> Result<OwnedFd, CredentialError> {
    name::validate(name)?;
    let path = dir.child(name);
    let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        if let Some(fd) = walk::open_file(&dir.place.fd, OsStr::new(name), &path, OFlags::RDWR)? {
            let stat = fstat(&fd).map_err(failed("examine", &path))?;
            check::file(&stat, &path, Rule::Ours)?;
            return Ok(fd);
        }
        match openat(&dir.place.fd, name, create, FILE_MODE) {
            Ok(fd) => {
                // The umask may have taken away bits the owner needs.
                fchmod(&fd, FILE_MODE).map_err(failed("create", &path))?;
                return Ok(fd);
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(classify(&errno.into(), "create", &path)),
        }
    }
}

/// Whether `fd` is still the file of that name: someone may have removed it while we waited, and
/// then the next to come locks another file.
fn current(dir: &PrivateDir, name: &str, fd: &OwnedFd) -> Result<bool, CredentialError> {
    let path = dir.child(name);
    let ours = fstat(fd).map_err(failed("examine", &path))?;
    match statat(&dir.place.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(classify(&errno.into(), "examine", &path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_as_in_a_forked_child_does_not_keep_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
        let lock = FileLock::lock(&dir, "lock").unwrap();
        let copy = rustix::io::dup(&lock._held.0).unwrap();
        assert!(FileLock::try_lock(&dir, "lock").unwrap().is_none());
        drop(lock);
        assert!(FileLock::try_lock(&dir, "lock").unwrap().is_some());
        drop(copy);
    }
}
