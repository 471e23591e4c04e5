//! `ncred doctor`: looks at everything, changes nothing.

mod files;
mod records;
mod system;

use std::fmt;
use std::path::Path;

use nebula_credential::{Clock as _, SystemClock};
use serde::{Serialize, Serializer};

use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock::Session;

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

fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

/// Everything found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        check: &'static str,
        subject: impl fmt::Display,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding {
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
        if let Some(last) = self.0.last_mut() {
            last.exit_code = exit;
        }
    }

    fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
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
}

#[derive(Serialize)]
struct Report {
    healthy: bool,
    checked: Counts,
    findings: Vec<Finding>,
    exposure: Vec<Exposure>,
}

pub(super) async fn run(settings: &Settings, output: &Output) -> Outcome {
    let now = SystemClock.now();
    let mut findings = Findings::default();
    let mut checked = Counts::default();
    let exposure = files::check(settings, &mut findings, &mut checked);
    system::check(&settings.store, now, &mut findings);
    match Session::open(settings).await {
        Ok(session) => records::check(&session, now, &mut findings, &mut checked, output).await?,
        // What the files showed already explains why it does not open.
        Err(failure) if failure.exit == Exit::Denied && findings.has_errors() => {}
        Err(failure) => findings.error(
            failure.exit,
            "store.open",
            settings.store.display(),
            failure.message,
            failure
                .help
                .unwrap_or_else(|| "see the other findings".to_owned()),
        ),
    }
    let mut found = findings.0;
    // The worst first; within one severity in the order they were found.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let report = Report {
        healthy: found.iter().all(|finding| finding.severity == Severity::Info),
        checked,
        findings: found,
        exposure,
    };
    print(&report, output)?;
    let worst = report
        .findings
        .iter()
        .find(|finding| finding.severity == Severity::Error);
    match worst {
        None => Ok(()),
        Some(worst) => Err(Failure {
            kind: "unhealthy",
            message: format!("{} of the findings are errors", errors(&report)),
            help: Some("the remedies stand beside them; run `ncred doctor` again afterwards".to_owned()),
            exit: worst.exit_code,
        }),
    }
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
    let Counts {
        files,
        credentials,
        versions,
    } = report.checked;
    let verdict = if report.findings.is_empty() {
        "nothing found"
    } else {
        "looked at"
    };
    output.line(format!(
        "{verdict}: {files} files, {credentials} credentials in {versions} versions, each of which was opened"
    ))?;
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
