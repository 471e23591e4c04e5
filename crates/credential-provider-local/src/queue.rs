//! A bounded queue from many futures to one thread: a full queue makes futures wait, never threads.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Tasks that wait in memory. Each may hold a payload of 1 MiB.
const CAPACITY: usize = 64;

/// How long the thread looks for another task before it sleeps. Those who write in a row ask again within the time it
/// takes to wake them, some 20 µs where idle cores halt; a sleep would cost them as much once more. It gives way to
/// whoever else wants the core.
const LINGER: Duration = Duration::from_micros(50);

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    tasks: VecDeque<T>,
    /// Futures that wait for a place, the oldest first.
    waiting: VecDeque<(u64, Waker)>,
    /// Places that belong to futures that were woken and have not come yet.
    granted: usize,
    next_ticket: u64,
    closed: bool,
}

/// The queue is closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                tasks: VecDeque::new(),
                waiting: VecDeque::new(),
                granted: 0,
                next_ticket: 0,
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task, after those that wait already.
    pub(crate) fn push(&self, task: T) -> Push<'_, T> {
        Push {
            queue: self,
            task: Some(task),
            ticket: None,
        }
    }

    /// The next task; blocks the thread until there is one. `None` when the queue is closed and empty.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        let since = Instant::now();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                let waker = state.grant();
                drop(state);
                wake(waker);
                return Some(task);
            }
            if state.closed {
                return None;
            }
            if since.elapsed() < LINGER {
                drop(state);
                std::thread::yield_now();
                state = self.lock();
            } else {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// The next task, if there is one now and it is `wanted`.
    pub(crate) fn pop_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut state = self.lock();
        if !state.tasks.front().is_some_and(wanted) {
            return None;
        }
        let task = state.tasks.pop_front();
        let waker = state.grant();
        drop(state);
        wake(waker);
        task
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().tasks.is_empty()
    }

    /// Takes no more tasks. Those that are in are still handed out.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.filled.notify_all();
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Closes the queue and drops the tasks in it.
    pub(crate) fn abandon(&self) {
        self.close();
        let tasks = std::mem::take(&mut self.lock().tasks);
        drop(tasks);
    }
}

impl<T> State<T> {
    fn has_place(&self) -> bool {
        self.tasks.len() + self.granted < CAPACITY
    }

    /// Gives a free place to the one that waits longest.
    fn grant(&mut self) -> Option<Waker> {
        if !self.has_place() {
            return None;
        }
        let (_, waker) = self.waiting.pop_front()?;
        self.granted += 1;
        Some(waker)
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        self.waiting.iter().position(|(other, _)| *other == ticket)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Waits for a place and takes it.
pub(crate) struct Push<'a, T> {
    queue: &'a Queue<T>,
    task: Option<T>,
    /// Set from the first wait until the place is taken.
    ticket: Option<u64>,
}

impl<T> Unpin for Push<'_, T> {}

impl<T> Future for Push<'_, T> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.queue.lock();
        if state.closed {
            this.ticket = None;
            return Poll::Ready(Err(Closed));
        }
        match this.ticket {
            None if state.waiting.is_empty() && state.has_place() => {}
            None => {
                let ticket = state.next_ticket;
                state.next_ticket = ticket.wrapping_add(1);
                state.waiting.push_back((ticket, cx.waker().clone()));
                this.ticket = Some(ticket);
                return Poll::Pending;
            }
            Some(ticket) => {
                if let Some((_, waker)) = state.waiting.iter_mut().find(|(other, _)| *other == ticket) {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                state.granted = state.granted.saturating_sub(1);
                this.ticket = None;
            }
        }
        if let Some(task) = this.task.take() {
            state.tasks.push_back(task);
        }
        drop(state);
        this.queue.filled.notify_one();
        Poll::Ready(Ok(()))
    }
}

/// A future that gives up hands its place on.
impl<T> Drop for Push<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.queue.lock();
        if let Some(at) = state.position(ticket) {
            state.waiting.remove(at);
            return;
        }
        if state.closed {
            return;
        }
        state.granted = state.granted.saturating_sub(1);
        let waker = state.grant();
        drop(state);
        wake(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<T>(push: &mut Push<'_, T>, count: &Arc<Count>) -> Poll<Result<(), Closed>> {
        let waker = Waker::from(Arc::clone(count));
        Pin::new(push).poll(&mut Context::from_waker(&waker))
    }

    fn full() -> Queue<usize> {
        let queue = Queue::new();
        let count = Arc::default();
        for n in 0..CAPACITY {
            assert_eq!(poll(&mut queue.push(n), &count), Poll::Ready(Ok(())));
        }
        queue
    }

    #[test]
    fn a_full_queue_serves_those_who_wait_in_order_and_never_newcomers_first() {
        let queue = full();
        let (first, second, late) = (Arc::default(), Arc::default(), Arc::default());
        let (mut a, mut b) = (queue.push(100), queue.push(101));
        assert!(poll(&mut a, &first).is_pending());
        assert!(poll(&mut b, &second).is_pending());
        assert_eq!(queue.pop(), Some(0));
        assert_eq!(
            (first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)),
            (1, 0)
        );
        assert!(poll(&mut queue.push(102), &late).is_pending());
        assert!(poll(&mut b, &second).is_pending());
        assert_eq!(poll(&mut a, &first), Poll::Ready(Ok(())));
        assert_eq!(queue.pop(), Some(1));
        assert_eq!(poll(&mut b, &second), Poll::Ready(Ok(())));
        let rest: Vec<_> = (2..=CAPACITY + 1).map_while(|_| queue.pop()).collect();
        assert_eq!(rest[rest.len() - 2..], [100, 101]);
    }

    #[test]
    fn only_a_wanted_task_is_taken_and_its_place_goes_to_who_waits() {
        let queue = full();
        let count = Arc::default();
        let mut waiting = queue.push(100);
        assert!(poll(&mut waiting, &count).is_pending());
        assert_eq!(queue.pop_if(|task| *task > 0), None);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert_eq!(queue.pop_if(|task| *task == 0), Some(0));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut waiting, &count), Poll::Ready(Ok(())));
        assert_eq!(Queue::<u8>::new().pop_if(|_| true), None);
    }

    #[test]
    fn a_woken_future_that_is_dropped_hands_its_place_on() {
        let queue = full();
        let (first, second) = (Arc::default(), Arc::default());
        let (mut a, mut b) = (queue.push(100), queue.push(101));
        assert!(poll(&mut a, &first).is_pending());
        assert!(poll(&mut b, &second).is_pending());
        assert_eq!(queue.pop(), Some(0));
        drop(a);
        assert_eq!(second.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut b, &second), Poll::Ready(Ok(())));
    }

    #[test]
    fn closing_wakes_everyone_and_still_hands_out_what_is_in() {
        let queue = full();
        let count = Arc::default();
        let mut waiting = queue.push(100);
        assert!(poll(&mut waiting, &count).is_pending());
        queue.close();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut waiting, &count), Poll::Ready(Err(Closed)));
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), CAPACITY);
        assert_eq!(queue.pop(), None);
    }
}
