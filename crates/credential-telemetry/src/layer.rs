//! The outermost layer: what was asked, how it ended, how long it took.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use nebula_credential_core::{
    CredentialError, ErrorKind, MetricsEmitter, NoMetrics, Op, OpContext, Plaintext, Report, Request,
    Response, Source,
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::field::{Empty, display};

use crate::names;

/// Opens a span for each operation, and measures it. Sees every outcome, so it belongs outside everything else.
#[derive(Clone)]
pub struct TelemetryLayer {
    metrics: Arc<dyn MetricsEmitter>,
}

impl TelemetryLayer {
    /// Spans, and measurements for `metrics`.
    pub fn new(metrics: Arc<dyn MetricsEmitter>) -> Self {
        Self { metrics }
    }
}

impl Default for TelemetryLayer {
    /// Spans only.
    fn default() -> Self {
        Self::new(Arc::new(NoMetrics))
    }
}

impl fmt::Debug for TelemetryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryLayer").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for TelemetryLayer {
    type Service = Telemetry<S>;

    fn layer(&self, inner: S) -> Telemetry<S> {
        Telemetry {
            inner,
            metrics: Arc::clone(&self.metrics),
        }
    }
}

/// The service a [`TelemetryLayer`] makes.
#[derive(Clone)]
pub struct Telemetry<S> {
    inner: S,
    metrics: Arc<dyn MetricsEmitter>,
}

impl<S: fmt::Debug> fmt::Debug for Telemetry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S> Service<Request<Plaintext>> for Telemetry<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = TelemetryFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Plaintext>) -> Self::Future {
        let report = request.ctx.report.get_or_insert_default();
        let seen = Seen {
            operation: request.op.name(),
            report: Arc::clone(report),
            metrics: Arc::clone(&self.metrics),
            since: Instant::now(),
            ended: false,
        };
        let span = span(&request.ctx, &request.op);
        let inner = span.in_scope(|| self.inner.call(request));
        TelemetryFuture { inner, span, seen }
    }
}

/// The span of an operation. Names lie in the clear in every store; values are not at hand here.
fn span(ctx: &OpContext, op: &Op<Plaintext>) -> Span {
    let span = tracing::debug_span!(
        "credential",
        operation = op.name(),
        principal = %ctx.principal,
        id = Empty,
        trace_id = Empty,
        outcome = Empty,
        source = Empty,
        rule = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    if let Some(id) = op.subject() {
        span.record("id", display(id));
    }
    if let Some(trace) = ctx.trace_id {
        span.record(
            "trace_id",
            display(format_args!("{:032x}", u128::from_be_bytes(trace))),
        );
    }
    span
}

struct Seen {
    operation: &'static str,
    report: Arc<Report>,
    metrics: Arc<dyn MetricsEmitter>,
    since: Instant,
    ended: bool,
}

impl Seen {
    fn end(&mut self, span: &Span, answer: &Result<Response<Plaintext>, CredentialError>) {
        self.ended = true;
        let (outcome, result) = match answer {
            Ok(_) => ("ok", "ok"),
            Err(error) => (error.kind().as_str(), "error"),
        };
        let source = self.report.source().map(source);
        if !span.is_disabled() {
            span.record("outcome", outcome);
            if let Some(source) = source {
                span.record("source", source);
            }
            if let Some(decision) = self.report.decision() {
                span.record("rule", display(&decision.rule));
            }
        }
        let operation = ("operation", self.operation);
        let metrics = &self.metrics;
        metrics.increment(names::OPERATIONS, &[operation, ("outcome", outcome)], 1);
        let took = self.since.elapsed().as_secs_f64();
        metrics.observe(names::DURATION, &[operation, ("result", result)], took);
        match answer {
            Ok(Response::Record(_)) => {
                let source = source.unwrap_or("store");
                metrics.increment(names::VALUES, &[("source", source)], 1);
            }
            Err(error) if error.kind() == ErrorKind::Tampered => {
                metrics.increment(names::TAMPERED, &[operation], 1);
            }
            _ => {}
        }
        if self.report.decision().is_some_and(|decision| !decision.allowed) {
            metrics.increment(names::DENIED, &[operation], 1);
        }
    }

    /// Nobody waits for the answer any more. How long it would have taken, nobody knows.
    fn abandon(&self, span: &Span) {
        span.record("outcome", names::ABANDONED);
        let labels = [("operation", self.operation), ("outcome", names::ABANDONED)];
        self.metrics.increment(names::OPERATIONS, &labels, 1);
    }
}

fn source(source: &Source) -> &'static str {
    match source {
        Source::Link(_) => "link",
        Source::Cache { .. } => "cache",
        Source::Stale { .. } => "stale",
        _ => "other",
    }
}

pin_project! {
    /// The answer to come from a [`Telemetry`] service. Dropped before it comes, the operation is counted as abandoned.
    pub struct TelemetryFuture<F> {
        #[pin]
        inner: F,
        span: Span,
        seen: Seen,
    }

    impl<F> PinnedDrop for TelemetryFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !this.seen.ended {
                this.seen.abandon(this.span);
            }
        }
    }
}

impl<F> fmt::Debug for TelemetryFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryFuture").finish_non_exhaustive()
    }
}

impl<F> Future for TelemetryFuture<F>
where
    F: Future<Output = Result<Response<Plaintext>, CredentialError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let entered = this.span.enter();
        let answer = ready!(this.inner.poll(cx));
        drop(entered);
        this.seen.end(this.span, &answer);
        Poll::Ready(answer)
    }
}
