//! What is printed: the JSON shape, and the same for people.

use serde::{Serialize, Serializer};

use super::super::view::{code, short};
use super::findings::{Finding, Severity, Unchecked};
use crate::exit::Outcome;
use crate::output::Output;

/// A file, and what someone who copies it learns.
#[derive(Serialize)]
pub(super) struct Exposure {
    pub(super) file: String,
    pub(super) reveals: &'static str,
}

/// What was looked at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) credentials: u64,
    pub(super) versions: u64,
    pub(super) opened: u64,
}

/// What holds, be it good or bad.
#[derive(Debug, Default, Serialize)]
pub(super) struct Facts {
    /// How often the store was changed since it exists.
    pub(super) generation: Option<u64>,
    /// What opens the key ring.
    #[serde(serialize_with = "codes")]
    pub(super) slots: Option<Vec<&'static str>>,
    /// When the newest key is due for rotation.
    pub(super) rotate_before: Option<String>,
    /// Whether keys lie in memory that is never written to swap.
    pub(super) keys_locked: bool,
    /// Where the number of changes is kept beside the store: nowhere.
    pub(super) anchor: Option<&'static str>,
}

fn codes<S: Serializer>(slots: &Option<Vec<&'static str>>, serializer: S) -> Result<S::Ok, S::Error> {
    struct Code(&'static str);

    impl Serialize for Code {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            code(self.0, serializer)
        }
    }

    let slots = slots.as_ref();
    slots
        .map(|slots| slots.iter().map(|slot| Code(slot)).collect::<Vec<_>>())
        .serialize(serializer)
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
pub(super) struct Report {
    pub(super) healthy: bool,
    pub(super) checked: Counts,
    pub(super) findings: Vec<Finding>,
    pub(super) unchecked: Vec<Unchecked>,
    pub(super) passed: Vec<&'static str>,
    pub(super) facts: Facts,
    pub(super) exposure: Vec<Exposure>,
}

pub(super) fn errors(report: &Report) -> usize {
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    report.findings.iter().filter(is_error).count()
}

pub(super) fn print(report: &Report, output: &Output) -> Outcome {
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
