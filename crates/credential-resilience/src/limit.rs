//! How much may be asked at once, and how often.

use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential_core::{
    BoxFuture, CredentialError, MetricsEmitter, NoMetrics, Request, Response, Sealed,
};
use tower::BoxError;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::load_shed::error::Overloaded;
use tower_layer::Layer;
use tower_service::Service;

/// Lets a number of requests through at once and refuses the rest, by tower's
/// [`ConcurrencyLimit`] below its [`LoadShed`]: a secret that waits in a queue is a secret in memory.
///
/// Services cloned from one another share the limit; every service the layer makes has its own.
#[derive(Clone)]
pub struct ConcurrencyLayer {
    max: usize,
    metrics: Arc<dyn MetricsEmitter>,
}

impl ConcurrencyLayer {
    /// At most `max` requests at once; at least 1.
    pub fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            metrics: Arc::new(NoMetrics),
        }
    }

    /// Counts refusals there.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn MetricsEmitter>) -> Self {
        self.metrics = metrics;
        self
    }
}

impl fmt::Debug for ConcurrencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLayer")
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ConcurrencyLayer
where
    S: Service<Request<Sealed>, Error = CredentialError>,
{
    type Service = ConcurrencyLimited<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimited<S> {
        ConcurrencyLimited {
            inner: LoadShed::new(ConcurrencyLimit::new(inner, self.max)),
            metrics: Arc::clone(&self.metrics),
        }
    }
}

/// The service a [`ConcurrencyLayer`] makes.
#[derive(Clone)]
pub struct ConcurrencyLimited<S> {
    inner: LoadShed<ConcurrencyLimit<S>>,
    metrics: Arc<dyn MetricsEmitter>,
}

impl<S> fmt::Debug for ConcurrencyLimited<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimited").finish_non_exhaustive()
    }
}

impl<S> Service<Request<Sealed>> for ConcurrencyLimited<S>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>,
    S::Future: Send + 'static,
{
    type Response = Response<Sealed>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Result<Response<Sealed>, CredentialError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        let metrics = &self.metrics;
        self.inner.poll_ready(cx).map_err(|error| shed(error, &**metrics))
    }

    fn call(&mut self, request: Request<Sealed>) -> Self::Future {
        let answer = self.inner.call(request);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move { answer.await.map_err(|error| shed(error, &*metrics)) })
    }
}

fn shed(error: BoxError, metrics: &dyn MetricsEmitter) -> CredentialError {
    match error.downcast::<CredentialError>() {
        Ok(ours) => *ours,
        Err(other) if other.is::<Overloaded>() => {
            metrics.increment(REFUSED, &[("by", "concurrency")], 1);
            CredentialError::Unavailable {
                message: "too many requests are under way already; ask again shortly, or raise the limit"
                    .into(),
                // There is room as soon as one of them ends.
                retry_after: Some(Duration::ZERO),
            }
        }
        Err(_) => CredentialError::internal("a limit failed with an error it does not have"),
    }
}

/// Counts what a limit refused.
const REFUSED: &str = "nebula_credential_refused_total";

/// How often requests may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second, over time; at least 1.
    pub per_second: u32,
    /// Requests that may come at once after a pause; at least 1.
    pub burst: u32,
}

/// Refuses requests that come too often, and says when to come again: the generic cell rate algorithm (ITU-T I.371),
/// by the clock of the request.
///
/// Everything one layer makes shares one limit.
#[derive(Clone)]
pub struct RateLimitLayer {
    cell: Arc<Cell>,
    metrics: Arc<dyn MetricsEmitter>,
}

struct Cell {
    /// The time one request uses up.
    interval: TimeDelta,
    /// How far ahead of its time a request may come.
    tolerance: TimeDelta,
    /// When the next request is expected.
    expected: Mutex<Option<DateTime<Utc>>>,
}

impl RateLimitLayer {
    /// Requests as often as `limit` says.
    pub fn new(limit: RateLimit) -> Self {
        let interval = TimeDelta::nanoseconds(1_000_000_000 / i64::from(limit.per_second.max(1)));
        let ahead = i32::try_from(limit.burst.max(1) - 1).unwrap_or(i32::MAX);
        Self {
            cell: Arc::new(Cell {
                interval,
                tolerance: interval.checked_mul(ahead).unwrap_or(TimeDelta::MAX),
                expected: Mutex::new(None),
            }),
            metrics: Arc::new(NoMetrics),
        }
    }

    /// Counts refusals there.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn MetricsEmitter>) -> Self {
        self.metrics = metrics;
        self
    }
}

impl Cell {
    /// How long to wait, if the request comes too early.
    fn take(&self, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not close the door for as long.
        let latest = now
            .checked_add_signed(
                self.tolerance
                    .checked_add(&self.interval)
                    .unwrap_or(TimeDelta::MAX),
            )
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        let due = expected.unwrap_or(now).clamp(now, latest);
        *expected = Some(due);
        let early = due.signed_duration_since(now) - self.tolerance;
        if early > TimeDelta::zero() {
            return Err(early.to_std().unwrap_or_default());
        }
        *expected = due.checked_add_signed(self.interval);
        Ok(())
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("interval", &self.cell.interval)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited {
            inner,
            limit: self.clone(),
        }
    }
}

/// The service a [`RateLimitLayer`] makes.
#[derive(Debug, Clone)]
pub struct RateLimited<S> {
    inner: S,
    limit: RateLimitLayer,
}

impl<S> Service<Request<Sealed>> for RateLimited<S>
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
        match self.limit.cell.take(request.ctx.now()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(wait) => {
                self.limit.metrics.increment(REFUSED, &[("by", "rate")], 1);
                Box::pin(ready(Err(CredentialError::Unavailable {
                    message: format!("requests come too often; ask again in {wait:?}").into(),
                    retry_after: Some(wait),
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_767_225_600_000 + millis).unwrap()
    }

    fn cell(per_second: u32, burst: u32) -> Arc<Cell> {
        RateLimitLayer::new(RateLimit { per_second, burst }).cell
    }

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let cell = cell(10, 3);
        let passed: Vec<_> = [0, 0, 0, 0, 99, 100, 100, 200]
            .map(|t| cell.take(at(t)).is_ok())
            .into();
        assert_eq!(passed, [true, true, true, false, false, true, false, true]);
        assert_eq!(cell.take(at(250)), Err(Duration::from_millis(50)));
        // After a pause, the whole burst again and no more.
        assert_eq!((0..9).filter(|_| cell.take(at(60_000)).is_ok()).count(), 3);
    }

    #[test]
    fn a_clock_that_is_set_back_costs_one_burst_at_most() {
        let cell = cell(10, 3);
        assert!(cell.take(at(3_600_000)).is_ok());
        assert_eq!(cell.take(at(0)), Err(Duration::from_millis(100)));
        assert!(cell.take(at(100)).is_ok());
    }
}
