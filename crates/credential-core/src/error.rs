//! One error type for every crate of the workspace.

use std::borrow::Cow;
use std::time::Duration;

use crate::{CredentialRef, Version};

/// Text written by this project or by the author of a credential type.
///
/// Never the text of a foreign error: JSON, HTTP and SQL errors quote the value they choke on.
pub type Message = Cow<'static, str>;

/// Why an operation on a credential failed.
///
/// Every variant is safe to log: it holds names, numbers and our own words, never a value.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The input has the wrong shape; nothing was stored.
    #[error("invalid credential: {0}")]
    Validation(Message),
    /// A name, tenant, scope or tag is not well formed.
    #[error("invalid name: {0}")]
    InvalidName(Message),
    /// A documented limit would be exceeded; checked before anything is allocated.
    #[error("{what} exceeds its limit: {found} of at most {limit}")]
    LimitExceeded {
        /// What is limited, with its unit, such as `secret bytes`.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was asked for.
        found: u64,
    },
    /// No such credential, or it is deleted.
    #[error("credential not found: {0}; `list` shows the names that exist")]
    NotFound(Message),
    /// No such version of an existing credential.
    #[error("{name} has no version {version}; `versions` shows those that are kept")]
    VersionNotFound {
        /// The credential.
        name: String,
        /// The version asked for.
        version: Version,
    },
    /// The credential exists already and the caller asked for a new one.
    #[error("credential exists already: {0}; rotate it, or store without the if-absent condition")]
    AlreadyExists(Message),
    /// Someone else changed the credential first: read it again, then decide again.
    #[error(
        "version conflict on {name}: expected {}, found {}; read it again and retry",
        show(.expected),
        show(.found)
    )]
    VersionConflict {
        /// The credential.
        name: String,
        /// The version the caller built on.
        expected: Option<Version>,
        /// The version that is current, if there is one.
        found: Option<Version>,
    },
    /// The credential expired.
    #[error("credential expired: {0}")]
    Expired(Message),
    /// The stored credential is of another type than the one asked for.
    #[error("credential type mismatch: {0}")]
    TypeMismatch(Message),
    /// The operation does not fit the state the credential is in.
    #[error("invalid state: {0}")]
    InvalidState(Message),
    /// The caller may not do this.
    #[error("access denied: {0}")]
    AccessDenied(Message),
    /// This type has no way to refresh itself.
    #[error("this credential type cannot be refreshed; store a new value")]
    RefreshNotSupported,
    /// The refresh was refused or could not be understood.
    #[error("refresh failed: {0}")]
    RefreshFailed(Message),
    /// Text that should hold a credential could not be parsed.
    #[error("cannot parse: {0}")]
    Parse(Message),
    /// A credential could not be encoded.
    #[error("cannot encode the credential: {0}")]
    SerializationFailed(Message),
    /// Stored bytes do not decode into the type asked for.
    #[error("cannot decode the credential: {0}")]
    DeserializationFailed(Message),
    /// Sealing failed.
    #[error("encryption failed: {0}")]
    EncryptionFailed(Message),
    /// The record cannot be opened: it is damaged, or was sealed for another place or by another key.
    ///
    /// Deliberately one answer for all three: telling them apart helps an attacker, not an operator.
    #[error(
        "decryption failed: the record is damaged, was moved, or was sealed under another key; restore it from a backup or an earlier version"
    )]
    Tampered,
    /// Bytes sealed with a bare [key or password](https://docs.rs/nebula-credential-crypto) cannot be opened.
    #[error("decryption failed: {0}")]
    DecryptionFailed(Message),
    /// The format is newer than this library, or is not ours.
    #[error("unsupported format: {0}")]
    UnsupportedFormat(Message),
    /// A passphrase, key file or other protector does not open the key ring.
    #[error("cannot unlock: {0}")]
    Unlock(Message),
    /// A key, key file or key ring is missing.
    #[error("key not found: {0}")]
    KeyNotFound(Message),
    /// A hardware security module refused or failed.
    #[error("HSM error: {0}")]
    Hsm(Message),
    /// Files are open to others, belong to someone else, or are not what they claim to be.
    #[error("insecure storage: {0}")]
    InsecureStorage(Message),
    /// The backend failed, and is known not to have applied the change.
    #[error("storage failed: {0}")]
    Storage(Message),
    /// The backend cannot be reached or is overloaded.
    #[error("unavailable: {message}")]
    Unavailable {
        /// What could not be reached, and what to check.
        message: Message,
        /// How long the backend asked us to wait.
        retry_after: Option<Duration>,
    },
    /// A connection could not be made.
    #[error("connection failed: {0}")]
    ConnectionFailed(Message),
    /// The circuit breaker is open: the backend was not asked.
    #[error("circuit breaker open: {0}")]
    CircuitBreakerOpen(Message),
    /// The deadline passed before the operation began or ended.
    #[error("deadline exceeded: {0}")]
    DeadlineExceeded(Message),
    /// The answer to a write was lost: it may or may not have been applied. Read before writing again.
    #[error("outcome unknown: {0}; read the credential before writing again")]
    OutcomeUnknown(Message),
    /// The audit log cannot be written, and so no value was released.
    ///
    /// What could not be recorded is not done; a change that was recorded before it was made may have been made.
    #[error("audit log unavailable: {0}")]
    AuditUnavailable(Message),
    /// The store, type or key provider cannot do this.
    #[error("not supported: {0}")]
    Unsupported(Message),
    /// A bug in this library; please report it.
    #[error("internal error: {0}")]
    Internal(Message),
}

fn show(version: &Option<Version>) -> String {
    version.map_or_else(|| "none".to_owned(), |v| format!("version {v}"))
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $variant:ident),* $(,)?) => {
        impl CredentialError {
            $($(#[$doc])*
            pub fn $name(message: impl Into<Message>) -> Self {
                Self::$variant(message.into())
            })*
        }
    };
}

constructors! {
    /// [`Validation`](Self::Validation).
    validation => Validation,
    /// [`InvalidName`](Self::InvalidName).
    invalid_name => InvalidName,
    /// [`NotFound`](Self::NotFound).
    not_found => NotFound,
    /// [`AlreadyExists`](Self::AlreadyExists).
    already_exists => AlreadyExists,
    /// [`Expired`](Self::Expired).
    expired => Expired,
    /// [`TypeMismatch`](Self::TypeMismatch).
    type_mismatch => TypeMismatch,
    /// [`InvalidState`](Self::InvalidState).
    invalid_state => InvalidState,
    /// [`AccessDenied`](Self::AccessDenied).
    access_denied => AccessDenied,
    /// [`RefreshFailed`](Self::RefreshFailed).
    refresh_failed => RefreshFailed,
    /// [`Parse`](Self::Parse).
    parse_error => Parse,
    /// [`SerializationFailed`](Self::SerializationFailed).
    serialization_failed => SerializationFailed,
    /// [`DeserializationFailed`](Self::DeserializationFailed).
    deserialization_failed => DeserializationFailed,
    /// [`EncryptionFailed`](Self::EncryptionFailed).
    encryption_failed => EncryptionFailed,
    /// [`DecryptionFailed`](Self::DecryptionFailed).
    decryption_failed => DecryptionFailed,
    /// [`UnsupportedFormat`](Self::UnsupportedFormat).
    unsupported_format => UnsupportedFormat,
    /// [`Unlock`](Self::Unlock).
    unlock_failed => Unlock,
    /// [`KeyNotFound`](Self::KeyNotFound).
    key_not_found => KeyNotFound,
    /// [`Hsm`](Self::Hsm).
    hsm_error => Hsm,
    /// [`InsecureStorage`](Self::InsecureStorage).
    insecure_storage => InsecureStorage,
    /// [`Storage`](Self::Storage).
    storage => Storage,
    /// [`ConnectionFailed`](Self::ConnectionFailed).
    connection_failed => ConnectionFailed,
    /// [`CircuitBreakerOpen`](Self::CircuitBreakerOpen).
    circuit_breaker_open => CircuitBreakerOpen,
    /// [`DeadlineExceeded`](Self::DeadlineExceeded).
    deadline_exceeded => DeadlineExceeded,
    /// [`OutcomeUnknown`](Self::OutcomeUnknown).
    outcome_unknown => OutcomeUnknown,
    /// [`AuditUnavailable`](Self::AuditUnavailable).
    audit_unavailable => AuditUnavailable,
    /// [`Unsupported`](Self::Unsupported).
    unsupported => Unsupported,
    /// [`Internal`](Self::Internal).
    internal => Internal,
}

impl CredentialError {
    /// [`Unavailable`](Self::Unavailable), with no advice on when to come back.
    pub fn unavailable(message: impl Into<Message>) -> Self {
        Self::Unavailable {
            message: message.into(),
            retry_after: None,
        }
    }

    /// [`VersionNotFound`](Self::VersionNotFound).
    pub fn version_not_found(id: &CredentialRef, version: Version) -> Self {
        Self::VersionNotFound {
            name: id.to_string(),
            version,
        }
    }

    /// [`LimitExceeded`](Self::LimitExceeded).
    pub fn limit(what: &'static str, limit: usize, found: usize) -> Self {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self::LimitExceeded {
            what,
            limit: wide(limit),
            found: wide(found),
        }
    }

    /// The stable class of this error: the label for metrics, exit codes and protocols.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation(_) | Self::Parse(_) => ErrorKind::InvalidInput,
            Self::InvalidName(_) => ErrorKind::InvalidName,
            Self::LimitExceeded { .. } => ErrorKind::LimitExceeded,
            Self::NotFound(_) | Self::VersionNotFound { .. } => ErrorKind::NotFound,
            Self::AlreadyExists(_) | Self::VersionConflict { .. } => ErrorKind::Conflict,
            Self::Expired(_) => ErrorKind::Expired,
            Self::TypeMismatch(_) => ErrorKind::TypeMismatch,
            Self::InvalidState(_) => ErrorKind::InvalidState,
            Self::AccessDenied(_) => ErrorKind::AccessDenied,
            Self::RefreshNotSupported | Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::RefreshFailed(_) => ErrorKind::RefreshFailed,
            Self::SerializationFailed(_) | Self::DeserializationFailed(_) => ErrorKind::Codec,
            Self::EncryptionFailed(_) | Self::Internal(_) => ErrorKind::Internal,
            Self::Tampered | Self::DecryptionFailed(_) => ErrorKind::Tampered,
            Self::UnsupportedFormat(_) => ErrorKind::UnsupportedFormat,
            Self::Unlock(_) | Self::KeyNotFound(_) | Self::Hsm(_) => ErrorKind::Key,
            Self::InsecureStorage(_) => ErrorKind::InsecureStorage,
            Self::Storage(_) => ErrorKind::Storage,
            Self::Unavailable { .. } | Self::ConnectionFailed(_) | Self::CircuitBreakerOpen(_) => {
                ErrorKind::Unavailable
            }
            Self::DeadlineExceeded(_) => ErrorKind::DeadlineExceeded,
            Self::OutcomeUnknown(_) => ErrorKind::OutcomeUnknown,
            Self::AuditUnavailable(_) => ErrorKind::AuditUnavailable,
        }
    }

    /// Whether asking again can help.
    ///
    /// An unknown outcome is [`Permanent`](Retryability::Permanent): a blind retry may apply a change twice.
    pub fn retryability(&self) -> Retryability {
        match self {
            Self::Unavailable { retry_after, .. } => Retryability::Transient { after: *retry_after },
            Self::ConnectionFailed(_) | Self::CircuitBreakerOpen(_) => {
                Retryability::Transient { after: None }
            }
            Self::DeadlineExceeded(_) => Retryability::Exhausted,
            _ => Retryability::Permanent,
        }
    }

    /// The credential, or the version asked for, is absent.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Someone else changed the credential first, or it exists already.
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// The credential is past its expiry.
    pub fn is_expired(&self) -> bool {
        self.kind() == ErrorKind::Expired
    }

    /// The caller may not do this.
    pub fn is_access_denied(&self) -> bool {
        self.kind() == ErrorKind::AccessDenied
    }

    /// The record is damaged or out of place.
    pub fn is_tampered(&self) -> bool {
        self.kind() == ErrorKind::Tampered
    }

    /// The write may or may not have been applied.
    pub fn is_outcome_unknown(&self) -> bool {
        self.kind() == ErrorKind::OutcomeUnknown
    }
}

/// The stable class of a [`CredentialError`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input has the wrong shape.
    InvalidInput,
    /// A name is not well formed.
    InvalidName,
    /// A documented limit would be exceeded.
    LimitExceeded,
    /// Absent.
    NotFound,
    /// Changed by someone else first, or present already.
    Conflict,
    /// Past its expiry.
    Expired,
    /// Of another type.
    TypeMismatch,
    /// Not possible in the present state.
    InvalidState,
    /// Forbidden.
    AccessDenied,
    /// Not something this type, store or provider can do.
    Unsupported,
    /// The refresh was refused.
    RefreshFailed,
    /// Encoding or decoding failed.
    Codec,
    /// Damaged or out of place.
    Tampered,
    /// Newer than this library, or not ours.
    UnsupportedFormat,
    /// A key is missing, wrong, or its provider failed.
    Key,
    /// Files are open to others.
    InsecureStorage,
    /// The backend failed and did not apply the change.
    Storage,
    /// The backend cannot be reached.
    Unavailable,
    /// Time ran out.
    DeadlineExceeded,
    /// The answer to a write was lost.
    OutcomeUnknown,
    /// The audit log cannot be written.
    AuditUnavailable,
    /// A bug in this library.
    Internal,
}

impl ErrorKind {
    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::InvalidName => "invalid_name",
            Self::LimitExceeded => "limit_exceeded",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Expired => "expired",
            Self::TypeMismatch => "type_mismatch",
            Self::InvalidState => "invalid_state",
            Self::AccessDenied => "access_denied",
            Self::Unsupported => "unsupported",
            Self::RefreshFailed => "refresh_failed",
            Self::Codec => "codec",
            Self::Tampered => "tampered",
            Self::UnsupportedFormat => "unsupported_format",
            Self::Key => "key",
            Self::InsecureStorage => "insecure_storage",
            Self::Storage => "storage",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::AuditUnavailable => "audit_unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryability {
    /// The same request will fail again.
    Permanent,
    /// The cause may pass.
    Transient {
        /// The least time to wait, where the backend named one.
        after: Option<Duration>,
    },
    /// The cause may pass, but this request has no time or attempts left.
    Exhausted,
}
