//! What the stack does not see: it is asked of the policy, recorded and measured all the same.

use std::future::ready;
use std::sync::Arc;

#[cfg(all(feature = "access", feature = "audit"))]
use nebula_credential_access::Reload;
#[cfg(feature = "audit")]
use nebula_credential_audit::{AuditLayer, Event, EventKind};
use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, Decision, Get, Op, OpContext, Permission, Plaintext,
    Report, Request, Response, Selector,
};
#[cfg(feature = "telemetry")]
use nebula_credential_telemetry::TelemetryLayer;
use tower::ServiceExt as _;
#[cfg(any(feature = "audit", feature = "telemetry"))]
use tower::util::option_layer;
#[cfg(any(feature = "audit", feature = "telemetry"))]
use tower_layer::Layer as _;

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

    /// Does `work` on the key ring or on the whole store: what there is no method for, such as another slot of the
    /// [key ring](Self::key_ring). It takes what the methods take that there are. Without leave, `work` is not begun; where
    /// there is an audit log, its intent is recorded before and its outcome after it, as work on the keys called `operation`;
    /// work whose caller gives up is recorded as abandoned.
    ///
    /// ```
    /// # use nebula_credential_core::{Clock as _, CredentialError, SystemClock};
    /// # use nebula_credential_crypto::Passphrase;
    /// # use nebula_credential_manager::CredentialManager;
    /// # async fn second_way_in(manager: CredentialManager) -> Result<(), CredentialError> {
    /// let ring = manager.key_ring().await?;
    /// let recovery = Passphrase::new("correct horse battery staple");
    /// let add = async { ring.update(|draft| draft.add_slot(&recovery, SystemClock.now())) };
    /// let slot = manager.administer("add_slot", add).await?;
    /// # drop(slot);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AccessDenied`](CredentialError::AccessDenied); [`AuditUnavailable`](CredentialError::AuditUnavailable), also for work
    /// that was done and could not be recorded; those of `work`.
    pub async fn administer<T>(
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

    /// Whether there is leave for work on the key ring or on the whole store: for what only looks, and to refuse before
    /// anyone is asked for a passphrase. Opens nothing. A refusal is recorded as `operation`; leave is not, and
    /// [`administer`](Self::administer) asks for it again.
    ///
    /// # Errors
    /// [`AccessDenied`](CredentialError::AccessDenied), and [`AuditUnavailable`](CredentialError::AuditUnavailable) for a
    /// refusal that could not be recorded.
    pub async fn may_administer(&self, operation: &'static str) -> Result<(), CredentialError> {
        self.leave(operation).await.map(drop)
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
            if event.kind == EventKind::KeyRotated {
                event.kind = EventKind::Accessed;
            }
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

    /// Refuses to read what an allow-list does not name, as a policy would.
    pub(crate) async fn refuse_undeclared(&self, name: &CredentialName) -> CredentialError {
        let id = match self.id(name.as_str()) {
            Ok(id) => id,
            Err(error) => return error,
        };
        let text = format!(
            "{} may not use {name}; declare it among the credentials of the action",
            self.principal()
        );
        self.refuse(id, Permission::Use, Decision::ALLOW_LIST.into(), text)
            .await
    }

    /// Refuses to read `id`, by `rule`: the layers above access control see it, and what cannot be recorded is refused for
    /// that reason.
    pub(crate) async fn refuse(
        &self,
        id: CredentialRef,
        permission: Permission,
        rule: Arc<str>,
        text: String,
    ) -> CredentialError {
        let refuse = tower::service_fn(move |request: Request<Plaintext>| {
            if let Some(report) = &request.ctx.report {
                report.decided(Decision {
                    allowed: false,
                    rule: Arc::clone(&rule),
                });
            }
            ready(Err::<Response<Plaintext>, _>(CredentialError::access_denied(
                text.clone(),
            )))
        });
        #[cfg(feature = "audit")]
        let refuse = option_layer(self.inner.audit_log().cloned().map(AuditLayer::new)).layer(refuse);
        #[cfg(feature = "telemetry")]
        let refuse = option_layer(self.inner.metrics().cloned().map(TelemetryLayer::new)).layer(refuse);
        let request = Request {
            ctx: OpContext {
                permission: Some(permission),
                ..self.op_context()
            },
            op: Op::Get(Get {
                id,
                version: Selector::Latest,
            }),
        };
        match refuse.oneshot(request).await {
            Err(refusal) => refusal,
            Ok(_) => CredentialError::internal("what refuses everything gave an answer"),
        }
    }

    /// Records that the access policy changed, or was to be changed and was refused: for the report of
    /// [`PolicyFile::watch`](nebula_credential_access::PolicyFile::watch). Without an audit log, nothing is recorded.
    ///
    /// What was put into force holds, whether or not it could be recorded.
    ///
    /// # Errors
    /// Those of [`AuditLogger::record`](nebula_credential_audit::AuditLogger::record), unless the log was told to go on
    /// without a record.
    #[cfg(all(feature = "access", feature = "audit"))]
    pub fn record_reload(&self, reload: &Reload) -> Result<(), CredentialError> {
        let outcome = match reload {
            Reload::Applied => "ok",
            Reload::Refused(flaw) => flaw.kind().as_str(),
            _ => return Ok(()),
        };
        let Some(log) = self.inner.audit_log() else {
            return Ok(());
        };
        let mut event = Event::new(EventKind::PolicyChanged);
        event.asked_by(&self.op_context());
        event.outcome = Some(outcome);
        event.detail = matches!(reload, Reload::Refused(_)).then(|| "the policy before it holds on".into());
        match log.record(&event) {
            Ok(_) => Ok(()),
            Err(failure) => log.missed(failure),
        }
    }

    /// Records what was refused. Without a record it is not told why.
    #[cfg(all(feature = "access", feature = "audit"))]
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

/// What is known of work on the keys before it is done.
#[cfg(feature = "audit")]
fn key_work(ctx: &OpContext, operation: &'static str) -> Event {
    let mut event = Event::new(EventKind::KeyRotated);
    event.asked_by(ctx);
    event.operation = Some(operation);
    event.permission = Some(Permission::Admin);
    if let Some(decision) = ctx.report.as_ref().and_then(|report| report.decision()) {
        event.decided(decision);
    }
    event
}
