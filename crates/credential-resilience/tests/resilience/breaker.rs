//! The state machine against a model of it.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::CredentialError;
use nebula_credential_resilience::{BreakerConfig, BreakerState, CircuitBreaker, Sample};
use nebula_credential_testkit::TestClock;
use proptest::prelude::*;

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
    probe_out: bool,
}

impl Model {
    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.entered = self.now;
        self.era += 1;
        self.streak = 0;
        self.probe_out = false;
    }

    fn settle(&mut self) {
        let over = self.now - self.entered >= self.config.open_for.as_secs();
        if self.state == BreakerState::Open && over {
            self.enter(BreakerState::HalfOpen);
        }
    }

    fn admits(&mut self) -> bool {
        self.settle();
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen => !std::mem::replace(&mut self.probe_out, true),
        }
    }

    fn end(&mut self, era: usize, end: End) {
        if era != self.era {
            return;
        }
        self.probe_out = false;
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
        let breaker = CircuitBreaker::new(config, Arc::new(clock.clone()));
        let mut model =
            Model { config, now: 0, state: BreakerState::Closed, entered: 0, era: 0, streak: 0, probe_out: false };
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
        }
    }
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
