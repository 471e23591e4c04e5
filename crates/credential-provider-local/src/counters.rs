//! What tells caches in every process that a value changed.
//!
//! A word for every counter, odd while a change is under way; the first word says that one is. Only the holder of the
//! writer's lock changes them. It makes a counter odd before it commits and even again afterwards, so whoever reads
//! an even number, then the store, and later the same number, has what is current. A writer that died in between
//! left its counters odd. The next change settles them, or else whoever [notices](crate::doubt).

use std::sync::atomic::{AtomicU64, Ordering};

use nebula_credential_core::{CredentialError, CredentialRef};
use nebula_credential_fs::PrivateDir;
use nebula_credential_memory::SharedCounters;

/// The file they lie in.
pub(crate) const FILE: &str = "changes";

/// The word that is not 0 while a change is under way.
const UNDER_WAY: usize = 0;

pub(crate) struct Counters(SharedCounters);

impl Counters {
    pub(crate) fn open(dir: &PrivateDir) -> Result<Self, CredentialError> {
        SharedCounters::map(dir.open_shared(FILE, SharedCounters::BYTES)?).map(Self)
    }

    /// The counter of a credential, the same in every process and version: FNV-1a of its length-prefixed address.
    pub(crate) fn of(id: &CredentialRef) -> usize {
        let parts = [id.tenant().as_str(), id.scope().as_str(), id.name().as_str()];
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for part in parts {
            let length = u8::try_from(part.len()).unwrap_or(u8::MAX);
            for byte in std::iter::once(length).chain(part.bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        let counters = SharedCounters::COUNT as u64 - 1;
        // In range: at least 1 and less than COUNT.
        1 + usize::try_from(hash % counters).unwrap_or(0)
    }

    pub(crate) fn read(&self, counter: usize) -> Option<u64> {
        let value = self.0.get(counter)?.load(Ordering::Acquire);
        (value % 2 == 0).then_some(value)
    }

    /// Says that changes are under way, until [`UnderWay::settle`]. The caller holds the writer's lock.
    pub(crate) fn begin(&self, mut counters: Vec<usize>) -> UnderWay<'_> {
        if self.word(UNDER_WAY).swap(1, Ordering::SeqCst) != 0 {
            // Once these changes are made, those of the dead writer are made or gone.
            counters.extend(self.left());
        }
        for counter in &counters {
            self.word(*counter).fetch_or(1, Ordering::SeqCst);
        }
        UnderWay { all: self, counters }
    }

    /// What a dead writer left under way, if it left anything. The caller holds the writer's lock, and settles it once
    /// the outcome of those changes is beyond doubt.
    pub(crate) fn resume(&self) -> Option<UnderWay<'_>> {
        let counters: Vec<_> = self.left().collect();
        // The loss of power may leave one without the other.
        if counters.is_empty() && self.word(UNDER_WAY).load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.word(UNDER_WAY).store(1, Ordering::SeqCst);
        Some(UnderWay { all: self, counters })
    }

    /// The counters that are odd.
    fn left(&self) -> impl Iterator<Item = usize> {
        let all = 0..SharedCounters::COUNT;
        all.filter(|counter| *counter != UNDER_WAY && self.read(*counter).is_none())
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        /// Stands for a counter out of range, of which there is none.
        static NONE: AtomicU64 = AtomicU64::new(0);
        self.0.get(number).unwrap_or(&NONE)
    }
}

/// Changes that are being made. Dropped unsettled, where their outcome is unknown, nothing is served from copies until
/// the next commit settles them.
#[must_use = "caches stand still until it is settled"]
pub(crate) struct UnderWay<'a> {
    all: &'a Counters,
    counters: Vec<usize>,
}

impl UnderWay<'_> {
    pub(crate) fn settle(self) {
        for counter in self.counters {
            let word = self.all.word(counter);
            // One that stands twice in the list is settled already.
            if word.load(Ordering::SeqCst) % 2 == 1 {
                settle(word);
            }
        }
        self.all.word(UNDER_WAY).store(0, Ordering::SeqCst);
    }
}

/// From an odd number to the next even one.
fn settle(word: &AtomicU64) {
    word.fetch_add(1, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use nebula_credential_core::{CredentialName, Scope, TenantId};

    use super::*;

    fn id(name: &str) -> CredentialRef {
        CredentialRef::new(
            TenantId::default(),
            Scope::default(),
            CredentialName::new(name).unwrap(),
        )
    }

    fn open(dir: &tempfile::TempDir) -> Counters {
        Counters::open(&PrivateDir::create(dir.path().join("store")).unwrap()).unwrap()
    }

    #[test]
    fn a_change_moves_its_counter_in_every_mapping_and_hides_it_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (open(&dir), open(&dir));
        let counter = Counters::of(&id("a"));
        let before = theirs.read(counter).unwrap();
        let change = ours.begin(vec![counter, counter]);
        assert_eq!(theirs.read(counter), None);
        change.settle();
        assert!(theirs.read(counter).unwrap() > before);
    }

    #[test]
    fn what_a_dead_writer_left_is_settled_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (dead, next) = (open(&dir), open(&dir));
        let (left, other) = (Counters::of(&id("a")), Counters::of(&id("b")));
        assert_ne!(left, other);
        let before = next.read(left).unwrap();
        drop(dead.begin(vec![left]));
        assert_eq!(next.read(left), None);
        next.begin(vec![other]).settle();
        assert!(next.read(left).unwrap() > before);
        // On the same counter as well.
        drop(dead.begin(vec![left]));
        next.begin(vec![left]).settle();
        assert!(next.read(left).is_some());
    }

    #[test]
    fn what_a_dead_writer_left_is_resumed_whole_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let counters = open(&dir);
        assert!(counters.resume().is_none());
        drop(counters.begin(vec![1, 2]));
        // Not settled by whoever failed too.
        drop(counters.resume().unwrap());
        counters.resume().unwrap().settle();
        assert_eq!((counters.read(1), counters.read(2)), (Some(2), Some(2)));
        assert!(counters.resume().is_none());
        // As after the loss of power: the counter reached the disk, the first word did not.
        counters.word(1).store(3, Ordering::SeqCst);
        counters.resume().unwrap().settle();
        assert_eq!(counters.read(1), Some(4));
        // Or the other way round.
        counters.word(UNDER_WAY).store(1, Ordering::SeqCst);
        counters.resume().unwrap().settle();
        assert!(counters.resume().is_none());
    }

    #[test]
    fn counters_are_in_range_and_do_not_change_between_versions() {
        let counters = (0..10_000).map(|i| Counters::of(&id(&format!("name-{i}"))));
        let used: std::collections::BTreeSet<_> = counters.collect();
        assert_eq!(used.len(), SharedCounters::COUNT - 1);
        assert!(!used.contains(&UNDER_WAY));
        assert_eq!(Counters::of(&id("github_token")), GITHUB_TOKEN);
    }

    /// From an implementation of FNV-1a in another language.
    const GITHUB_TOKEN: usize = 456;
}
