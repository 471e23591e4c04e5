//! `ncred doctor`: looks at everything, changes nothing.

mod files;
mod findings;
mod records;
mod report;
mod ring;
mod system;

use std::path::Path;

use nebula_credential::audit::{AuditLogger, AuditSeed};
use nebula_credential::{Clock as _, ErrorKind, LocalStorage, SystemClock};

use self::findings::{Findings, OF_BOTH, OF_RING, OF_STORE, Severity};
use self::report::{Counts, Exposure, Facts, Report, errors, print};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::recording;
use crate::settings::Settings;
use crate::unlock;

pub(super) async fn run(settings: &Settings, output: &Output) -> Outcome {
    recording::leave(settings, "doctor", output).await?;
    let mut findings = Findings::default();
    let mut checked = Counts::default();
    let mut facts = Facts::default();
    let exposure = files::check(settings, &mut findings, &mut checked);
    audit(settings, &mut findings);
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

/// Looks for what lies beside the audit log and should not.
fn audit(settings: &Settings, findings: &mut Findings) {
    let log = settings.audit.as_ref().map(AuditLogger::path);
    if let Some(seed) = log.and_then(AuditSeed::beside) {
        findings.add(
            Severity::Warning,
            "audit.seed",
            shown(&seed),
            "the seed lies beside the audit log still: who takes it can forge records",
            "take it to where the log is verified, and leave no copy here",
        );
    }
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

/// For findings about a path.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
