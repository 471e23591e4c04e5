//! The circuit breaker: the state machine.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_core::{Clock, CredentialError, ErrorKind, MetricsEmitter, NoMetrics};

mod layer;

pub use layer::{Breaker, BreakerLayer};

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it; at least 1.
    pub failure_threshold: u32,
    /// Successful probes in a row that close it again; at least 1.
    pub success_threshold: u32,
    /// How long it stays open before it lets a probe through, and how long it waits for a probe to end.
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
/// An operation that never ends says nothing either, so there belongs a timeout inside. While the breaker is half open, a
/// probe that has not ended after [`open_for`](BreakerConfig::open_for) is no longer waited for: the next is let through.
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
    Closed {
        failures: u32,
    },
    Open {
        since: DateTime<Utc>,
    },
    /// `probe` is when the probe that is out was let through.
    HalfOpen {
        successes: u32,
        probe: Option<DateTime<Utc>>,
    },
}

impl Phase {
    const fn state(self) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
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
            Phase::Open { since } if self.0.left(since, self.0.clock.now()).is_zero() => {
                BreakerState::HalfOpen
            }
            phase => phase.state(),
        }
    }

    /// Lets an operation through, to be [recorded](Sample::record) when it ends.
    ///
    /// # Errors
    /// [`CredentialError::CircuitBreakerOpen`].
    pub fn admit(&self) -> Result<Sample, CredentialError> {
        let shared = &self.0;
        let (entered, admitted) = {
            let mut circuit = shared.circuit();
            let before = circuit.phase.state();
            let admitted = shared.let_through(&mut circuit).map(|()| Sample {
                shared: Arc::clone(shared),
                generation: circuit.generation,
                recorded: false,
            });
            (circuit.entered_from(before), admitted)
        };
        shared.tell(entered);
        admitted.map_err(|refusal| shared.refuse(&refusal))
    }
}

/// Why an operation is not let through.
enum Refusal {
    Probing,
    Open(Duration),
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
    /// Nothing runs under the lock but the machine and its clock: no emitter, no caller.
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of [`BreakerConfig::open_for`]. A clock that was set back would make it longer than it ever should be.
    fn left(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
        match now.signed_duration_since(since).to_std() {
            Ok(passed) => self.config.open_for.saturating_sub(passed),
            Err(_) => Duration::ZERO,
        }
    }

    fn let_through(&self, circuit: &mut Circuit) -> Result<(), Refusal> {
        let now = self.clock.now();
        let successes = match circuit.phase {
            Phase::Closed { .. } => return Ok(()),
            Phase::Open { since } => match self.left(since, now) {
                Duration::ZERO => 0,
                left => return Err(Refusal::Open(left)),
            },
            Phase::HalfOpen {
                successes,
                probe: None,
            } => {
                circuit.phase = Phase::HalfOpen {
                    successes,
                    probe: Some(now),
                };
                return Ok(());
            }
            Phase::HalfOpen {
                successes,
                probe: Some(since),
            } => match self.left(since, now) {
                // Whatever becomes of that probe is of an earlier generation.
                Duration::ZERO => successes,
                _ => return Err(Refusal::Probing),
            },
        };
        circuit.enter(Phase::HalfOpen {
            successes,
            probe: Some(now),
        });
        Ok(())
    }

    fn refuse(&self, why: &Refusal) -> CredentialError {
        let name = self.name;
        self.metrics
            .increment("nebula_credential_breaker_refused_total", &[("backend", name)], 1);
        CredentialError::circuit_breaker_open(match why {
            Refusal::Probing => format!("{name} is being probed; ask again shortly"),
            Refusal::Open(left) => format!("{name} has failed repeatedly; it is asked again in {left:?}"),
        })
    }

    /// Tells of a change, after the lock was let go: an emitter may be slow, or ask the breaker.
    fn tell(&self, entered: Option<BreakerState>) {
        let Some(mut state) = entered else { return };
        let labels = [("backend", self.name), ("state", state.as_str())];
        self.metrics
            .increment("nebula_credential_breaker_transitions_total", &labels, 1);
        let backend = [("backend", self.name)];
        // Others may tell of later changes at the same time, and be overtaken: whoever speaks last has looked once more.
        loop {
            self.metrics
                .gauge("nebula_credential_breaker_state", &backend, state.gauge());
            let latest = self.circuit().phase.state();
            if latest == state {
                return;
            }
            state = latest;
        }
    }

    fn record(&self, generation: u64, failed: bool) {
        let entered = {
            let mut circuit = self.circuit();
            if circuit.generation != generation {
                return;
            }
            let before = circuit.phase.state();
            self.count(&mut circuit, failed);
            circuit.entered_from(before)
        };
        self.tell(entered);
    }

    fn count(&self, circuit: &mut Circuit, failed: bool) {
        let open = Phase::Open {
            since: self.clock.now(),
        };
        match circuit.phase {
            Phase::Closed { failures } if failed => {
                let failures = failures.saturating_add(1);
                if failures >= self.config.failure_threshold {
                    circuit.enter(open);
                } else {
                    circuit.phase = Phase::Closed { failures };
                }
            }
            Phase::Closed { .. } => circuit.phase = Phase::Closed { failures: 0 },
            Phase::HalfOpen { .. } if failed => circuit.enter(open),
            Phase::HalfOpen { successes, .. } => {
                let successes = successes.saturating_add(1);
                if successes >= self.config.success_threshold {
                    circuit.enter(Phase::Closed { failures: 0 });
                } else {
                    circuit.phase = Phase::HalfOpen {
                        successes,
                        probe: None,
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
                probe: None,
            };
        }
    }
}

impl Circuit {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation = self.generation.wrapping_add(1);
    }

    /// The state, if it is another than `before`.
    fn entered_from(&self, before: BreakerState) -> Option<BreakerState> {
        let now = self.phase.state();
        (now != before).then_some(now)
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
