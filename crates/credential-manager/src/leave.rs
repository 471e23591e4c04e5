//! What the stack does not see: it is asked of the policy and recorded all the same.

use std::sync::Arc;

#[cfg(feature = "audit")]
use nebula_credential_audit::{Event, EventKind};
use nebula_credential_core::{CredentialError, OpContext, Report};
#[cfg(feature = "audit")]
use nebula_credential_core::{CredentialName, Permission};

use crate::CredentialManager;

impl CredentialManager {
    /// Leave to work on the whole store, and what was decided, in the report of the context. A refusal is recorded.
    pub(crate) async fn leave(&self, operation: &'static str) -> Result<OpContext, CredentialError> {
        let ctx = OpContext {
            report: Some(Arc::new(Report::default())),
            ..self.op_context()
        };
        #[cfg(feature = "access")]
        if let Some(access) = self.inner.access()
            && let Err(refusal) = access.administer(&ctx, operation)
        {
            #[cfg(feature = "audit")]
            self.record_refusal(key_work(&ctx, operation), &refusal).await?;
            return Err(refusal);
        }
        #[cfg(not(feature = "access"))]
        let _ = operation;
        Ok(ctx)
    }

    /// Does `work` on the whole store, if there is leave for it; recorded before and after.
    pub(crate) async fn administer<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, CredentialError>>,
    ) -> Result<T, CredentialError> {
        let ctx = self.leave(operation).await?;
        #[cfg(feature = "audit")]
        if let Some(log) = self.inner.audit_log() {
            let change = log.intend(key_work(&ctx, operation)).await?;
            return change.conclude(work.await).await;
        }
        drop(ctx);
        work.await
    }

    /// Records what is given out that is not changed by that, before it is.
    pub(crate) async fn record_given<T>(
        &self,
        ctx: &OpContext,
        operation: &'static str,
        given: Result<T, CredentialError>,
    ) -> Result<T, CredentialError> {
        #[cfg(feature = "audit")]
        if let Some(log) = self.inner.audit_log() {
            let mut event = key_work(ctx, operation);
            event.kind = EventKind::Accessed;
            event.outcome = Some(
                given
                    .as_ref()
                    .map_or_else(|error| error.kind().as_str(), |_| "ok"),
            );
            if let Err(failure) = log.record_synced(&event).await {
                log.missed(failure)?;
            }
        }
        #[cfg(not(feature = "audit"))]
        let _ = (ctx, operation);
        given
    }

    /// Records that an allow-list does not name what was asked for.
    #[cfg(feature = "audit")]
    pub(crate) async fn record_undeclared(
        &self,
        name: &CredentialName,
        refusal: &CredentialError,
    ) -> Result<(), CredentialError> {
        let mut event = event(&self.op_context());
        event.id = Some(self.id(name.as_str())?);
        event.operation = Some("get");
        event.permission = Some(Permission::Use);
        event.rule = Some(ALLOW_LIST.to_owned());
        self.record_refusal(event, refusal).await
    }

    /// Records what was refused. Without a record it is not told why.
    #[cfg(feature = "audit")]
    async fn record_refusal(
        &self,
        mut event: Event,
        refusal: &CredentialError,
    ) -> Result<(), CredentialError> {
        let Some(log) = self.inner.audit_log() else {
            return Ok(());
        };
        event.kind = EventKind::PermissionDenied;
        event.allowed = Some(false);
        event.outcome = Some(refusal.kind().as_str());
        match log.record_synced(&event).await {
            Ok(_) => Ok(()),
            Err(failure) => log.missed(failure),
        }
    }
}

/// The rule of a refusal by a [`CredentialContext`](crate::CredentialContext).
#[cfg(feature = "audit")]
const ALLOW_LIST: &str = "allow-list";

#[cfg(feature = "audit")]
fn event(ctx: &OpContext) -> Event {
    let mut event = Event::new(EventKind::KeyRotated);
    event.principal = Some(ctx.principal.clone());
    event.purpose = ctx.purpose.as_deref().map(str::to_owned);
    event.trace_id = ctx.trace_id;
    event
}

/// What is known of work on the keys before it is done.
#[cfg(feature = "audit")]
fn key_work(ctx: &OpContext, operation: &'static str) -> Event {
    let mut event = event(ctx);
    event.operation = Some(operation);
    event.permission = Some(Permission::Admin);
    if let Some(decision) = ctx.report.as_ref().and_then(|report| report.decision()) {
        event.decided(decision);
    }
    event
}
