//! The one place where an error of SQLite becomes ours. Its text quotes SQL and paths and is dropped; only its
//! code is read.

use std::path::Path;

use nebula_credential_core::CredentialError;
use rusqlite::ErrorCode;

/// What goes wrong inside the store.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Told(CredentialError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<CredentialError> for Fault {
    fn from(error: CredentialError) -> Self {
        Self::Told(error)
    }
}

impl Fault {
    /// A row this program cannot have written.
    pub(crate) fn damaged() -> Self {
        Self::Sql(rusqlite::Error::QueryReturnedMoreThanOneRow)
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sql(error) => error.sqlite_error_code(),
            Self::Told(_) => None,
        }
    }

    /// Whether the connection it came from must not be used again.
    pub(crate) fn poisons(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::SystemIoFailure
                    | ErrorCode::DiskFull
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::OutOfMemory
                    | ErrorCode::ApiMisuse
                    | ErrorCode::InternalMalfunction
            )
        )
    }

    /// The error of an operation that is known not to have changed anything.
    pub(crate) fn classify(self, store: &Path) -> CredentialError {
        match self {
            Self::Told(error) => error,
            Self::Sql(error) => classify(&error, store),
        }
    }

    /// The error of a commit. SQLite writes the frame that commits before it syncs: when the device fails in between,
    /// a later recovery may find that frame whole. When the disk is full, it cannot have been written.
    pub(crate) fn classify_commit(self, store: &Path) -> CredentialError {
        match self.code() {
            Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::DatabaseCorrupt) => {
                CredentialError::outcome_unknown(format!(
                    "the device under {store:?} failed while the change was made durable; check the disk and the \
                     system log"
                ))
            }
            _ => self.classify(store),
        }
    }
}

fn classify(error: &rusqlite::Error, store: &Path) -> CredentialError {
    // The file shared between processes could not grow, which no other cause makes likely.
    if error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
    {
        return full(store);
    }
    let Some(code) = error.sqlite_error_code() else {
        return match error {
            rusqlite::Error::QueryReturnedMoreThanOneRow
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::Utf8Error(..) => damaged(store),
            _ => CredentialError::internal("the store asked SQLite for something it does not have"),
        };
    };
    match code {
        ErrorCode::DiskFull => full(store),
        ErrorCode::ReadOnly => CredentialError::storage(format!(
            "{store:?} is read-only; remount the file system writable, or run as the owner of the store"
        )),
        // Too big is a row longer than any this program writes.
        ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::TooBig => damaged(store),
        ErrorCode::NotADatabase => not_a_store(store),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            CredentialError::unavailable(format!(
                "another program keeps {store:?} locked; close database tools that have it open, and try again"
            ))
        }
        ErrorCode::SystemIoFailure => CredentialError::storage(format!(
            "the device under {store:?} reported an I/O error; check the disk and the system log"
        )),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => CredentialError::storage(format!(
            "cannot open the files of {store:?}; check that they exist, who owns them, and `ulimit -n`"
        )),
        ErrorCode::OutOfMemory => CredentialError::unavailable(
            "no memory is left for the credential store; free some and try again",
        ),
        ErrorCode::NoLargeFileSupport => CredentialError::storage(format!(
            "{store:?} grew beyond what this system can hold; purge credentials"
        )),
        // A statement no longer fits the tables: a newer program changed them while this one ran.
        ErrorCode::SchemaChanged | ErrorCode::Unknown => newer(store),
        _ => CredentialError::internal("SQLite refused a call of the credential store"),
    }
}

fn full(store: &Path) -> CredentialError {
    CredentialError::storage(format!(
        "the disk is full; nothing was changed in {store:?}; free some space and try again"
    ))
}

fn damaged(store: &Path) -> CredentialError {
    CredentialError::storage(format!("{store:?} is damaged; restore it from a backup"))
}

pub(crate) fn not_a_store(store: &Path) -> CredentialError {
    CredentialError::unsupported_format(format!(
        "{store:?} is not a credential store; move it away, or give another directory"
    ))
}

pub(crate) fn newer(store: &Path) -> CredentialError {
    CredentialError::unsupported_format(format!(
        "{store:?} was written by a newer version; upgrade this program"
    ))
}

#[cfg(test)]
mod tests {
    use nebula_credential_core::{ErrorKind, Retryability};
    use rusqlite::ffi;

    use super::*;

    fn fault(code: i32) -> Fault {
        Fault::Sql(rusqlite::Error::SqliteFailure(
            ffi::Error::new(code),
            Some("hunter2".to_owned()),
        ))
    }

    #[test]
    fn every_code_becomes_words_of_ours_with_a_remedy() {
        let store = Path::new("/srv/secrets/store.db");
        for code in 1..=28 {
            let error = fault(code).classify(store);
            let text = error.to_string();
            assert!(
                !text.contains("hunter2") && !text.to_lowercase().contains("error code"),
                "{code}: {text}"
            );
            assert!(
                text.contains(';') || error.kind() == ErrorKind::Internal,
                "{code}: {text}"
            );
        }
    }

    #[test]
    fn what_happened_decides_the_kind() {
        let store = Path::new("/srv/secrets/store.db");
        let kinds = [
            (ffi::SQLITE_FULL, ErrorKind::Storage, "disk is full"),
            (ffi::SQLITE_IOERR_SHMSIZE, ErrorKind::Storage, "disk is full"),
            (ffi::SQLITE_READONLY, ErrorKind::Storage, "read-only"),
            (ffi::SQLITE_CORRUPT, ErrorKind::Storage, "backup"),
            (
                ffi::SQLITE_NOTADB,
                ErrorKind::UnsupportedFormat,
                "not a credential store",
            ),
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable, "locked"),
            (ffi::SQLITE_IOERR_READ, ErrorKind::Storage, "I/O error"),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Storage, "ulimit -n"),
        ];
        for (code, kind, words) in kinds {
            let error = fault(code).classify(store);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            let transient = matches!(error.retryability(), Retryability::Transient { .. });
            assert_eq!(transient, kind == ErrorKind::Unavailable, "{error}");
        }
    }

    #[test]
    fn a_commit_that_could_not_be_synced_is_in_doubt_and_one_that_found_no_room_is_not() {
        let store = Path::new("/srv/secrets/store.db");
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE] {
            assert!(fault(code).poisons());
            assert!(fault(code).classify_commit(store).is_outcome_unknown());
        }
        assert_eq!(
            fault(ffi::SQLITE_FULL).classify_commit(store).kind(),
            ErrorKind::Storage
        );
        assert!(!fault(ffi::SQLITE_BUSY).poisons());
    }
}
