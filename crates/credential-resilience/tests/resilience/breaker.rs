//! The state machine against a model of it.

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use nebula_credential_core::{CredentialError, Labels, MetricsEmitter};
use nebula_credential_resilience::{BreakerConfig, BreakerState, CircuitBreaker, Sample};
use nebula_credential_testkit::TestClock;
use proptest::prelude::*;

use crate::support::CONFIG;

#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    /// Of the samples that are out, the one with this number ends so.
    End(usize, End),
    Advance(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Success,
    Absent,
    Failure,
    GivenUp,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Success),
        1 => Just(End::Absent),
        4 => Just(End::Failure),
        1 => Just(End::GivenUp)
    ];
    prop_oneof![
        4 => Just(Step::Admit),
        4 => (0..4_usize, end).prop_map(|(which, end)| Step::End(which, end)),
        1 => (1..20_u64).prop_map(Step::Advance),
    ]
}

/// What the breaker should be, told the plainest way: the time in seconds, and the history since the state was entered.
struct Model {
    config: BreakerConfig,
    now: u64,
    state: BreakerState,
    entered: u64,
    era: usize,
    streak: u32,
    probe_out_since: Option<u64>,
}

impl Model {
    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.entered = self.now;
        self.era += 1;
        self.streak = 0;
        self.probe_out_since = None;
    }

    fn is_over(&self, since: u64) -> bool {
        self.now - since >= self.config.open_for.as_secs()
    }

    fn settle(&mut self) {
        if self.state == BreakerState::Open && self.is_over(self.entered) {
            self.enter(BreakerState::HalfOpen);
        }
    }

    fn admits(&mut self) -> bool {
        self.settle();
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen => match self.probe_out_since {
                Some(since) if !self.is_over(since) => false,
                probe => {
                    // A probe that never ended is forgotten.
                    self.era += usize::from(probe.is_some());
                    self.probe_out_since = Some(self.now);
                    true
                }
            },
        }
    }

    fn end(&mut self, era: usize, end: End) {
        if era != self.era {
            return;
        }
        self.probe_out_since = None;
        match (self.state, end) {
            (_, End::GivenUp) => {}
            (BreakerState::Closed, End::Failure) => {
                self.streak += 1;
                if self.streak == self.config.failure_threshold {
                    self.enter(BreakerState::Open);
                }
            }
            (BreakerState::Closed, _) => self.streak = 0,
            (BreakerState::HalfOpen, End::Failure) => self.enter(BreakerState::Open),
            (BreakerState::HalfOpen, _) => {
                self.streak += 1;
                if self.streak == self.config.success_threshold {
                    self.enter(BreakerState::Closed);
                }
            }
            (BreakerState::Open, _) => {}
        }
    }
}

fn finish(sample: Sample, end: End) {
    match end {
        End::Success => sample.record(&Ok(())),
        End::Absent => sample.record::<()>(&Err(CredentialError::not_found("db"))),
        End::Failure => sample.record::<()>(&Err(CredentialError::unavailable("away"))),
        End::GivenUp => drop(sample),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_breaker_does_what_its_model_does(
        steps in prop::collection::vec(step(), 1..120),
        failure_threshold in 1..4_u32,
        success_threshold in 1..4_u32,
    ) {
        let config = BreakerConfig { failure_threshold, success_threshold, open_for: Duration::from_secs(10) };
        let clock = TestClock::new();
        let told = Told::default();
        let breaker = CircuitBreaker::named("store", config, Arc::new(clock.clone()), Arc::new(told.clone()));
        let mut model = Model {
            config,
            now: 0,
            state: BreakerState::Closed,
            entered: 0,
            era: 0,
            streak: 0,
            probe_out_since: None,
        };
        let mut out = Vec::new();
        for step in steps {
            match step {
                Step::Advance(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    model.now += seconds;
                }
                Step::Admit => match (breaker.admit(), model.admits()) {
                    (Ok(sample), true) => out.push((sample, model.era)),
                    (Err(CredentialError::CircuitBreakerOpen(_)), false) => {}
                    (answer, expected) => prop_assert!(false, "{answer:?}, expected {expected}"),
                },
                Step::End(which, end) => {
                    if which < out.len() {
                        let (sample, era) = out.remove(which);
                        finish(sample, end);
                        model.end(era, end);
                    }
                }
            }
            model.settle();
            prop_assert_eq!(breaker.state(), model.state);
            told.agrees(&breaker)?;
        }
    }
}

/// What was told of the breaker's state: the value of the gauge.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<f64>>>);

impl Told {
    /// An open breaker whose time is over is told of when somebody asks.
    fn agrees(&self, breaker: &CircuitBreaker) -> Result<(), TestCaseError> {
        let told = self.0.lock().unwrap().unwrap();
        match breaker.state() {
            BreakerState::Closed => prop_assert_eq!(told, 0.0),
            BreakerState::Open => prop_assert_eq!(told, 2.0),
            BreakerState::HalfOpen => prop_assert!(told == 1.0 || told == 2.0),
        }
        Ok(())
    }
}

impl MetricsEmitter for Told {
    fn increment(&self, _: &'static str, _: Labels<'_>, _: u64) {}
    fn gauge(&self, _: &'static str, _: Labels<'_>, value: f64) {
        *self.0.lock().unwrap() = Some(value);
    }
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

/// Asks the breaker whatever it is told, as one that logs beside it might.
#[derive(Default)]
struct Curious {
    breaker: OnceLock<CircuitBreaker>,
    seen: Mutex<Vec<BreakerState>>,
}

impl Curious {
    fn look(&self) {
        if let Some(breaker) = self.breaker.get() {
            self.seen.lock().unwrap().push(breaker.state());
        }
    }
}

impl MetricsEmitter for Curious {
    fn increment(&self, _: &'static str, _: Labels<'_>, _: u64) {
        self.look();
    }
    fn gauge(&self, _: &'static str, _: Labels<'_>, _: f64) {
        self.look();
    }
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

#[test]
fn an_emitter_may_ask_the_breaker_that_tells_it() {
    let curious = Arc::new(Curious::default());
    let clock = TestClock::new();
    let breaker = CircuitBreaker::named("store", CONFIG, Arc::new(clock.clone()), curious.clone());
    curious.breaker.set(breaker.clone()).unwrap();
    let (done, finished) = mpsc::channel();
    // On a thread of its own: what fails here fails by never ending.
    std::thread::spawn(move || {
        for _ in 0..CONFIG.failure_threshold {
            finish(breaker.admit().unwrap(), End::Failure);
        }
        assert!(breaker.admit().is_err());
        clock.advance(CONFIG.open_for);
        for _ in 0..CONFIG.success_threshold {
            finish(breaker.admit().unwrap(), End::Success);
        }
        done.send(()).unwrap();
    });
    finished.recv_timeout(Duration::from_secs(10)).unwrap();
    let seen = curious.seen.lock().unwrap();
    let expected = [
        [BreakerState::Open; 3].as_slice(),
        &[BreakerState::HalfOpen; 2],
        &[BreakerState::Closed; 2],
    ];
    assert_eq!(*seen, expected.concat());
}

/// Is held up with the first value it is told of an open breaker.
struct Slow {
    told: Told,
    hold: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl MetricsEmitter for Slow {
    fn increment(&self, _: &'static str, _: Labels<'_>, _: u64) {}
    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        let held = match value {
            2.0 => self.hold.lock().unwrap().take(),
            _ => None,
        };
        if let Some((arrived, release)) = held {
            arrived.send(()).unwrap();
            release.recv().unwrap();
        }
        self.told.gauge(name, labels, value);
    }
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

#[test]
fn who_was_overtaken_while_telling_does_not_have_the_last_word() {
    let ((arrived, arrival), (go, release)) = (mpsc::channel(), mpsc::channel());
    let told = Told::default();
    let slow = Slow {
        told: told.clone(),
        hold: Mutex::new(Some((arrived, release))),
    };
    let config = BreakerConfig {
        failure_threshold: 1,
        success_threshold: 1,
        ..CONFIG
    };
    let clock = TestClock::new();
    let breaker = CircuitBreaker::named("store", config, Arc::new(clock.clone()), Arc::new(slow));
    std::thread::scope(|scope| {
        scope.spawn(|| finish(breaker.admit().unwrap(), End::Failure));
        arrival.recv().unwrap();
        clock.advance(config.open_for);
        finish(breaker.admit().unwrap(), End::Success);
        go.send(()).unwrap();
    });
    assert_eq!(breaker.state(), BreakerState::Closed);
    told.agrees(&breaker).unwrap();
}

#[test]
fn a_probe_that_never_ends_is_waited_for_as_long_as_it_stayed_open() {
    let clock = TestClock::new();
    let breaker = CircuitBreaker::new(CONFIG, Arc::new(clock.clone()));
    for _ in 0..CONFIG.failure_threshold {
        finish(breaker.admit().unwrap(), End::Failure);
    }
    clock.advance(CONFIG.open_for);
    let lost = breaker.admit().unwrap();
    clock.advance(CONFIG.open_for - Duration::from_millis(1));
    assert!(breaker.admit().is_err());
    clock.advance(Duration::from_millis(1));
    let next = breaker.admit().unwrap();
    // What the lost one comes to in the end is about another time, and takes nobody's place.
    finish(lost, End::Failure);
    assert!(breaker.admit().is_err());
    finish(next, End::Success);
    finish(breaker.admit().unwrap(), End::Success);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_it_open() {
    let clock = TestClock::new();
    let before = clock.advance(Duration::ZERO);
    clock.advance(Duration::from_secs(86_400));
    let config = BreakerConfig {
        failure_threshold: 1,
        ..BreakerConfig::default()
    };
    let breaker = CircuitBreaker::new(config, Arc::new(clock.clone()));
    finish(breaker.admit().unwrap(), End::Failure);
    assert_eq!(breaker.state(), BreakerState::Open);
    clock.jump(before);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}
