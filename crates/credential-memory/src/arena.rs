//! 32-byte slots in locked pages. The only unsafe code of the workspace is here, in `locked`, `region` and `shared`.
//!
//! Invariants:
//! * a slot is either in its slab's `free` list or owned by exactly one `Slot`, never both;
//! * a free slot holds zeros;
//! * a slab is unmapped only when all its slots are free, so no `Slot` outlives its page.
//!
//! `MADV_WIPEONFORK` is deliberately not used: a forked child would find its keys zeroed, and would
//! seal data under a key everybody knows instead of failing.

mod locked;
mod region;

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nebula_credential_core::CredentialError;
use zeroize::Zeroize;

pub use self::locked::Locked;
use self::region::Region;
use crate::key::{KEY_LEN, Protection};

static ARENA: Mutex<Arena> = Mutex::new(Arena::new());

/// No code runs under the lock that could leave it half changed, so poisoning carries no news.
fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Exclusive ownership of 32 bytes of a slab.
pub(crate) struct Slot {
    bytes: NonNull<[u8; KEY_LEN]>,
    /// Address of the slab, its key in the arena.
    slab: usize,
    protection: Protection,
}

// SAFETY: a slot owns its bytes like a `Box<[u8; 32]>`: nothing else points at them, they are not
// tied to a thread, and shared access gives only `&[u8; 32]`.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// A slot of zeros.
    pub(crate) fn take() -> Result<Self, CredentialError> {
        arena().take()
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_LEN] {
        // SAFETY: `bytes` points at 32 initialised bytes of a mapped slab, owned by `self` until its
        // drop, and `&self` rules out a `&mut` to them.
        unsafe { self.bytes.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; KEY_LEN] {
        // SAFETY: as in `bytes`; `&mut self` makes the reference exclusive.
        unsafe { self.bytes.as_mut() }
    }

    pub(crate) fn protection(&self) -> Protection {
        self.protection
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        arena().give_back(self.bytes, self.slab);
    }
}

struct Slab {
    region: Region,
    free: Vec<NonNull<[u8; KEY_LEN]>>,
    slots: usize,
}

struct Arena {
    /// By address of the region.
    slabs: BTreeMap<usize, Slab>,
    /// Slabs with a free slot.
    open: BTreeSet<usize>,
}

// SAFETY: the pointers in the free lists point into regions the arena owns, and are used only by
// whoever holds the arena's lock or the `Slot` made from one.
unsafe impl Send for Arena {}

impl Arena {
    const fn new() -> Self {
        Self {
            slabs: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    fn take(&mut self) -> Result<Slot, CredentialError> {
        // The lowest address first, so that the highest slabs empty and can be released.
        let address = match self.open.first() {
            Some(address) => *address,
            None => self.grow()?,
        };
        let missing = || CredentialError::internal("the key arena lost track of a free slot");
        let slab = self.slabs.get_mut(&address).ok_or_else(missing)?;
        let bytes = slab.free.pop().ok_or_else(missing)?;
        if slab.free.is_empty() {
            self.open.remove(&address);
        }
        Ok(Slot {
            bytes,
            slab: address,
            protection: slab.region.protection(),
        })
    }

    fn grow(&mut self) -> Result<usize, CredentialError> {
        let region = Region::map()?;
        let free: Vec<_> = region.chunks().collect();
        let address = region.address();
        let slots = free.len();
        self.slabs.insert(address, Slab { region, free, slots });
        self.open.insert(address);
        Ok(address)
    }

    /// `bytes` must be wiped, and come from the slab at `address`.
    fn give_back(&mut self, bytes: NonNull<[u8; KEY_LEN]>, address: usize) {
        let Some(slab) = self.slabs.get_mut(&address) else {
            return;
        };
        slab.free.push(bytes);
        let empty = slab.free.len() == slab.slots;
        self.open.insert(address);
        // One open slab is kept, or a key created and dropped in a loop would map a page each time.
        if empty && self.open.len() > 1 {
            self.open.remove(&address);
            self.slabs.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zero(slot: &Slot) -> bool {
        slot.bytes() == &[0; KEY_LEN]
    }

    #[test]
    fn slots_are_distinct_aligned_and_start_as_zeros() {
        let mut arena = Arena::new();
        let mut seen = BTreeSet::new();
        let mut slots: Vec<_> = (0..1000).map(|_| arena.take().unwrap()).collect();
        for (i, slot) in slots.iter_mut().enumerate() {
            assert!(zero(slot));
            assert_eq!(slot.bytes.addr().get() % KEY_LEN, 0);
            assert!(seen.insert(slot.bytes.addr()));
            slot.bytes_mut().fill(u8::try_from(i % 251).unwrap());
        }
        for (i, slot) in slots.iter().enumerate() {
            assert_eq!(slot.bytes(), &[u8::try_from(i % 251).unwrap(); KEY_LEN]);
        }
        release(&mut arena, slots);
    }

    #[test]
    fn a_freed_slot_is_reused_and_reads_as_zeros() {
        let mut arena = Arena::new();
        let mut slot = arena.take().unwrap();
        slot.bytes_mut().fill(0xA5);
        let address = slot.bytes;
        release(&mut arena, vec![slot]);
        let again = arena.take().unwrap();
        assert_eq!(again.bytes, address);
        assert!(zero(&again));
        release(&mut arena, vec![again]);
    }

    #[test]
    fn empty_slabs_are_released_but_one_stays() {
        let mut arena = Arena::new();
        let slots: Vec<_> = (0..1000).map(|_| arena.take().unwrap()).collect();
        assert!(arena.slabs.len() > 1);
        assert!(arena.open.len() <= 1);
        release(&mut arena, slots);
        assert_eq!(arena.slabs.len(), 1);
        assert_eq!(arena.open.len(), 1);
    }

    #[test]
    fn at_the_edge_of_a_slab_pages_are_not_mapped_again_and_again() {
        let mut arena = Arena::new();
        let first = arena.take().unwrap();
        let slots = arena.slabs.values().next().unwrap().slots;
        let mut held: Vec<_> = (1..slots).map(|_| arena.take().unwrap()).collect();
        held.push(first);
        let extra = arena.take().unwrap();
        let second = extra.slab;
        release(&mut arena, vec![extra]);
        let extra = arena.take().unwrap();
        assert_eq!(extra.slab, second);
        held.push(extra);
        release(&mut arena, held);
    }

    /// What `Slot::drop` does, for an arena of the test's own.
    fn release(arena: &mut Arena, slots: Vec<Slot>) {
        for slot in slots {
            let mut slot = std::mem::ManuallyDrop::new(slot);
            slot.bytes_mut().zeroize();
            arena.give_back(slot.bytes, slot.slab);
        }
    }
}
