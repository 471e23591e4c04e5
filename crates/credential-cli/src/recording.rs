//! What goes into the audit log beside what the manager records.

use std::time::Instant;

use nebula_credential::audit::{AuditLogger, Event, EventKind, Stage};
use nebula_credential::{CredentialError, Permission};

use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock;

/// Opens the audit log, if there is to be one: without it nothing is begun.
pub(crate) fn open(settings: &Settings, output: &Output) -> Outcome {
    let Some(log) = &settings.audit else {
        return Ok(());
    };
    let mut state = log.path().as_os_str().to_owned();
    state.push(".state");
    let is_new = unlock::is_missing(state.as_ref());
    log.open()?;
    if is_new {
        let shown = log.path().display();
        output.warn(format!(
            "began the audit log {shown}; take its seed {shown}.seed away, to where the log is verified"
        ));
    }
    Ok(())
}

/// An attempt at the store with what does not open its key ring.
pub(crate) fn not_unlocked(settings: &Settings, error: &CredentialError) -> Outcome {
    let Some(log) = &settings.audit else {
        return Ok(());
    };
    let mut event = event(settings, EventKind::PermissionDenied, "unlock");
    event.outcome = Some(error.kind().as_str());
    log.record(&event)?;
    Ok(())
}

/// A change of the key ring that neither a stack nor the manager sees: its intent is on the disk before it is made, and its outcome before it is
/// told.
pub(crate) async fn key_change<T>(
    settings: &Settings,
    operation: &'static str,
    change: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let Some(log) = &settings.audit else {
        return change.await;
    };
    let mut event = event(settings, EventKind::KeyRotated, operation);
    event.stage = Stage::Intent;
    event.intent = Some(log.record_synced(&event).await?);
    event.stage = Stage::Outcome;
    let since = Instant::now();
    let done = change.await;
    event.duration = Some(since.elapsed());
    event.outcome = Some(match &done {
        Ok(_) => "ok",
        Err(failure) => failure.kind,
    });
    conclude(log, &event, done).await
}

/// Made as it was, nobody is told so without a record.
async fn conclude<T>(log: &AuditLogger, event: &Event, done: Outcome<T>) -> Outcome<T> {
    match log.record_synced(event).await {
        Ok(_) => done,
        Err(error) => Err(done.err().unwrap_or_else(|| Failure {
            exit: Exit::Unavailable,
            ..Failure::from(error)
        })),
    }
}

fn event(settings: &Settings, kind: EventKind, operation: &'static str) -> Event {
    let mut event = Event::new(kind);
    event.principal = Some(settings.principal.clone());
    event.purpose.clone_from(&settings.purpose);
    event.operation = Some(operation);
    event.permission = Some(Permission::Admin);
    event
}
