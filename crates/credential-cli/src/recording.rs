//! What goes into the audit log beside what the manager records.

use std::sync::Arc;

use nebula_credential::audit::{Event, EventKind};
use nebula_credential::{CredentialError, OpContext, Permission, Report};

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

/// Leave for work on the whole store, as far as the access policy gives it, and what is to be recorded of it. A refusal is
/// recorded here.
pub(crate) async fn leave(settings: &Settings, operation: &'static str, output: &Output) -> Outcome<Event> {
    let mut event = key_work(settings, operation);
    let Some(access) = &settings.access else {
        return Ok(event);
    };
    let report = Arc::new(Report::default());
    let ctx = OpContext {
        report: Some(Arc::clone(&report)),
        ..settings.context()
    };
    let answer = access.administer(&ctx, operation);
    if let Some(decision) = report.decision() {
        event.decided(decision);
    }
    let Err(refusal) = answer else {
        return Ok(event);
    };
    open(settings, output)?;
    if let Some(log) = &settings.audit {
        event.outcome = Some(refusal.kind().as_str());
        log.record_synced(&event).await?;
    }
    Err(refusal.into())
}

/// A change of the key ring that neither a stack nor the manager sees: its intent is on the disk before it is made, and its
/// outcome before it is told.
pub(crate) async fn key_change<T>(
    settings: &Settings,
    event: Event,
    change: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let Some(log) = &settings.audit else {
        return change.await;
    };
    let mut record = log.intend(event).await?;
    let done = change.await;
    record.event().outcome = Some(done.as_ref().map_or_else(|failure| failure.kind, |_| "ok"));
    // Made as it was, nobody is told so without a record.
    match record.conclude(Ok(())).await {
        Ok(()) => done,
        Err(error) => Err(done.err().unwrap_or_else(|| Failure {
            exit: Exit::Unavailable,
            ..Failure::from(error)
        })),
    }
}

/// What is known of work on the keys before it is done.
pub(crate) fn key_work(settings: &Settings, operation: &'static str) -> Event {
    event(settings, EventKind::KeyRotated, operation)
}

fn event(settings: &Settings, kind: EventKind, operation: &'static str) -> Event {
    let mut event = Event::new(kind);
    event.principal = Some(settings.principal.clone());
    event.purpose.clone_from(&settings.purpose);
    event.operation = Some(operation);
    event.permission = Some(Permission::Admin);
    event
}
