//! Asking again.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{
    CredentialError, ErrorKind, MetricsEmitter, NoMetrics, Op, Request, Response, Retryability, Sealed,
};
use tokio::time::{Sleep, sleep};
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, Retry};
use tower_layer::Layer;

use crate::attempt::time_left;

/// How often and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryConfig {
    /// Attempts at most, the first included.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each attempt. The wait itself is drawn evenly between
    /// nothing and that ("full jitter": <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
    pub base: Duration,
    /// Where the doubling ends. A longer wait that the store asked for is kept to.
    pub cap: Duration,
    /// How many requests out of a hundred may be retries, over the last ten seconds: when a store is down, retries must not
    /// multiply what falls on it. At most 1000.
    pub budget_percent: u16,
    /// How many retries a second are allowed whatever the budget says, so that a program with few requests has any.
    pub budget_reserve: u16,
}

impl Default for RetryConfig {
    /// 3 attempts, 50 ms to 2 s, a fifth of all requests and ten a second besides: the defaults of Finagle's budget.
    fn default() -> Self {
        Self {
            attempts: 3,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
            budget_percent: 20,
            budget_reserve: 10,
        }
    }
}

/// The time over which the budget is kept.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

impl RetryConfig {
    /// The longest wait after `attempt` attempts, before what the store asked for.
    fn ceiling(&self, attempt: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(doubled).min(self.cap)
    }
}

/// Asks again, through [`tower::retry`], what failed for a cause that may pass and may be asked twice:
///
/// * an error that is [transient](Retryability::Transient), for then nothing was changed;
/// * an [unknown outcome](CredentialError::OutcomeUnknown) of a put with an
///   [idempotency token](nebula_credential_core::IdempotencyToken), whose second answer tells what the first did. Of any
///   other change it is never asked again.
///
/// No wait goes past the deadline of the request: then the error stands, and the
/// [report](nebula_credential_core::Report::cut_short) of the request tells. Nor is there any outside of a tokio runtime.
///
/// # Panics
/// In a tokio runtime without time enabled, a request that is to be asked again does.
#[derive(Clone)]
pub struct RetryLayer(RetryPolicy);

impl RetryLayer {
    /// Retries as `config` says. Every service made by this layer draws on one budget.
    pub fn new(config: RetryConfig) -> Self {
        let percent = f32::from(config.budget_percent.min(1000)) / 100.0;
        Self(RetryPolicy {
            config,
            budget: Arc::new(TpsBudget::new(
                BUDGET_WINDOW,
                u32::from(config.budget_reserve),
                percent,
            )),
            attempt: 1,
            metrics: Arc::new(NoMetrics),
        })
    }

    /// Counts retries there.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn MetricsEmitter>) -> Self {
        self.0.metrics = metrics;
        self
    }
}

impl std::fmt::Debug for RetryLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RetryLayer").field(&self.0.config).finish()
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<RetryPolicy, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(self.0.clone(), inner)
    }
}

/// The [`Policy`] of a [`RetryLayer`].
#[derive(Clone)]
pub struct RetryPolicy {
    config: RetryConfig,
    budget: Arc<TpsBudget>,
    attempt: u32,
    metrics: Arc<dyn MetricsEmitter>,
}

impl RetryPolicy {
    /// How long to wait before `request`, which failed with `error`, is asked again; `None` to leave it at that.
    fn wait(&self, request: &Request<Sealed>, error: &CredentialError) -> Option<Duration> {
        let asked = match error.retryability() {
            Retryability::Transient { after } => after,
            _ if error.kind() == ErrorKind::OutcomeUnknown && has_token(&request.op) => None,
            _ => return None,
        };
        if self.attempt >= self.config.attempts {
            return None;
        }
        let wait = jitter(self.config.ceiling(self.attempt)).saturating_add(asked.unwrap_or_default());
        if time_left(&request.ctx).is_some_and(|left| left <= wait) {
            if let Some(report) = &request.ctx.report {
                report.cut_short_of(wait);
            }
            return None;
        }
        Some(wait)
    }
}

fn has_token(op: &Op<Sealed>) -> bool {
    matches!(op, Op::Put(put) if put.token.is_some())
}

/// An even draw between nothing and `ceiling`. Without randomness, the whole of it.
fn jitter(ceiling: Duration) -> Duration {
    let Ok(random) = getrandom::u32() else {
        return ceiling;
    };
    ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

impl Policy<Request<Sealed>, Response<Sealed>, CredentialError> for RetryPolicy {
    type Future = Sleep;

    fn retry(
        &mut self,
        request: &mut Request<Sealed>,
        result: &mut Result<Response<Sealed>, CredentialError>,
    ) -> Option<Sleep> {
        let Err(error) = result else {
            self.budget.deposit();
            return None;
        };
        let wait = self.wait(request, error)?;
        // Outside of a runtime there is nothing to wait by.
        tokio::runtime::Handle::try_current().ok()?;
        let outcome = if self.budget.withdraw() {
            "retried"
        } else {
            "over_budget"
        };
        let labels = [("operation", request.op.name()), ("outcome", outcome)];
        self.metrics
            .increment("nebula_credential_retries_total", &labels, 1);
        if outcome != "retried" {
            return None;
        }
        self.attempt = self.attempt.saturating_add(1);
        Some(sleep(wait))
    }

    fn clone_request(&mut self, request: &Request<Sealed>) -> Option<Request<Sealed>> {
        Some(request.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let config = RetryConfig::default();
        let ceilings: Vec<_> = [1, 2, 3, 6, 7, 40, u32::MAX]
            .map(|n| config.ceiling(n).as_millis())
            .into();
        assert_eq!(ceilings, [50, 100, 200, 1600, 2000, 2000, 2000]);
    }

    #[test]
    fn jitter_is_spread_over_the_whole_range() {
        let ceiling = Duration::from_secs(1);
        let draws: Vec<_> = (0..1000).map(|_| jitter(ceiling)).collect();
        assert!(draws.iter().all(|draw| *draw <= ceiling));
        // An even draw misses a tenth of its range 1000 times in a row once in 10^45.
        for tenth in 0..10 {
            let range = ceiling * tenth / 10..=ceiling * (tenth + 1) / 10;
            assert!(draws.iter().any(|draw| range.contains(draw)), "{tenth}");
        }
    }
}
