//! How a run ends: exit codes, and failures with their remedy.

use nebula_credential::{CredentialError, ErrorKind};

/// The exit codes. Their numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Other = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Locked = 5,
    Damaged = 6,
    Conflict = 7,
    Unavailable = 8,
    /// As shells have it: a command that `run` cannot run, or cannot find.
    NotExecutable = 126,
    CommandNotFound = 127,
    /// As shells have it: 128 and the number of the signal.
    HungUp = 129,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

/// The one place where a class of errors gets its exit code.
const fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::InvalidName | ErrorKind::LimitExceeded => Exit::Usage,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::AccessDenied | ErrorKind::InsecureStorage => Exit::Denied,
        ErrorKind::Key => Exit::Locked,
        ErrorKind::Tampered | ErrorKind::UnsupportedFormat => Exit::Damaged,
        ErrorKind::Conflict => Exit::Conflict,
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::AuditUnavailable => {
            Exit::Unavailable
        }
        // An unknown outcome is here, and not with what may simply be tried again.
        _ => Exit::Other,
    }
}

/// Why a run failed, in words that are safe to show: no value and no foreign error text.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The stable class, in `snake_case`.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
    pub(crate) exit: Exit,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            kind: kind.as_str(),
            message: message.into(),
            help: Some(help.into()),
            exit: exit_of(kind),
        }
    }

    /// The command line or the input is not well formed.
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message, help)
    }

    /// Something named does not exist.
    pub(crate) fn not_found(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message, help)
    }

    /// Something is there already, or was changed by someone else.
    pub(crate) fn conflict(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message, help)
    }

    /// No key, or the wrong one.
    pub(crate) fn locked(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::Key, message, help)
    }

    /// Files are open to others.
    pub(crate) fn insecure(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::InsecureStorage, message, help)
    }

    /// It cannot be done as things stand.
    pub(crate) fn state(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidState, message, help)
    }

    /// The operating system refused.
    pub(crate) fn system(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(ErrorKind::Storage, message, help)
    }

    /// The answer was given, and it is this exit code.
    pub(crate) fn answered(kind: ErrorKind) -> Self {
        Self {
            kind: kind.as_str(),
            message: String::new(),
            help: None,
            exit: exit_of(kind),
        }
    }

    /// Whoever read our output went away: nothing to report, and no one to report it to.
    pub(crate) fn broken_pipe() -> Self {
        Self {
            kind: "broken_pipe",
            message: String::new(),
            help: None,
            exit: Exit::Ok,
        }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    /// Replaces the remedy.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<CredentialError> for Failure {
    /// The library writes `what went wrong; what to do`.
    fn from(error: CredentialError) -> Self {
        let kind = error.kind();
        let text = error.to_string(); // tidy: own error
        let (message, help) = match text.split_once("; ") {
            Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
            None => (text, None),
        };
        Self {
            kind: kind.as_str(),
            message,
            help,
            exit: exit_of(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use nebula_credential::CredentialError;

    use super::{Exit, Failure};

    #[test]
    fn each_class_of_errors_has_its_exit_code() {
        use nebula_credential::CredentialError as E;
        let table = [
            (E::validation("x"), Exit::Usage),
            (E::invalid_name("x"), Exit::Usage),
            (E::limit("x", 1, 2), Exit::Usage),
            (E::not_found("x"), Exit::NotFound),
            (E::already_exists("x"), Exit::Conflict),
            (E::expired("x"), Exit::Other),
            (E::type_mismatch("x"), Exit::Other),
            (E::invalid_state("x"), Exit::Other),
            (E::access_denied("x"), Exit::Denied),
            (E::insecure_storage("x"), Exit::Denied),
            (E::unlock_failed("x"), Exit::Locked),
            (E::key_not_found("x"), Exit::Locked),
            (E::Tampered, Exit::Damaged),
            (E::unsupported_format("x"), Exit::Damaged),
            (E::storage("x"), Exit::Other),
            (E::outcome_unknown("x"), Exit::Other),
            (E::unavailable("x"), Exit::Unavailable),
            (E::deadline_exceeded("x"), Exit::Unavailable),
            (E::audit_unavailable("x"), Exit::Unavailable),
        ];
        for (error, exit) in table {
            let kind = error.kind().as_str();
            let failure = Failure::from(error);
            assert_eq!((failure.exit, failure.kind), (exit, kind));
        }
    }

    #[test]
    fn the_remedy_of_the_library_becomes_the_help() {
        let failure = Failure::from(CredentialError::validation("a is empty; paste it; twice"));
        assert_eq!(failure.message, "invalid credential: a is empty");
        assert_eq!(failure.help.as_deref(), Some("paste it; twice"));
    }
}
