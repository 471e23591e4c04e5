//! When to see whether a writer died, of which the counters it left odd are the only sign.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long nobody looks again: a change in progress looks the same, and is over within milliseconds.
const REST: Duration = Duration::from_secs(1);

/// When it was looked at last.
#[derive(Default)]
pub(crate) struct Doubt(Mutex<Option<Instant>>);

impl Doubt {
    /// Whether to look at `now`, for somebody met an odd counter. Waits for nothing.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        // Somebody else is here at this moment, and is told.
        let Ok(mut looked) = self.0.try_lock() else {
            return false;
        };
        if looked.is_some_and(|at| now.saturating_duration_since(at) < REST) {
            return false;
        }
        *looked = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_once_and_then_every_second_at_most() {
        let (doubt, start) = (Doubt::default(), Instant::now());
        let due: Vec<_> = [0, 0, 999, 1000, 1001, 1999, 2000]
            .into_iter()
            .filter(|ms| doubt.is_due(start + Duration::from_millis(*ms)))
            .collect();
        assert_eq!(due, [0, 1000, 2000]);
    }
}
