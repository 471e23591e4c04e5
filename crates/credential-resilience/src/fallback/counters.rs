//! The change counters of several stores as those of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nebula_credential_core::{ChangeCounters, CredentialRef};

/// The counters of each store. One of the chain is made up of one of each store: its number has theirs side by side in equal
/// shares of its bits.
///
/// A store that was never asked stands still: it may not be open, and nothing that was read depends on it. When it is asked
/// first, the chain moves.
pub(super) struct ChainCounters {
    stores: Vec<Store>,
    /// Bits of a number for each store.
    share: u32,
}

/// The counters of a store, and whether it was asked.
type Store = (Arc<dyn ChangeCounters>, Arc<AtomicBool>);

/// 2⁶⁴ divided by the golden ratio. Multiples of it by two different small numbers lie as far apart as any can, so two
/// stores' changes cancel out only if one of them makes billions.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// For a credential with a counter whose number does not fit into its share: nothing is known of it.
const NONE: usize = usize::MAX;

impl ChainCounters {
    /// `None` unless every store has counters: a change of the one that has none would not be seen.
    pub(super) fn of(stores: impl Iterator<Item = Option<Store>>) -> Option<Arc<dyn ChangeCounters>> {
        let stores: Vec<_> = stores.collect::<Option<_>>()?;
        let count = u32::try_from(stores.len()).ok()?;
        let share = usize::BITS.checked_div(count).filter(|share| *share > 0)?;
        match <[_; 1]>::try_from(stores) {
            Ok([(only, _)]) => Some(only),
            Err(stores) => Some(Arc::new(Self { stores, share })),
        }
    }
}

impl ChangeCounters for ChainCounters {
    fn counter_of(&self, id: &CredentialRef) -> usize {
        let mut all = 0_usize;
        for (store, _) in &self.stores {
            let one = store.counter_of(id);
            if one.checked_shr(self.share).is_some_and(|rest| rest > 0) {
                return NONE;
            }
            all = all.checked_shl(self.share).unwrap_or(0) | one;
        }
        all
    }

    fn read(&self, counter: usize) -> Option<u64> {
        if counter == NONE {
            return None;
        }
        let mut rest = counter;
        let mut all = 0_u64;
        // The last store has the lowest bits.
        for (store, asked) in self.stores.iter().rev() {
            let one = rest & (usize::MAX >> (usize::BITS - self.share));
            rest = rest.checked_shr(self.share).unwrap_or(0);
            let at = match asked.load(Ordering::SeqCst) {
                true => store.read(one)?.wrapping_add(1),
                false => 0,
            };
            all = all.wrapping_mul(SPREAD).wrapping_add(at);
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use nebula_credential_core::{CredentialName, Scope, TenantId};

    use super::*;

    /// Some counters, all alike but for the one in use; an odd one is busy.
    struct Counters {
        number: usize,
        at: AtomicU64,
    }

    impl Counters {
        fn new(number: usize) -> Arc<Self> {
            let at = AtomicU64::new(0);
            Arc::new(Self { number, at })
        }

        fn set(&self, at: u64) {
            self.at.store(at, Ordering::SeqCst);
        }
    }

    impl ChangeCounters for Counters {
        fn counter_of(&self, _: &CredentialRef) -> usize {
            self.number
        }

        fn read(&self, counter: usize) -> Option<u64> {
            assert_eq!(counter, self.number, "a store is asked for a counter of its own");
            Some(self.at.load(Ordering::SeqCst)).filter(|at| at % 2 == 0)
        }
    }

    fn id() -> CredentialRef {
        let name = CredentialName::new("db").unwrap();
        CredentialRef::new(TenantId::default(), Scope::default(), name)
    }

    fn chain(stores: &[Arc<Counters>]) -> Option<Arc<dyn ChangeCounters>> {
        ChainCounters::of(
            stores
                .iter()
                .map(|store| Some((Arc::clone(store) as _, asked(true)))),
        )
    }

    fn asked(asked: bool) -> Arc<AtomicBool> {
        Arc::new(AtomicBool::new(asked))
    }

    #[test]
    fn a_change_in_any_store_moves_the_chain() {
        let stores = [Counters::new(7), Counters::new(0), Counters::new(4095)];
        let chain = chain(&stores).unwrap();
        let counter = chain.counter_of(&id());
        let mut seen = std::collections::BTreeSet::new();
        for a in [0, 2, 4] {
            for b in [0, 2, 4] {
                for c in [0, 2, 4] {
                    for (store, at) in stores.iter().zip([a, b, c]) {
                        store.set(at);
                    }
                    assert!(seen.insert(chain.read(counter).unwrap()), "{a} {b} {c}");
                }
            }
        }
        for busy in &stores {
            busy.set(1);
            assert_eq!(chain.read(counter), None, "one of them is changing");
            busy.set(4);
        }
    }

    #[test]
    fn a_store_without_counters_leaves_the_chain_without() {
        let with = || Some((Counters::new(1) as Arc<dyn ChangeCounters>, asked(true)));
        assert!(ChainCounters::of([with(), None].into_iter()).is_none());
        assert!(ChainCounters::of([None, with()].into_iter()).is_none());
        assert!(ChainCounters::of([with()].into_iter()).is_some());
    }

    #[test]
    fn a_store_that_was_never_asked_stands_still_until_it_is() {
        let (first, second) = (Counters::new(1), Counters::new(2));
        let later = asked(false);
        let stores = [
            Some((Arc::clone(&first) as Arc<dyn ChangeCounters>, asked(true))),
            Some((Arc::clone(&second) as Arc<dyn ChangeCounters>, Arc::clone(&later))),
        ];
        let chain = ChainCounters::of(stores.into_iter()).unwrap();
        let counter = chain.counter_of(&id());
        let before = chain.read(counter).unwrap();
        // As one that is not open.
        second.set(1);
        assert_eq!(chain.read(counter), Some(before));
        later.store(true, Ordering::SeqCst);
        assert_eq!(chain.read(counter), None);
        second.set(0);
        assert_ne!(chain.read(counter), Some(before));
    }

    #[test]
    fn a_counter_that_does_not_fit_is_not_trusted() {
        let chain = chain(&[Counters::new(1), Counters::new(usize::MAX >> 3)]).unwrap();
        assert_eq!(chain.read(chain.counter_of(&id())), None);
    }
}
