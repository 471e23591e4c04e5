//! The layer that records what passes.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use nebula_credential_core::{BoxFuture, Clock, CredentialError, Op, Plaintext, Report, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::change::Change;
use crate::event::Event;
use crate::logger::AuditLogger;

/// Records every operation: a change before it is made and when it ended, a read before its value is released. It stands
/// above access control, to record what was denied, and above the cache, to record hits.
///
/// What cannot be recorded does not happen, unless the log was told otherwise: then
/// [`CredentialError::AuditUnavailable`] is the answer. A purpose or an environment too long to be recorded is refused with
/// [`CredentialError::LimitExceeded`] under any setting, before anything is asked for.
///
/// # Panics
/// In a tokio runtime without time enabled, requests whose records are to be synced do, as those of changes are unless told
/// otherwise. Outside of a runtime they wait for a disk that does not answer.
#[derive(Debug, Clone)]
pub struct AuditLayer(AuditLogger);

impl AuditLayer {
    /// Records in `log`.
    pub fn new(log: AuditLogger) -> Self {
        Self(log)
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit {
            log: self.0.clone(),
            inner,
        }
    }
}

/// The service an [`AuditLayer`] makes.
#[derive(Debug, Clone)]
pub struct Audit<S> {
    log: AuditLogger,
    inner: S,
}

impl<S> Service<Request<Plaintext>> for Audit<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Result<Response<Plaintext>, CredentialError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Plaintext>) -> Self::Future {
        let record = Record {
            event: Event::of(&request.ctx, &request.op),
            report: Arc::clone(request.ctx.report.get_or_insert_default()),
            clock: Arc::clone(&request.ctx.clock),
            log: self.log.clone(),
            since: Instant::now(),
        };
        if let Err(error) = record.event.check() {
            return Box::pin(ready(Err(error)));
        }
        if request.op.changes() {
            // The one that was polled ready serves this call; its clone must be polled anew.
            let clone = self.inner.clone();
            let mut inner = std::mem::replace(&mut self.inner, clone);
            return Box::pin(async move {
                let Record {
                    event,
                    report,
                    clock,
                    log,
                    since,
                } = record;
                let mut change = Change::begin(log, clock, event, since).await?;
                change.decided_in(&report);
                let answer = inner.call(request).await;
                end(change.event(), &report, &answer);
                change.conclude(answer).await
            });
        }
        let reads = matches!(request.op, Op::Get(_));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            record.release(reads, answer).await
        })
    }
}

type Answer = Result<Response<Plaintext>, CredentialError>;

/// What is known of an operation on its way.
struct Record {
    event: Event,
    report: Arc<Report>,
    clock: Arc<dyn Clock>,
    log: AuditLogger,
    since: Instant,
}

impl Record {
    /// After a read, before its value is released: without a record the value is dropped here, and wiped.
    async fn release(mut self, reads: bool, answer: Answer) -> Answer {
        self.event.duration = Some(self.since.elapsed());
        end(&mut self.event, &self.report, &answer);
        let denied = self.report.decision().is_some_and(|decision| !decision.allowed);
        // A store below may have rules of its own, and reports no decision.
        let refused = answer.as_ref().is_err_and(CredentialError::is_access_denied);
        let judged = denied || refused || self.report.is_filtered();
        if !reads && !judged && !self.log.inspections() {
            return answer;
        }
        let durability = self.log.reads();
        match self
            .log
            .record_as(self.clock.now(), &self.event, durability)
            .await
        {
            Ok(_) => answer,
            Err(failure) => self.log.missed(failure).and(answer),
        }
    }
}

/// How an operation ended, and what inner layers found out about it.
fn end(event: &mut Event, report: &Report, answer: &Answer) {
    match answer {
        Ok(answer) => {
            event.outcome = Some("ok");
            match answer {
                Response::Record(record) => event.version = Some(record.head.version.version),
                Response::Head(head) => event.version = Some(head.version.version),
                _ => {}
            }
        }
        Err(error) => event.failed(error.kind()),
    }
    if let Some(source) = report.source() {
        event.came_from(source);
    }
    if let Some(decision) = report.decision() {
        event.decided(decision);
    }
}
