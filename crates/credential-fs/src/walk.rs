//! From the root to a directory, one descriptor at a time, so that what was checked is what is used.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nebula_credential_core::CredentialError;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, StatVfsMountFlags, fchmod, fstat, fstatvfs, mkdirat, open, openat,
    statat,
};
use rustix::io::Errno;

use crate::check::{self, DIR_MODE};
use crate::error::{classify, failed, show};
use crate::sync::fsync;

/// To pass through a directory: no right to list it is needed where the system has such a flag.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PASS: OFlags = STAY;

/// To work in a directory: it can be listed, locked and synced.
const STAY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open directory and its path without symbolic links.
pub(crate) struct Place {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Place {
    /// Another description of the same directory, with its own lock.
    pub(crate) fn reopen(&self) -> Result<OwnedFd, CredentialError> {
        openat(&self.fd, ".", STAY, Mode::empty()).map_err(failed("open", &self.path))
    }

    fn child(&self, name: &OsStr, flags: OFlags) -> Result<Self, CredentialError> {
        let path = self.path.join(name);
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(|errno| {
            match errno {
                // Either may mean a symbolic link or a file: look which, for the message.
                Errno::LOOP | Errno::NOTDIR => statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .ok()
                    .and_then(|stat| check::directory(&stat, &path).err())
                    .unwrap_or_else(|| classify(&errno.into(), "open", &path)),
                _ => classify(&errno.into(), "open", &path),
            }
        })?;
        Ok(Self { fd, path })
    }

    /// Makes the directory `name` here unless it exists, and enters it.
    fn make(&self, name: &OsStr) -> Result<Self, CredentialError> {
        let path = self.path.join(name);
        // Never wider than 0700, whatever the umask.
        let made = match mkdirat(&self.fd, name, DIR_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(classify(&errno.into(), "create", &path)),
        };
        let child = self.child(name, STAY)?;
        if made {
            // The umask may have taken away bits the owner needs.
            fchmod(&child.fd, DIR_MODE).map_err(failed("create", &path))?;
        }
        // Also when it existed: whoever made it may have died before this. Then a directory that we
        // may not open, or that cannot be synced at all, was never ours to make durable.
        match (self.reopen(), made) {
            (Ok(fd), _) => match fsync(fd) {
                Err(Errno::INVAL) if !made => {}
                synced => synced.map_err(failed("sync", &self.path))?,
            },
            (Err(error), true) => return Err(error),
            (Err(_), false) => {}
        }
        Ok(child)
    }
}

/// Enters `path`, which has no symbolic links, checking every directory on the way and itself.
fn walk(path: &Path) -> Result<Place, CredentialError> {
    walk_by(path, pass)
}

fn walk_by(
    path: &Path,
    pass: impl Fn(&Place) -> Result<(), CredentialError>,
) -> Result<Place, CredentialError> {
    let root = PathBuf::from("/");
    let fd = open("/", PASS, Mode::empty()).map_err(failed("open", &root))?;
    let mut place = Place { fd, path: root };
    pass(&place)?;
    for component in path.components() {
        if let Component::Normal(name) = component {
            place = place.child(name, PASS)?;
            pass(&place)?;
        }
    }
    Ok(place)
}

fn pass(place: &Place) -> Result<(), CredentialError> {
    let stat = fstat(&place.fd).map_err(failed("examine", &place.path))?;
    check::ancestor(&stat, &place.path)
}

/// Likewise, but on a file system that is mounted read-only the mode of a directory says nothing: what a cluster mounts
/// for its containers is often open to all, and nobody there can write to it.
fn pass_to_read(place: &Place) -> Result<(), CredentialError> {
    let read_only = || {
        let found = fstatvfs(&place.fd);
        found.is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
    };
    match pass(place) {
        Err(_) if read_only() => Ok(()),
        passed => passed,
    }
}

fn canonical(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    })
}

/// The directory `path` lies in, and its name there. `.` and `..` get their real names.
fn split(path: &Path) -> Result<(PathBuf, OsString), CredentialError> {
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        return Ok((parent.to_owned(), name.to_owned()));
    }
    let real = canonical(path).map_err(|error| classify(&error, "open", path))?;
    match (real.parent(), real.file_name()) {
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        _ => Err(CredentialError::insecure_storage(format!(
            "{} cannot be a private directory; give one of its own, such as a new directory in your home",
            show(path)
        ))),
    }
}

fn private(place: Place) -> Result<Place, CredentialError> {
    let stat = fstat(&place.fd).map_err(failed("examine", &place.path))?;
    check::directory(&stat, &place.path)?;
    Ok(place)
}

/// Opens an existing private directory.
pub(crate) fn enter(path: &Path) -> Result<Place, CredentialError> {
    let (parent, name) = split(path)?;
    let parent = canonical(&parent).map_err(|error| classify(&error, "open", path))?;
    private(walk(&parent)?.child(&name, STAY)?)
}

/// The descriptor of a file outside, after a look at the directories above it, or `None` if there is none. A symbolic link
/// is followed where it is trusted, and what it points to is found in directories that are.
pub(crate) fn open_trusted(path: &Path) -> Result<Option<OwnedFd>, CredentialError> {
    let (parent, name) = split(path)?;
    let parent = match canonical(&parent) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(classify(&error, "open", path)),
    };
    let place = walk_by(&parent, pass_to_read)?;
    let link = statat(&place.fd, &name, AtFlags::SYMLINK_NOFOLLOW)
        .ok()
        .filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    let Some(link) = link else {
        return open_file(&place.fd, &name, path, OFlags::RDONLY);
    };
    check::trusted_link(&link, path)?;
    let real = match canonical(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(classify(&error, "open", path)),
    };
    let (parent, name) = split(&real)?;
    open_file(&walk_by(&parent, pass_to_read)?.fd, &name, &real, OFlags::RDONLY)
}

/// Opens a private directory, making it and every missing directory above it.
pub(crate) fn make(path: &Path) -> Result<Place, CredentialError> {
    let (mut parent, name) = split(path)?;
    let mut missing = Vec::new();
    let real = loop {
        match canonical(&parent) {
            Ok(real) => break real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(above), Some(name)) = (parent.parent(), parent.file_name()) else {
                    return Err(CredentialError::invalid_name(format!(
                        "{} goes up from a directory that does not exist; give it without `..`",
                        show(path)
                    )));
                };
                missing.push(name.to_owned());
                parent = above.to_owned();
            }
            Err(error) => return Err(classify(&error, "create", path)),
        }
    };
    let mut place = walk(&real)?;
    for name in missing.iter().rev() {
        place = place.make(name)?;
        pass(&place)?;
    }
    private(place.make(&name)?)
}

/// The descriptor of a file in `place`, or `None` if there is none. Never follows a symbolic link
/// and never waits for the other end of a FIFO.
pub(crate) fn open_file(
    place: impl AsFd,
    name: &OsStr,
    path: &Path,
    access: OFlags,
) -> Result<Option<OwnedFd>, CredentialError> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat(place, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(check::symlink(path)),
        // A socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV | Errno::ISDIR) => Err(check::not_regular(path)),
        Err(errno) => Err(classify(&errno.into(), "open", path)),
    }
}
