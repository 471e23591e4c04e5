//! One read for all who ask for the same thing at the same time.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

/// The reads under way. `M` tells whether a read under way will do for someone who comes later; `T` is what one comes to, for
/// everyone who waits for it.
pub(crate) struct Flights<K, M, T> {
    under_way: Mutex<HashMap<K, Flight<M, T>>>,
}

struct Flight<M, T> {
    mark: M,
    outcome: Arc<OnceCell<T>>,
    members: usize,
}

impl<K, M, T> Default for Flights<K, M, T> {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
        }
    }
}

impl<K: Hash + Eq + Clone, M: PartialEq, T: Clone> Flights<K, M, T> {
    /// Joins the read of `key` under way, if its mark is the same, or begins one that later ones join instead.
    pub(crate) fn join(&self, key: &K, mark: M) -> Ticket<'_, K, M, T> {
        let mut under_way = self.lock();
        let flight = match under_way.get_mut(key) {
            Some(flight) if flight.mark == mark => flight,
            _ => under_way
                .entry(key.clone())
                .insert_entry(Flight {
                    mark,
                    outcome: Arc::default(),
                    members: 0,
                })
                .into_mut(),
        };
        flight.members += 1;
        Ticket {
            outcome: Arc::clone(&flight.outcome),
            flights: self,
            key: key.clone(),
        }
    }

    /// Lets nobody else join the read of `key`, and its answer not be kept.
    pub(crate) fn abandon<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.lock().remove(key);
    }

    /// Likewise for every read.
    pub(crate) fn abandon_all(&self) {
        self.lock().clear();
    }

    // No code that could panic half-way runs under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Flight<M, T>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a read under way. Whoever leaves takes nothing away from the others.
pub(crate) struct Ticket<'a, K: Hash + Eq, M, T> {
    outcome: Arc<OnceCell<T>>,
    flights: &'a Flights<K, M, T>,
    key: K,
}

impl<K: Hash + Eq, M, T: Clone> Ticket<'_, K, M, T> {
    /// Waits for the answer. Whoever is first polls its `read`; if that one is dropped, or has an answer for itself alone, the
    /// next in line does. `None` if this caller's own `read` had nothing to share.
    pub(crate) async fn wait<E>(&self, read: impl Future<Output = Result<T, E>>) -> Option<T> {
        self.outcome.get_or_try_init(|| read).await.ok().cloned()
    }

    /// Ends the read: nobody joins it any more. Before that, and unless it was abandoned, runs `keep`: whoever does not
    /// find this read under way finds what was kept. `None` if it was.
    pub(crate) fn land<R>(&self, keep: impl FnOnce() -> R) -> Option<R> {
        let mut under_way = self
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.is_in(&under_way).then(|| {
            let kept = keep();
            under_way.remove(&self.key);
            kept
        })
    }

    fn is_in(&self, under_way: &HashMap<K, Flight<M, T>>) -> bool {
        under_way
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(&flight.outcome, &self.outcome))
    }
}

impl<K: Hash + Eq, M, T> Drop for Ticket<'_, K, M, T> {
    fn drop(&mut self) {
        let mut under_way = self
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get_mut(&self.key)
            && Arc::ptr_eq(&flight.outcome, &self.outcome)
        {
            flight.members -= 1;
            if flight.members == 0 {
                under_way.remove(&self.key);
            }
        }
    }
}
