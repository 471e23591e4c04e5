//! When an answer is given that must not tell how it came about.

use std::time::Duration;

use tokio::time::Instant;

/// The time from which a request is counted, and the step in which answers are given that hide whether something
/// exists: the work behind them ends somewhere within a step, and is answered at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    since: Instant,
    step: Duration,
}

impl Floor {
    pub(crate) fn begin(step: Duration) -> Self {
        Self {
            since: Instant::now(),
            step,
        }
    }

    /// Waits for the end of the present step.
    pub(crate) async fn wait(self) {
        let step = self.step.as_nanos();
        if step == 0 {
            return;
        }
        let steps = self.since.elapsed().as_nanos() / step + 1;
        let wait = u32::try_from(steps)
            .ok()
            .and_then(|steps| self.step.checked_mul(steps));
        if let Some(end) = wait.and_then(|wait| self.since.checked_add(wait)) {
            tokio::time::sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_at_the_end_of_a_step() {
        let step = Duration::from_millis(10);
        for (worked, answered) in [(0, 10), (1, 10), (9, 10), (10, 20), (11, 20), (39, 40)] {
            let began = Instant::now();
            let floor = Floor::begin(step);
            tokio::time::advance(Duration::from_millis(worked)).await;
            floor.wait().await;
            assert_eq!(began.elapsed(), Duration::from_millis(answered), "{worked}");
        }
        let began = Instant::now();
        Floor::begin(Duration::ZERO).wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
