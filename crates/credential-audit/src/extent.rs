//! How much of a log there is.

use std::path::Path;

use nebula_credential_core::CredentialError;

use crate::checkpoint::Checkpoint;
use crate::files;

/// What lies on the disk of a log. Whether it is genuine is for [`verify`](crate::verify()) to say.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How many files hold its records.
    pub files: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// The number of the record that the last checkpoint speaks of, if there is one.
    pub last_checkpoint: Option<u64>,
}

/// Measures the log at `path`, and finds its last checkpoint in `checkpoints`, or where they are put unless told otherwise.
///
/// # Errors
/// [`CredentialError::AuditUnavailable`] when there is no log, or it cannot be examined.
pub fn extent(path: impl AsRef<Path>, checkpoints: Option<&Path>) -> Result<Extent, CredentialError> {
    let path = path.as_ref();
    let (mut count, mut bytes) = (0, 0);
    for file in files::all(path)? {
        let found = std::fs::metadata(&file)
            .map_err(|_| crate::unavailable("a file of the log cannot be examined"))?;
        count += 1;
        bytes += found.len();
    }
    let notes = files::notes(path, checkpoints)?;
    Ok(Extent {
        files: count,
        bytes,
        last_checkpoint: Checkpoint::last_noted(&notes),
    })
}
