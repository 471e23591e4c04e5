//! How long one attempt may take.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use nebula_credential_core::{BoxFuture, CredentialError, OpContext, Request, Response, Sealed};
use tower_layer::Layer;
use tower_service::Service;

/// Gives up on an attempt after a time, or at the deadline of its request if that is sooner.
///
/// A read that took too long is [`Unavailable`](CredentialError::Unavailable) and may be asked again, or
/// [`DeadlineExceeded`](CredentialError::DeadlineExceeded) if no time is left. A change that took too long may have
/// been made, so it is [`OutcomeUnknown`](CredentialError::OutcomeUnknown).
///
/// Runs on a tokio runtime with time enabled; outside of any, every attempt is
/// [`Unsupported`](CredentialError::Unsupported).
///
/// # Panics
/// In a tokio runtime without time enabled, every attempt does.
#[derive(Debug, Clone, Copy)]
pub struct AttemptTimeoutLayer {
    timeout: Duration,
}

impl AttemptTimeoutLayer {
    /// Attempts of at most `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> AttemptTimeout<S> {
        AttemptTimeout {
            inner,
            timeout: self.timeout,
        }
    }
}

/// The service an [`AttemptTimeoutLayer`] makes.
#[derive(Debug, Clone)]
pub struct AttemptTimeout<S> {
    inner: S,
    timeout: Duration,
}

impl<S> Service<Request<Sealed>> for AttemptTimeout<S>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>,
    S::Future: Send + 'static,
{
    type Response = Response<Sealed>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Result<Response<Sealed>, CredentialError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Sealed>) -> Self::Future {
        let left = time_left(&request.ctx);
        if left.is_some_and(|left| left.is_zero()) {
            let refused = request.ctx.check_deadline();
            return Box::pin(async { refused.and(Err(late(Duration::ZERO))) });
        }
        let changes = request.op.changes();
        let limit = left.map_or(self.timeout, |left| left.min(self.timeout));
        let last = left.is_some_and(|left| left <= self.timeout);
        let answer = self.inner.call(request);
        Box::pin(async move {
            match within(limit, answer).await? {
                Some(answer) => answer,
                None if changes => Err(CredentialError::outcome_unknown(format!(
                    "the store did not answer within {limit:?}"
                ))),
                None if last => Err(late(limit)),
                None => Err(CredentialError::unavailable(format!(
                    "the store did not answer within {limit:?}"
                ))),
            }
        })
    }
}

/// How long an attempt may take unless told otherwise. SDKs of secret stores wait for 5 to 60 seconds.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// What `answer` comes to, or `None` if it does not within `limit`.
///
/// # Errors
/// [`CredentialError::Unsupported`] outside of a runtime, where nothing would ever wake it.
pub(crate) async fn within<F: Future>(
    limit: Duration,
    answer: F,
) -> Result<Option<F::Output>, CredentialError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(CredentialError::unsupported(
            "a timeout needs a tokio runtime with time enabled; ask from within one",
        ));
    }
    Ok(tokio::time::timeout(limit, answer).await.ok())
}

fn late(limit: Duration) -> CredentialError {
    CredentialError::deadline_exceeded(format!(
        "the store did not answer in the {limit:?} that were left; allow more time"
    ))
}

/// What is left until the deadline of a request, if it has one.
pub(crate) fn time_left(ctx: &OpContext) -> Option<Duration> {
    let left = ctx.deadline?.signed_duration_since(ctx.now());
    Some(left.to_std().unwrap_or(Duration::ZERO))
}
