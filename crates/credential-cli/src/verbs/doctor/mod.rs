//! `ncred doctor`: looks at everything, changes nothing.

mod files;
mod records;
mod ring;
mod system;

use std::fmt;
use std::path::Path;

use nebula_credential::{Clock as _, ErrorKind, LocalStorage, SystemClock};
use serde::{Serialize, Serializer};

use super::view::short;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock;

/// The stable names of all checks.
const CHECKS: &[&str] = &[
    "files.kind",
    "files.link",
    "files.mode",
    "files.names",
    "files.owner",
    "files.parents",
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

/// The checks that need an open store, those that need an open key ring, and those that need both.
const OF_STORE: &[&str] = &[
    "record.expired",
    "record.expiring",
    "record.retention",
    "record.versions",
    "store.database",
    "store.read",
];
const OF_RING: &[&str] = &["key.age"];
const OF_BOTH: &[&str] = &[
    "key.rewrap",
    "key.unused",
    "record.integrity",
    "record.key",
    "record.schema",
];

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Works now, and will not for ever.
    Warning,
    /// Something is lost, open to others, or does not work.
    Error,
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize)]
struct Finding {
    /// The stable name of the check.
    check: &'static str,
    severity: Severity,
    /// What it is about: a path, the address of a credential, a key.
    subject: String,
    message: String,
    remedy: String,
    #[serde(serialize_with = "code")]
    exit_code: Exit,
}

/// A check that could not be made, and why.
#[derive(Debug, Serialize)]
struct Unchecked {
    check: &'static str,
    reason: &'static str,
}

fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// Everything found so far.
#[derive(Debug, Default)]
struct Findings {
    found: Vec<Finding>,
    unchecked: Vec<Unchecked>,
}

impl Findings {
    fn add(
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
    fn error(
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
    fn failed(&mut self, check: &'static str, subject: impl fmt::Display, failure: impl Into<Failure>) {
        let Failure {
            message, help, exit, ..
        } = failure.into();
        let remedy = help.unwrap_or_else(|| "see the other findings".to_owned());
        self.error(exit, check, subject, message, remedy);
    }

    /// Checks that cannot be made; of several reasons for one the first is told.
    fn unchecked(&mut self, checks: &[&'static str], reason: &'static str) {
        for check in checks {
            if !self.unchecked.iter().any(|known| known.check == *check) {
                self.unchecked.push(Unchecked { check, reason });
            }
        }
    }

    /// Whether `matches` holds for the name of a check that failed.
    fn has_error(&self, matches: impl Fn(&str) -> bool) -> bool {
        let mut errors = self
            .found
            .iter()
            .filter(|finding| finding.severity == Severity::Error);
        errors.any(|finding| matches(finding.check))
    }

    /// The checks that were made and found nothing.
    fn passed(&self) -> Vec<&'static str> {
        let is_told = |check: &str| {
            self.found.iter().any(|finding| finding.check == check)
                || self.unchecked.iter().any(|unchecked| unchecked.check == check)
        };
        CHECKS.iter().copied().filter(|check| !is_told(check)).collect()
    }

    /// The code of the worst error: damage before keys, keys before permissions, these before the rest.
    fn exit(&self) -> Exit {
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

/// A file, and what someone who copies it learns.
#[derive(Serialize)]
struct Exposure {
    file: String,
    reveals: &'static str,
}

/// What was looked at.
#[derive(Debug, Default, Serialize)]
struct Counts {
    files: u64,
    credentials: u64,
    versions: u64,
    opened: u64,
}

/// What holds, be it good or bad.
#[derive(Debug, Default, Serialize)]
struct Facts {
    /// How often the store was changed since it exists.
    generation: Option<u64>,
    /// What opens the key ring.
    slots: Option<Vec<&'static str>>,
    /// When the newest key is due for rotation.
    rotate_before: Option<String>,
    /// Whether keys lie in memory that is never written to swap.
    keys_locked: bool,
    /// Where the number of changes is kept beside the store: nowhere.
    anchor: Option<&'static str>,
}

impl Facts {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.slots.as_deref() {
            Some([only]) => lines.push(format!(
                "one slot opens the key ring, a {only}: if that is lost, so is everything; `ncred key add` adds another"
            )),
            Some(slots) => lines.push(format!("{} slots open the key ring: {}", slots.len(), slots.join(", "))),
            None => {}
        }
        if let Some(time) = &self.rotate_before {
            lines.push(format!("the key is due for rotation at {}", short(time)));
        }
        if !self.keys_locked {
            lines.push("keys lie in memory that may be written to swap".to_owned());
        }
        let changes = match self.generation {
            Some(number) => format!("this one was changed {number} times, a number that must never go down"),
            None => "how often this one was changed is not known".to_owned(),
        };
        lines.push(format!(
            "there is no anchor: an older copy of the whole store in its place is not noticed; {changes}"
        ));
        lines
    }
}

#[derive(Serialize)]
struct Report {
    healthy: bool,
    checked: Counts,
    findings: Vec<Finding>,
    unchecked: Vec<Unchecked>,
    passed: Vec<&'static str>,
    facts: Facts,
    exposure: Vec<Exposure>,
}

pub(super) async fn run(settings: &Settings, output: &Output) -> Outcome {
    let mut findings = Findings::default();
    let mut checked = Counts::default();
    let mut facts = Facts::default();
    let exposure = files::check(settings, &mut findings, &mut checked);
    facts.keys_locked = system::check(&settings.store, SystemClock.now(), &mut findings);
    look_inside(settings, &mut findings, &mut checked, &mut facts, output).await;
    let exit = findings.exit();
    let passed = findings.passed();
    let Findings {
        found: mut findings,
        unchecked,
    } = findings;
    // The worst first; within one severity in the order they were found.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let report = Report {
        healthy: findings.iter().all(|finding| finding.severity == Severity::Info),
        checked,
        findings,
        unchecked,
        passed,
        facts,
        exposure,
    };
    print(&report, output)?;
    if errors(&report) == 0 {
        return Ok(());
    }
    Err(Failure {
        kind: "unhealthy",
        message: match errors(&report) {
            1 => "one of the findings is an error".to_owned(),
            count => format!("{count} of the findings are errors"),
        },
        help: Some("the remedies stand beside them; run `ncred doctor` again afterwards".to_owned()),
        exit,
    })
}

/// Opens the key ring and the database, each as far as it can be without the other, and looks at what they hold.
async fn look_inside(
    settings: &Settings,
    findings: &mut Findings,
    checked: &mut Counts,
    facts: &mut Facts,
    output: &Output,
) {
    let now = SystemClock.now();
    let there_is_none = "there is no store to look into";
    // A link has been told; what it leads to is looked at all the same.
    let Ok(store) = settings.store.canonicalize() else {
        let error =
            nebula_credential::CredentialError::storage("the directory cannot be entered; check its path");
        findings.failed(
            "store.open",
            shown(&settings.store),
            unlock::absent(&settings.store, error),
        );
        for checks in [
            OF_STORE,
            OF_RING,
            OF_BOTH,
            &["key.ring", "key.unlock", "store.read_only"],
        ] {
            findings.unchecked(checks, there_is_none);
        }
        return;
    };
    let ring = ring::open(settings, &store, findings);
    match &ring {
        Some(ring) => ring::status(ring, now, findings, facts),
        None => findings.unchecked(OF_RING, "the key ring was not opened"),
    }
    let storage = LocalStorage::existing(&store);
    if let Err(error) = storage.open().await {
        match error.kind() {
            // Each file that is refused has been named.
            ErrorKind::InsecureStorage if findings.has_error(|check| check.starts_with("files.")) => {
                findings.unchecked(&["store.open"], "the files are refused as they lie there");
            }
            ErrorKind::Storage if findings.has_error(|check| check == "store.read_only") => {
                findings.unchecked(&["store.open"], "the store is read-only");
            }
            _ => findings.failed(
                "store.open",
                shown(&settings.store),
                unlock::absent(&store, error),
            ),
        }
        for checks in [OF_STORE, OF_BOTH] {
            findings.unchecked(checks, "the store was not opened");
        }
        return;
    }
    match storage.is_intact().await {
        Ok(true) => {}
        Ok(false) => findings.error(
            Exit::Damaged,
            "store.database",
            shown(&settings.store),
            "the database is damaged, or its tables were altered by hand",
            "restore the store from a backup; check the disk, and who can write to it",
        ),
        Err(error) => findings.failed("store.database", shown(&settings.store), error),
    }
    if ring.is_none() {
        findings.unchecked(OF_BOTH, "the key ring was not opened");
    }
    records::check(&storage, ring.as_ref(), findings, checked, output).await;
    facts.generation = storage.generation().await.ok();
}

fn errors(report: &Report) -> usize {
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    report.findings.iter().filter(is_error).count()
}

fn print(report: &Report, output: &Output) -> Outcome {
    if output.is_json() {
        return output.value(report);
    }
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        output.line(format!(
            "{} [{}] {}: {}",
            output.strong(severity),
            finding.check,
            finding.subject,
            finding.message
        ))?;
        output.line(format!("    remedy: {}", finding.remedy))?;
    }
    for same in report.unchecked.chunk_by(|a, b| a.reason == b.reason) {
        let checks: Vec<&str> = same.iter().map(|unchecked| unchecked.check).collect();
        let reason = same.first().map_or("", |unchecked| unchecked.reason);
        output.line(format!(
            "{} [{}]: {reason}",
            output.strong("not checked"),
            checks.join(", ")
        ))?;
    }
    let Counts {
        files,
        credentials,
        versions,
        opened,
    } = report.checked;
    let verdict = if report.findings.is_empty() {
        "nothing found"
    } else {
        "looked at"
    };
    output.line(format!(
        "{verdict}: files: {files}, credentials: {credentials}, versions: {versions}, opened: {opened}"
    ))?;
    output.line("")?;
    output.line(output.strong("Worth knowing"))?;
    for fact in report.facts.lines() {
        output.line(format!("  {fact}"))?;
    }
    output.line("")?;
    output.line(output.strong("What a thief of each file learns"))?;
    for exposure in &report.exposure {
        output.line(format!("  {}: {}", exposure.file, exposure.reveals))?;
    }
    Ok(())
}

/// For findings about a path.
fn shown(path: &Path) -> String {
    path.display().to_string()
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
        let parts = [OF_STORE, OF_RING, OF_BOTH].into_iter().flatten();
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
