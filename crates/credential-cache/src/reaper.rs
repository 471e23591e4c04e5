//! Removes what is due on time: the map underneath drops lazily.
//!
//! A thread, not a task: a timer of a runtime stands still where the runtime is not driven, and cannot be made at all
//! where it has no timers. The thread lives while there is something to remove.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often, at the latest, it is looked whether copies are still current.
const TICK: Duration = Duration::from_secs(1);

/// Something with entries that come due.
pub(crate) trait Reap: Send + Sync + 'static {
    /// Its reaper.
    fn reaper(&self) -> &Reaper;

    /// Removes what is due at `now` or no longer current; says when the next one is due, `None` if nothing is left.
    fn reap(&self, now: Instant) -> Option<Instant>;
}

/// The thread of one cache.
#[derive(Default)]
pub(crate) struct Reaper(Mutex<Option<Thread>>);

impl Reaper {
    /// Sees to it that `cache` is reaped; to be called after something was put into it. `false` if the system has no
    /// thread to spare: then it must be taken out again.
    pub(crate) fn watch<R: Reap>(cache: &Arc<R>) -> bool {
        let mut running = lock(&cache.reaper().0);
        if running.is_some() {
            return true;
        }
        let weak = Arc::downgrade(cache);
        let spawned = thread::Builder::new()
            .name("credential-cache".into())
            .spawn(move || run(&weak));
        *running = spawned.ok().map(|handle| handle.thread().clone());
        running.is_some()
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(thread) = lock(&self.0).take() {
            thread.unpark();
        }
    }
}

fn lock(thread: &Mutex<Option<Thread>>) -> MutexGuard<'_, Option<Thread>> {
    thread.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run<R: Reap>(cache: &Weak<R>) {
    while let Some(cache) = cache.upgrade() {
        let now = Instant::now();
        let wait = match cache.reap(now) {
            Some(due) => due.saturating_duration_since(now).min(TICK),
            None => {
                // What is put in before this lock is seen below; whoever puts something in after it starts another thread.
                let mut running = lock(&cache.reaper().0);
                if cache.reap(Instant::now()).is_none() {
                    *running = None;
                    return;
                }
                continue;
            }
        };
        drop(cache);
        thread::park_timeout(wait);
    }
}
