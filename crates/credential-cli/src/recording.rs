//! What goes into the audit log beside what the manager records.

use nebula_credential::audit::{AuditLogger, Event, EventKind};
use nebula_credential::{CredentialError, Permission};

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock;

/// Opens the audit log, if there is to be one: without it nothing is begun.
pub(crate) fn open(settings: &Settings, output: &Output) -> Outcome {
    let Some(log) = &settings.audit else {
        return Ok(());
    };
    let is_new = !is_begun(log);
    log.open()?;
    if is_new {
        tell_of_seed(log, output);
    }
    Ok(())
}

fn is_begun(log: &AuditLogger) -> bool {
    let mut state = log.path().as_os_str().to_owned();
    state.push(".state");
    !unlock::is_missing(state.as_ref())
}

fn tell_of_seed(log: &AuditLogger, output: &Output) {
    let shown = log.path().display();
    output.warn(format!(
        "began the audit log {shown}; take its seed {shown}.seed away, to where the log is verified"
    ));
}

/// An attempt at the store with what does not open its key ring.
pub(crate) fn not_unlocked(settings: &Settings, error: &CredentialError) -> Outcome {
    let Some(log) = &settings.audit else {
        return Ok(());
    };
    let mut event = Event::new(EventKind::PermissionDenied);
    event.asked_by(&settings.context());
    event.operation = Some("unlock");
    event.permission = Some(Permission::Admin);
    event.outcome = Some(error.kind().as_str());
    log.record(&event)?;
    Ok(())
}

/// Leave for work on the whole store, as far as the access policy gives it, before anything of the store is opened. Only a
/// refusal is recorded, which may begin the log.
pub(crate) async fn leave(settings: &Settings, operation: &'static str, output: &Output) -> Outcome {
    let unbegun = settings.audit.as_ref().filter(|log| !is_begun(log));
    let answer = unlock::unopened(settings).may_administer(operation).await;
    if let Some(log) = unbegun.filter(|log| is_begun(log)) {
        tell_of_seed(log, output);
    }
    Ok(answer?)
}
