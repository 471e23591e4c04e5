//! When an answer is given that must not tell how it came about.

use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
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
            sleep_until(end).await;
        }
    }
}

/// Outside of a tokio runtime there are no timers, and a thread waits: an answer at once would tell.
async fn sleep_until(end: Instant) {
    if Handle::try_current().is_ok() {
        return tokio::time::sleep_until(end).await;
    }
    let (over, wait) = oneshot::channel();
    let sleep = move || thread::sleep(end.saturating_duration_since(Instant::now()));
    let asleep = thread::Builder::new()
        .name("nebula-credential-answer".to_owned())
        .spawn(move || {
            sleep();
            // Whoever asked may have given up.
            let _ = over.send(());
        });
    match asleep {
        Ok(_) => wait.await.unwrap_or_default(),
        // The system has no thread left: the one there is waits.
        Err(_) => sleep(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake};

    use super::*;

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn outside_of_a_runtime_the_end_of_a_step_is_waited_for_as_well() {
        let step = Duration::from_millis(30);
        let waker = Arc::new(Unpark(thread::current())).into();
        let floor = Floor::begin(step);
        let mut waiting = pin!(floor.wait());
        while waiting.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            thread::park();
        }
        assert!(floor.since.elapsed() >= step);
    }

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
