use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nebula_credential_core::{
    AnyCredential, Clock, CredentialError, CredentialProvider, MetricsEmitter, NoMetrics, SystemClock,
};

use crate::attempt::{ATTEMPT_TIMEOUT, within};
use crate::{BreakerConfig, BreakerState, CircuitBreaker};

/// A provider that is not asked while it fails.
///
/// ```
/// use std::time::Duration;
/// use nebula_credential_core::{CredentialError, CredentialProvider};
/// use nebula_credential_resilience::CircuitBreakerCredentialProvider;
///
/// # async fn run(vault: impl CredentialProvider) -> Result<(), CredentialError> {
/// // Opens after 5 failures in a row, closes after 2 successes, asks again after 30 s.
/// let provider = CircuitBreakerCredentialProvider::new(vault, 5, 2, Duration::from_secs(30));
/// let credential = provider.get("database").await?;
/// # Ok(())
/// # }
/// ```
///
/// An answer that does not come within 10 s is a failure, so that a provider that hangs opens the breaker too:
/// [`attempt_timeout`](Self::attempt_timeout) allows another time. Runs on a tokio runtime with time enabled; outside of any,
/// every request is [`Unsupported`](CredentialError::Unsupported).
///
/// # Panics
/// In a tokio runtime without time enabled, every request does.
#[derive(Debug, Clone)]
pub struct CircuitBreakerCredentialProvider<P> {
    inner: P,
    breaker: CircuitBreaker,
    attempt_timeout: Duration,
}

impl<P: CredentialProvider> CircuitBreakerCredentialProvider<P> {
    /// Opens after `failure_threshold` failures in a row, lets a probe through after `timeout`, and closes after
    /// `success_threshold` successful ones.
    pub fn new(inner: P, failure_threshold: u32, success_threshold: u32, timeout: Duration) -> Self {
        Self::with_clock(
            inner,
            BreakerConfig {
                failure_threshold,
                success_threshold,
                open_for: timeout,
            },
            Arc::new(SystemClock),
        )
    }

    /// [`new`](Self::new), by another clock than that of the operating system.
    pub fn with_clock(inner: P, config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        Self::with_metrics(inner, config, clock, Arc::new(NoMetrics))
    }

    /// [`with_clock`](Self::with_clock), with the breaker's measurements under the backend `provider`.
    pub fn with_metrics(
        inner: P,
        config: BreakerConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn MetricsEmitter>,
    ) -> Self {
        Self {
            inner,
            breaker: CircuitBreaker::named("provider", config, clock, metrics),
            attempt_timeout: ATTEMPT_TIMEOUT,
        }
    }

    /// How long an answer is waited for; 10 s unless told otherwise.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// What the breaker does with requests at present.
    pub fn state(&self) -> BreakerState {
        self.breaker.state()
    }
}

#[async_trait]
impl<P: CredentialProvider> CredentialProvider for CircuitBreakerCredentialProvider<P> {
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        let sample = self.breaker.admit()?;
        let answer = match within(self.attempt_timeout, self.inner.get(name)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(CredentialError::unavailable(format!(
                "the provider did not answer within {:?}; ask again, or allow more time",
                self.attempt_timeout
            ))),
            Err(no_timer) => return Err(no_timer),
        };
        sample.record(&answer);
        answer
    }
}
