//! The checks by name, and what they found.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::exit::{Exit, Failure};

/// The stable names of all checks.
const CHECKS: &[&str] = &[
    "audit.seed",
    "files.kind",
    "files.link",
    "files.mode",
    "files.names",
    "files.owner",
    "files.parents",
    "files.read",
    "files.stray",
    "key.age",
    "key.place",
    "key.rewrap",
    "key.ring",
    "key.unlock",
    "key.unused",
    "record.expired",
    "record.expiring",
    "record.integrity",
    "record.key",
    "record.retention",
    "record.schema",
    "record.versions",
    "store.database",
    "store.leftover",
    "store.open",
    "store.read",
    "store.read_only",
    "system.clock",
    "system.core",
    "system.memlock",
    "system.space",
];

/// The checks of each file of a store.
pub(super) const OF_FILES: &[&str] = &[
    "files.kind",
    "files.link",
    "files.mode",
    "files.names",
    "files.owner",
    "files.stray",
    "store.leftover",
];
/// The checks that need an open store, those that need an open key ring, and those that need both.
pub(super) const OF_STORE: &[&str] = &[
    "record.expired",
    "record.expiring",
    "record.retention",
    "record.versions",
    "store.database",
    "store.read",
];
pub(super) const OF_RING: &[&str] = &["key.age"];
pub(super) const OF_BOTH: &[&str] = &[
    "key.rewrap",
    "key.unused",
    "record.integrity",
    "record.key",
    "record.schema",
];

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Works now, and will not for ever.
    Warning,
    /// Something is lost, open to others, or does not work.
    Error,
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// The stable name of the check.
    pub(super) check: &'static str,
    pub(super) severity: Severity,
    /// What it is about: a path, the address of a credential, a key.
    pub(super) subject: String,
    pub(super) message: String,
    pub(super) remedy: String,
    #[serde(serialize_with = "code")]
    pub(super) exit_code: Exit,
}

/// A check that could not be made, and why.
#[derive(Debug, Serialize)]
pub(super) struct Unchecked {
    pub(super) check: &'static str,
    pub(super) reason: &'static str,
}

fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) found: Vec<Finding>,
    pub(super) unchecked: Vec<Unchecked>,
}

impl Findings {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        check: &'static str,
        subject: impl fmt::Display,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.found.push(Finding {
            check,
            severity,
            subject: subject.to_string(),
            message: message.into(),
            remedy: remedy.into(),
            exit_code: Exit::Ok,
        });
    }

    /// An error, and the exit code it ends the run with.
    pub(super) fn error(
        &mut self,
        exit: Exit,
        check: &'static str,
        subject: impl fmt::Display,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Severity::Error, check, subject, message, remedy);
        if let Some(last) = self.found.last_mut() {
            last.exit_code = exit;
        }
    }

    /// An error in the words of what failed.
    pub(super) fn failed(
        &mut self,
        check: &'static str,
        subject: impl fmt::Display,
        failure: impl Into<Failure>,
    ) {
        let Failure {
            message, help, exit, ..
        } = failure.into();
        let remedy = help.unwrap_or_else(|| "see the other findings".to_owned());
        self.error(exit, check, subject, message, remedy);
    }

    /// Checks that cannot be made; of several reasons for one the first is told.
    pub(super) fn unchecked(&mut self, checks: &[&'static str], reason: &'static str) {
        for check in checks {
            if !self.unchecked.iter().any(|known| known.check == *check) {
                self.unchecked.push(Unchecked { check, reason });
            }
        }
    }

    /// Whether `matches` holds for the name of a check that failed.
    pub(super) fn has_error(&self, matches: impl Fn(&str) -> bool) -> bool {
        let mut errors = self
            .found
            .iter()
            .filter(|finding| finding.severity == Severity::Error);
        errors.any(|finding| matches(finding.check))
    }

    /// The checks that were made and found nothing.
    pub(super) fn passed(&self) -> Vec<&'static str> {
        let is_told = |check: &str| {
            self.found.iter().any(|finding| finding.check == check)
                || self.unchecked.iter().any(|unchecked| unchecked.check == check)
        };
        CHECKS.iter().copied().filter(|check| !is_told(check)).collect()
    }

    /// The code of the worst error: damage before keys, keys before permissions, these before the rest.
    pub(super) fn exit(&self) -> Exit {
        let weight = |exit: Exit| match exit {
            Exit::Ok => 0,
            Exit::Damaged => 5,
            Exit::Locked => 4,
            Exit::Denied => 3,
            Exit::NotFound => 2,
            _ => 1,
        };
        let codes = self.found.iter().map(|finding| finding.exit_code);
        codes.max_by_key(|exit| weight(*exit)).unwrap_or(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_check_and_every_check_that_needs_something_exists() {
        let manual = include_str!("../../../README.md");
        for check in CHECKS {
            assert!(manual.contains(&format!("`{check}`")), "{check}");
        }
        let parts = [OF_FILES, OF_STORE, OF_RING, OF_BOTH].into_iter().flatten();
        assert!(parts.into_iter().all(|check| CHECKS.contains(check)));
    }

    #[test]
    fn the_worst_error_decides_the_exit_code_and_warnings_do_not() {
        let mut findings = Findings::default();
        findings.add(Severity::Warning, "record.expired", "", "", "");
        assert_eq!(findings.exit(), Exit::Ok);
        for (exit, worst) in [
            (Exit::Other, Exit::Other),
            (Exit::Denied, Exit::Denied),
            (Exit::NotFound, Exit::Denied),
            (Exit::Locked, Exit::Locked),
            (Exit::Damaged, Exit::Damaged),
            (Exit::Denied, Exit::Damaged),
        ] {
            findings.error(exit, "store.open", "", "", "");
            assert_eq!(findings.exit(), worst);
        }
        assert!(findings.passed().contains(&"key.age"));
        assert!(!findings.passed().contains(&"record.expired"));
    }
}
