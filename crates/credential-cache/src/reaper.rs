//! Removes what is due on time: the map underneath drops lazily.
//!
//! A thread, not a task: a timer of a runtime stands still where the runtime is not driven, and cannot be made at all
//! where it has no timers. The thread lives while there is something to remove.

use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often, at the latest, it is looked whether copies are still current.
const TICK: Duration = Duration::from_secs(1);

/// For how long no thread is asked for after the system had none: every miss would ask.
const REST: Duration = Duration::from_secs(1);

/// Something with entries that come due.
pub(crate) trait Reap: Send + Sync + 'static {
    /// Its reaper.
    fn reaper(&self) -> &Reaper;

    /// Removes what is due at `now` or no longer current; says when the next one is due, `None` if nothing is left.
    fn reap(&self, now: Instant) -> Option<Instant>;
}

/// The thread of one cache.
#[derive(Default)]
pub(crate) struct Reaper(Mutex<Post>);

impl Reaper {
    /// Puts something into `cache` by `insert`, if it is reaped there. `false` if it is not, because the system has no thread
    /// to spare: then nothing was put in.
    pub(crate) fn watch<R: Reap>(cache: &Arc<R>, insert: impl FnOnce()) -> bool {
        let mut post = lock(&cache.reaper().0);
        let watched = post.fill(Instant::now(), || {
            let weak = Arc::downgrade(cache);
            let spawned = thread::Builder::new()
                .name("credential-cache".into())
                .spawn(move || run(&weak))?;
            Ok(spawned.thread().clone())
        });
        if watched {
            // Under the lock: the thread does not end before it has seen what is put in.
            insert();
        }
        watched
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(held) = lock(&self.0).held.take() {
            held.thread.unpark();
        }
    }
}

/// Where one thread stands, if any.
#[derive(Default)]
struct Post {
    held: Option<Held>,
    /// When the system had no thread to spare, if it had none the last time.
    refused: Option<Instant>,
}

struct Held {
    thread: Thread,
    /// The process it runs in: a forked child has no thread of its parent's.
    process: u32,
}

impl Post {
    /// Sees to it that a thread stands here at `now`, by `spawn` if none does.
    fn fill(&mut self, now: Instant, spawn: impl FnOnce() -> io::Result<Thread>) -> bool {
        let process = process::id();
        if self.held.as_ref().is_some_and(|held| held.process == process) {
            return true;
        }
        if self
            .refused
            .is_some_and(|at| now.saturating_duration_since(at) < REST)
        {
            return false;
        }
        self.held = spawn().ok().map(|thread| Held { thread, process });
        self.refused = self.held.is_none().then_some(now);
        self.held.is_some()
    }
}

fn lock(post: &Mutex<Post>) -> MutexGuard<'_, Post> {
    post.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the post of a thread that dies in a panic of somebody else's measurements: the next value gets another.
struct Leaves<'a, R: Reap>(&'a Weak<R>);

impl<R: Reap> Drop for Leaves<'_, R> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(cache) = self.0.upgrade()
        {
            lock(&cache.reaper().0).held = None;
        }
    }
}

fn run<R: Reap>(cache: &Weak<R>) {
    let _leaves = Leaves(cache);
    while let Some(cache) = cache.upgrade() {
        let now = Instant::now();
        let wait = match cache.reap(now) {
            Some(due) => due.saturating_duration_since(now).min(TICK),
            None => {
                // What is put in before this lock is seen below; whoever puts something in after it starts another thread.
                let mut post = lock(&cache.reaper().0);
                if cache.reap(Instant::now()).is_none() {
                    post.held = None;
                    return;
                }
                continue;
            }
        };
        drop(cache);
        thread::park_timeout(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_was_no_thread_none_is_asked_for_before_a_second_is_over() {
        let (mut post, start) = (Post::default(), Instant::now());
        let mut asked = Vec::new();
        let mut at = |ms, there_is_one| {
            post.fill(start + Duration::from_millis(ms), || {
                asked.push(ms);
                match there_is_one {
                    true => Ok(thread::current()),
                    false => Err(io::ErrorKind::WouldBlock.into()),
                }
            })
        };
        assert!(!at(0, false));
        assert!(!at(999, true));
        assert!(!at(1000, false));
        assert!(!at(1999, true));
        assert!(at(2000, true));
        assert!(at(2001, false), "it stands there");
        assert_eq!(asked, [0, 1000, 2000]);
    }

    #[test]
    fn the_thread_of_a_parent_does_not_stand_in_its_child() {
        let (mut post, now) = (Post::default(), Instant::now());
        assert!(post.fill(now, || Ok(thread::current())));
        // In a child all is as in the parent, but the process.
        post.held.as_mut().unwrap().process ^= 1;
        assert!(!post.fill(now, || Err(io::ErrorKind::WouldBlock.into())));
        assert!(post.held.is_none());
    }

    /// Entries of which none is ever due: the thread stays for as long as there is one.
    #[derive(Default)]
    struct Shelf {
        reaper: Reaper,
        entries: Mutex<u32>,
    }

    impl Reap for Shelf {
        fn reaper(&self) -> &Reaper {
            &self.reaper
        }

        fn reap(&self, now: Instant) -> Option<Instant> {
            (*self.entries.lock().unwrap() > 0).then_some(now + TICK)
        }
    }

    #[test]
    fn nothing_is_put_in_but_beside_a_thread() {
        let shelf = Arc::new(Shelf::default());
        let put_in = || {
            Reaper::watch(&shelf, || {
                let post = shelf.reaper.0.try_lock();
                assert!(post.is_err(), "the thread could end meanwhile");
                *shelf.entries.lock().unwrap() += 1;
            })
        };
        assert!(put_in() && put_in());
        assert!(lock(&shelf.reaper.0).held.is_some());

        lock(&shelf.reaper.0).held = None;
        lock(&shelf.reaper.0).refused = Some(Instant::now());
        assert!(!put_in());
        assert_eq!(*shelf.entries.lock().unwrap(), 2);
    }

    /// Its measurements panic, once.
    #[derive(Default)]
    struct Fragile(Shelf);

    impl Reap for Fragile {
        fn reaper(&self) -> &Reaper {
            &self.0.reaper
        }

        fn reap(&self, now: Instant) -> Option<Instant> {
            assert_ne!(std::mem::take(&mut *self.0.entries.lock().unwrap()), 1);
            Some(now + TICK)
        }
    }

    #[test]
    fn a_thread_that_dies_is_replaced() {
        let fragile = Arc::new(Fragile::default());
        assert!(Reaper::watch(&fragile, || *fragile.0.entries.lock().unwrap() = 1));
        let start = Instant::now();
        while lock(&fragile.0.reaper.0).held.is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "its place is not free");
            thread::yield_now();
        }
        fragile.0.entries.clear_poison();
        assert!(Reaper::watch(&fragile, || ()));
        assert!(lock(&fragile.0.reaper.0).held.is_some());
    }
}
