//! The one place where an I/O error becomes ours.

use std::io;
use std::path::Path;

use nebula_credential_core::CredentialError;
use rustix::io::Errno;

/// A path as it stands in messages: verbatim when that is one plain word, else quoted and escaped,
/// so that a file name cannot forge a log line.
pub(crate) fn show(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace()) => {
            text.to_owned()
        }
        _ => format!("{path:?}"),
    }
}

fn reason(error: &io::Error) -> (&'static str, Option<i32>) {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "it does not exist; create it first, or check the path",
        io::ErrorKind::AlreadyExists => "it exists already; remove it first, or choose another path",
        io::ErrorKind::PermissionDenied => {
            "permission denied; run as its owner, or check the directories above it"
        }
        io::ErrorKind::StorageFull => "the disk is full; free some space and try again",
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; free some space and try again",
        io::ErrorKind::FileTooLarge => "the file size limit is reached; raise `ulimit -f`",
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only; remount it writable, or choose another path"
        }
        io::ErrorKind::NotADirectory => "a part of the path is not a directory; check the path",
        io::ErrorKind::IsADirectory => "it is a directory; move it away, or choose another path",
        io::ErrorKind::InvalidFilename => "the name is not allowed on this file system; choose another",
        _ => match error.raw_os_error() {
            Some(code) if code == Errno::MFILE.raw_os_error() => {
                "this process has too many open files; raise `ulimit -n`"
            }
            Some(code) if code == Errno::NFILE.raw_os_error() => {
                "the system has too many open files; close some"
            }
            Some(code) if code == Errno::IO.raw_os_error() => {
                "the device reported an I/O error; check the disk and the system log"
            }
            code => {
                return (
                    "check the disk and the system log; system error",
                    code.or(Some(0)),
                );
            }
        },
    };
    (text, None)
}

/// Turns an I/O error into [`CredentialError::Storage`], in our own words.
///
/// `what` is the verb of the sentence `cannot {what} {path}: …`, such as `read`. The text of the
/// error itself is dropped: only its kind, or its number where the kind says nothing, is kept.
///
/// Use it only where the change is known not to have been applied.
pub fn classify(error: &io::Error, what: &'static str, path: &Path) -> CredentialError {
    let path = show(path);
    match reason(error) {
        (text, None) => CredentialError::storage(format!("cannot {what} {path}: {text}")),
        (text, Some(code)) => CredentialError::storage(format!("cannot {what} {path}: {text} {code}")),
    }
}

/// [`classify`] for `map_err`.
pub(crate) fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(Errno) -> CredentialError + 'a {
    move |errno| classify(&errno.into(), what, path)
}

/// A change that is visible but perhaps not on the disk: neither done nor undone.
pub(crate) fn unsettled(errno: Errno, path: &Path) -> CredentialError {
    let (text, _) = reason(&errno.into());
    CredentialError::outcome_unknown(format!(
        "{} was changed, but the change may not survive a crash: {text}",
        show(path)
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_real_full_device_is_told_in_our_words() {
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = full.write_all(b"x").unwrap_err();
        assert_eq!(
            classify(&error, "write", Path::new("/store/key")).to_string(),
            "storage failed: cannot write /store/key: the disk is full; free some space and try again"
        );
    }

    #[test]
    fn the_text_of_the_error_is_never_kept() {
        let error = io::Error::other("hunter2");
        assert!(
            !classify(&error, "read", Path::new("k"))
                .to_string()
                .contains("hunter2")
        );
        for code in 1..=133 {
            let error = io::Error::from_raw_os_error(code);
            let message = classify(&error, "read", Path::new("k")).to_string();
            assert!(
                message.starts_with("storage failed: cannot read k: "),
                "{message}"
            );
            assert!(message.contains(';'), "no remedy in {message}");
            assert!(!message.contains("os error"), "{message}");
        }
    }

    #[test]
    fn numbers_stand_where_the_kind_says_nothing() {
        let error = classify(&Errno::PROTO.into(), "read", Path::new("a b"));
        assert_eq!(
            error.to_string(),
            format!(
                "storage failed: cannot read \"a b\": check the disk and the system log; system error {}",
                Errno::PROTO.raw_os_error()
            )
        );
    }
}
