//! The circuit breaker.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    BoxFuture, Clock, CredentialError, ErrorKind, MetricsEmitter, NoMetrics, Request, Response, Sealed,
};
use tower_layer::Layer;
use tower_service::Service;

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it; at least 1.
    pub failure_threshold: u32,
    /// Successful probes in a row that close it again; at least 1.
    pub success_threshold: u32,
    /// How long it stays open before it lets a probe through.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    /// Opens after 5 failures, probes after 30 s, closes after 1 success.
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            success_threshold: 1,
            open_for: Duration::from_secs(30),
        }
    }
}

/// What a breaker does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets every request through.
    Closed,
    /// Refuses every request.
    Open,
    /// Lets one request at a time through, to see.
    HalfOpen,
}

impl BreakerState {
    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    const fn gauge(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

/// Keeps requests from a backend that fails, and lets one through now and then to see whether it still does.
///
/// Each operation is one sample, however many attempts it took. A failure is an answer that says the backend does not
/// work: unavailable, out of time, outcome unknown, storage failed. That a credential is absent, or the caller may not
/// have it, is a success: the backend answered. An operation that was given up by its caller says nothing.
///
/// Clones are the same breaker.
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

struct Shared {
    config: BreakerConfig,
    clock: Arc<dyn Clock>,
    name: &'static str,
    metrics: Arc<dyn MetricsEmitter>,
    circuit: Mutex<Circuit>,
}

#[derive(Debug, Clone, Copy)]
struct Circuit {
    phase: Phase,
    /// How often the phase changed: what was admitted in an earlier phase does not count in this one.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { since: DateTime<Utc> },
    HalfOpen { successes: u32, probing: bool },
}

impl CircuitBreaker {
    /// A closed breaker that takes the time from `clock`.
    pub fn new(config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        Self::named("store", config, clock, Arc::new(NoMetrics))
    }

    /// [`new`](Self::new), under a name for the errors and the `backend` label of its metrics.
    pub fn named(
        name: &'static str,
        config: BreakerConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn MetricsEmitter>,
    ) -> Self {
        // A series that begins with the first failure is one that nobody has seen closed.
        let closed = BreakerState::Closed.gauge();
        metrics.gauge("nebula_credential_breaker_state", &[("backend", name)], closed);
        Self(Arc::new(Shared {
            config,
            clock,
            name,
            metrics,
            circuit: Mutex::new(Circuit {
                phase: Phase::Closed { failures: 0 },
                generation: 0,
            }),
        }))
    }

    /// What it does with requests at present. An open breaker whose time is over is half open.
    pub fn state(&self) -> BreakerState {
        match self.0.circuit().phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
            Phase::Open { since } if self.0.left(since).is_zero() => BreakerState::HalfOpen,
            Phase::Open { .. } => BreakerState::Open,
        }
    }

    /// Lets an operation through, to be [recorded](Sample::record) when it ends.
    ///
    /// # Errors
    /// [`CredentialError::CircuitBreakerOpen`].
    pub fn admit(&self) -> Result<Sample, CredentialError> {
        let shared = &self.0;
        let mut circuit = shared.circuit();
        let refused = |reason: String| {
            let labels = [("backend", shared.name)];
            shared
                .metrics
                .increment("nebula_credential_breaker_refused_total", &labels, 1);
            Err(CredentialError::circuit_breaker_open(reason))
        };
        match circuit.phase {
            Phase::Closed { .. } => {}
            Phase::HalfOpen { probing: true, .. } => {
                return refused(format!("{} is being probed; ask again shortly", shared.name));
            }
            Phase::HalfOpen { successes, .. } => {
                circuit.phase = Phase::HalfOpen {
                    successes,
                    probing: true,
                };
            }
            Phase::Open { since } => {
                let left = shared.left(since);
                if !left.is_zero() {
                    return refused(format!(
                        "{} has failed repeatedly; it is asked again in {left:?}",
                        shared.name
                    ));
                }
                shared.enter(
                    &mut circuit,
                    Phase::HalfOpen {
                        successes: 0,
                        probing: true,
                    },
                );
            }
        }
        Ok(Sample {
            shared: Arc::clone(shared),
            generation: circuit.generation,
            recorded: false,
        })
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.0.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Nothing that can panic runs under the lock.
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it stays open. A clock that was set back would keep it open for longer than it ever should be.
    fn left(&self, since: DateTime<Utc>) -> Duration {
        let open = self.clock.now().signed_duration_since(since);
        match open.to_std() {
            Ok(open) => self.config.open_for.saturating_sub(open),
            Err(_) => Duration::ZERO,
        }
    }

    fn enter(&self, circuit: &mut Circuit, phase: Phase) {
        circuit.phase = phase;
        circuit.generation = circuit.generation.wrapping_add(1);
        let state = match phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        };
        let labels = [("backend", self.name), ("state", state.as_str())];
        self.metrics
            .increment("nebula_credential_breaker_transitions_total", &labels, 1);
        let backend = [("backend", self.name)];
        self.metrics
            .gauge("nebula_credential_breaker_state", &backend, state.gauge());
    }

    fn record(&self, generation: u64, failed: bool) {
        let mut circuit = self.circuit();
        if circuit.generation != generation {
            return;
        }
        let open = Phase::Open {
            since: self.clock.now(),
        };
        match circuit.phase {
            Phase::Closed { failures } if failed => {
                let failures = failures.saturating_add(1);
                if failures >= self.config.failure_threshold {
                    self.enter(&mut circuit, open);
                } else {
                    circuit.phase = Phase::Closed { failures };
                }
            }
            Phase::Closed { .. } => circuit.phase = Phase::Closed { failures: 0 },
            Phase::HalfOpen { .. } if failed => self.enter(&mut circuit, open),
            Phase::HalfOpen { successes, .. } => {
                let successes = successes.saturating_add(1);
                if successes >= self.config.success_threshold {
                    self.enter(&mut circuit, Phase::Closed { failures: 0 });
                } else {
                    circuit.phase = Phase::HalfOpen {
                        successes,
                        probing: false,
                    };
                }
            }
            // Nothing is admitted in this phase, and what was admitted before is of an earlier generation.
            Phase::Open { .. } => {}
        }
    }

    /// A probe that says nothing makes room for the next.
    fn give_up(&self, generation: u64) {
        let mut circuit = self.circuit();
        if let (true, Phase::HalfOpen { successes, .. }) = (circuit.generation == generation, circuit.phase) {
            circuit.phase = Phase::HalfOpen {
                successes,
                probing: false,
            };
        }
    }
}

/// An operation that was let through. Dropped without a record, it counts as neither success nor failure.
#[must_use = "a sample that is dropped at once says nothing"]
pub struct Sample {
    shared: Arc<Shared>,
    generation: u64,
    recorded: bool,
}

impl Sample {
    /// Says how the operation ended.
    pub fn record<T>(mut self, answer: &Result<T, CredentialError>) {
        self.recorded = true;
        let failed = answer.as_ref().is_err_and(is_failure);
        self.shared.record(self.generation, failed);
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if !self.recorded {
            self.shared.give_up(self.generation);
        }
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").finish_non_exhaustive()
    }
}

/// Whether an error says that the backend does not work.
fn is_failure(error: &CredentialError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::OutcomeUnknown | ErrorKind::Storage
    )
}

/// Keeps requests from a store that fails.
#[derive(Debug, Clone)]
pub struct BreakerLayer(CircuitBreaker);

impl BreakerLayer {
    /// Asks `breaker` before the store is asked.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self(breaker)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker {
            inner,
            breaker: self.0.clone(),
        }
    }
}

/// The service a [`BreakerLayer`] makes.
#[derive(Debug, Clone)]
pub struct Breaker<S> {
    inner: S,
    breaker: CircuitBreaker,
}

impl<S> Service<Request<Sealed>> for Breaker<S>
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
        let sample = match self.breaker.admit() {
            Ok(sample) => sample,
            Err(open) => return Box::pin(async { Err(open) }),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            sample.record(&answer);
            answer
        })
    }
}
