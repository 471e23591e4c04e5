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
        ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation => damaged(store),
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
        ErrorCode::NoLargeFileSupport | ErrorCode::TooBig => CredentialError::storage(format!(
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
