use std::fs::File;
use std::path::Path;

use nebula_credential_core::CredentialError;
use rustix::fs::{CWD, OFlags, fchmod, fstat, openat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::check::{self, FILE_MODE, Rule};
use crate::error::{classify, failed};
use crate::{file, walk};

/// The whole content of a file the user keeps somewhere, such as a key file or a passphrase file,
/// wiped on drop; `None` if there is no such file.
///
/// It must be a regular file, not a symbolic link, belong to the effective user and have no mode bit
/// for group or others. All of this is asked of the open file. The directories above it are not
/// checked: who can write there can take the file away, but cannot put one there that passes.
///
/// # Errors
///
/// [`InsecureStorage`](CredentialError::InsecureStorage) when it is not such a file;
/// [`LimitExceeded`](CredentialError::LimitExceeded) when it has more than `max` bytes, before any
/// is read; [`Storage`](CredentialError::Storage) when the system refuses.
pub fn read_private_file(
    path: impl AsRef<Path>,
    max: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, CredentialError> {
    let path = path.as_ref();
    let Some(fd) = walk::open_file(CWD, path.as_os_str(), path, OFlags::RDONLY)? else {
        return Ok(None);
    };
    let stat = fstat(&fd).map_err(failed("examine", path))?;
    let info = check::file(&stat, path, Rule::Users)?;
    file::read_all(File::from(fd), info.len, max, path).map(Some)
}

/// The whole content of a file that decides what others may do, such as a policy: not secret, but nobody other than the
/// effective user and root may be able to change it. `None` if there is no such file.
///
/// It must be a regular file, belong to one of the two, and not be writable for group or others; nor may a directory
/// above it, unless its sticky bit is set or it is mounted read-only. A symbolic link that belongs to one of the two
/// is followed.
///
/// # Errors
///
/// [`InsecureStorage`](CredentialError::InsecureStorage) when it is not such a file;
/// [`LimitExceeded`](CredentialError::LimitExceeded) when it has more than `max` bytes, before any
/// is read; [`Storage`](CredentialError::Storage) when the system refuses.
pub fn read_trusted_file(
    path: impl AsRef<Path>,
    max: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, CredentialError> {
    let path = path.as_ref();
    let Some(fd) = walk::open_trusted(path)? else {
        return Ok(None);
    };
    let stat = fstat(&fd).map_err(failed("examine", path))?;
    let info = check::trusted_file(&stat, path)?;
    file::read_all(File::from(fd), info.len, max, path).map(Some)
}

/// Opens a file the user keeps somewhere, such as a log, for reading and for writing at its end; made with mode 0600 if
/// there is none.
///
/// It must be as [`read_private_file`] wants it.
///
/// # Errors
///
/// [`InsecureStorage`](CredentialError::InsecureStorage) when it is not such a file;
/// [`Storage`](CredentialError::Storage) when the system refuses.
pub fn append_private_file(path: impl AsRef<Path>) -> Result<File, CredentialError> {
    open(path.as_ref(), OFlags::RDWR | OFlags::APPEND)
}

/// [`append_private_file`] for a file that is written in place.
///
/// # Errors
///
/// As there.
pub fn open_private_file(path: impl AsRef<Path>) -> Result<File, CredentialError> {
    open(path.as_ref(), OFlags::RDWR)
}

fn open(path: &Path, access: OFlags) -> Result<File, CredentialError> {
    // Of a FIFO, which is refused below, nobody waits for the other end.
    let access = access | OFlags::NONBLOCK;
    let made = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        if let Some(fd) = walk::open_file(CWD, path.as_os_str(), path, access)? {
            let stat = fstat(&fd).map_err(failed("examine", path))?;
            check::file(&stat, path, Rule::Users)?;
            return Ok(File::from(fd));
        }
        match openat(CWD, path, made, FILE_MODE) {
            Ok(fd) => {
                // The umask may have taken away bits the owner needs.
                fchmod(&fd, FILE_MODE).map_err(failed("create", path))?;
                return Ok(File::from(fd));
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(classify(&errno.into(), "create", path)),
        }
    }
}
