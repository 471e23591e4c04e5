use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_core::Clock;

/// A clock that stands still until it is told to move. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use nebula_credential_core::Clock as _;
/// use nebula_credential_testkit::TestClock;
///
/// let clock = TestClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(90));
/// assert_eq!((clock.now() - before).num_seconds(), 90);
/// ```
#[derive(Debug, Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// 2026-01-01T00:00:00Z, in microseconds since 1970.
    const START: i64 = 1_767_225_600_000_000;

    /// A clock that stands at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Self::START)))
    }

    /// A clock that stands at `time`, in whole microseconds.
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Arc::new(AtomicI64::new(time.timestamp_micros())))
    }

    /// Moves the clock forward by `step`, in whole microseconds, and says what time it is then.
    pub fn advance(&self, step: Duration) -> DateTime<Utc> {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        let add = |now: i64| now.saturating_add(step);
        let before = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(add(now)));
        time(add(before.unwrap_or_else(|now| now)))
    }

    /// Moves the clock to `to`, unless it is past it already: it never runs backwards.
    pub fn set(&self, to: DateTime<Utc>) {
        self.0.fetch_max(to.timestamp_micros(), Ordering::SeqCst);
    }

    /// Moves the clock to `to`, backwards too, as the clock of a machine may when it is corrected.
    pub fn jump(&self, to: DateTime<Utc>) {
        self.0.store(to.timestamp_micros(), Ordering::SeqCst);
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        time(self.0.load(Ordering::SeqCst))
    }
}

/// The time `micros` after 1970; the last there is, beyond it.
fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_fixed_instant_and_moves_only_when_told() {
        let clock = TestClock::new();
        assert_eq!(clock.now().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        let same = clock.clone();
        assert_eq!(same.advance(Duration::from_micros(7)), clock.now());
        assert_eq!(clock.now().timestamp_subsec_micros(), 7);
    }

    #[test]
    fn runs_backwards_only_by_a_jump() {
        let clock = TestClock::new();
        let earlier = DateTime::UNIX_EPOCH;
        clock.set(earlier);
        assert_ne!(clock.now(), earlier);
        clock.jump(earlier);
        assert_eq!(clock.now(), earlier);
    }

    #[test]
    fn stops_at_the_end_of_time() {
        let clock = TestClock::new();
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
    }
}
