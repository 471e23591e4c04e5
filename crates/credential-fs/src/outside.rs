use std::fs::File;
use std::path::Path;

use nebula_credential_core::CredentialError;
use rustix::fs::{CWD, OFlags, fstat};
use zeroize::Zeroizing;

use crate::check::{self, Rule};
use crate::error::failed;
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
