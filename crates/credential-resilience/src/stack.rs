//! The standard order of the layers below the sealing layer.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{
    Clock, CredentialError, MetricsEmitter, NoMetrics, Request, Response, Sealed, SystemClock,
};
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use crate::attempt::ATTEMPT_TIMEOUT;
use crate::{
    AttemptTimeoutLayer, BreakerConfig, BreakerLayer, CircuitBreaker, ConcurrencyLayer, RateLimit,
    RateLimitLayer, RetryConfig, RetryLayer,
};

/// The layers that stand between the sealing layer and a store, in the one order that makes sense:
///
/// 1. the rate limit and the concurrency limit refuse what is too much before anything is spent on it;
/// 2. the circuit breaker is outside the retries, so that an operation is one sample, and an open breaker costs no attempt;
/// 3. retries;
/// 4. the timeout of each attempt, innermost, so that an attempt that hangs can be followed by another.
///
/// The deadline of a request bounds all of it. Waits and timeouts are those of a tokio runtime with time enabled; outside
/// of any, requests are [`Unsupported`](CredentialError::Unsupported).
///
/// # Panics
/// In a tokio runtime without time enabled, every request does.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use nebula_credential_resilience::{RateLimit, Resilience};
///
/// let resilience = Resilience::default()
///     .timeout(Duration::from_secs(2))
///     .rate_limit(RateLimit { per_second: 50, burst: 100 });
/// let breaker = resilience.breaker().clone();
/// ```
#[derive(Debug, Clone)]
pub struct Resilience {
    timeout: Duration,
    retry: RetryConfig,
    breaker: CircuitBreaker,
    in_flight: usize,
    rate: Option<RateLimit>,
    metrics: Metrics,
}

#[derive(Clone)]
struct Metrics(Arc<dyn MetricsEmitter>);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Default for Resilience {
    /// Attempts of 10 s, [retries](RetryConfig) and a [breaker](BreakerConfig) with their defaults by the clock of the
    /// operating system, 256 requests at once, no rate limit.
    fn default() -> Self {
        Self::new(
            BreakerConfig::default(),
            Arc::new(SystemClock),
            Arc::new(NoMetrics),
        )
    }
}

impl Resilience {
    /// The defaults, with another breaker, clock and metrics.
    pub fn new(breaker: BreakerConfig, clock: Arc<dyn Clock>, metrics: Arc<dyn MetricsEmitter>) -> Self {
        Self {
            timeout: ATTEMPT_TIMEOUT,
            retry: RetryConfig::default(),
            breaker: CircuitBreaker::named("store", breaker, clock, Arc::clone(&metrics)),
            in_flight: 256,
            rate: None,
            metrics: Metrics(metrics),
        }
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often and when to ask again.
    #[must_use]
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// How many requests may be under way at once.
    #[must_use]
    pub fn in_flight(mut self, max: usize) -> Self {
        self.in_flight = max;
        self
    }

    /// How often requests may come.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate = Some(limit);
        self
    }

    /// The breaker of everything this makes, to look at its state.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }
}

impl<S> Layer<S> for Resilience
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    type Service = BoxCloneSyncService<Request<Sealed>, Response<Sealed>, CredentialError>;

    fn layer(&self, inner: S) -> Self::Service {
        let attempt = AttemptTimeoutLayer::new(self.timeout).layer(inner);
        let retry = RetryLayer::new(self.retry)
            .metrics(Arc::clone(&self.metrics.0))
            .layer(attempt);
        let breaker = BreakerLayer::new(self.breaker.clone()).layer(retry);
        let limited = ConcurrencyLayer::new(self.in_flight)
            .metrics(Arc::clone(&self.metrics.0))
            .layer(breaker);
        match self.rate {
            Some(rate) => {
                let rate = RateLimitLayer::new(rate).metrics(Arc::clone(&self.metrics.0));
                BoxCloneSyncService::new(rate.layer(limited))
            }
            None => BoxCloneSyncService::new(limited),
        }
    }
}
