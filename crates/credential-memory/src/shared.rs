//! Counters in a page of a file that several processes map.

use std::fmt;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use nebula_credential_core::CredentialError;
use rustix::fs::fstat;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

type Page = [AtomicU64; SharedCounters::COUNT];

/// Counters shared by every process that maps the same file. Nothing secret belongs here.
///
/// Whoever may write the file can set them to anything, and a process that reads one after the file was truncated ends
/// with a signal: the file must be the user's own, and never shortened.
pub struct SharedCounters {
    page: NonNull<Page>,
}

// SAFETY: the page stays mapped for the life of the value and is reached through shared references to atomics only.
unsafe impl Send for SharedCounters {}
// SAFETY: as above.
unsafe impl Sync for SharedCounters {}

impl SharedCounters {
    /// How many there are: those that fill 4 KiB, the least length of a page.
    pub const COUNT: usize = 512;
    /// Bytes of the file that are mapped, from its beginning.
    pub const BYTES: usize = size_of::<Page>();

    /// Maps the beginning of `file`, which must be open for reading and writing.
    ///
    /// # Errors
    /// [`CredentialError::Storage`] where the file is too short, or the system refuses.
    pub fn map(file: impl AsFd) -> Result<Self, CredentialError> {
        let refused =
            || CredentialError::storage("the system maps no shared memory; use a file on a local disk");
        let len = fstat(&file).map_err(|_| refused())?.st_size;
        if usize::try_from(len).is_ok_and(|len| len < Self::BYTES) {
            return Err(CredentialError::storage(
                "the file of the shared counters is too short; remove it while no process uses the store",
            ));
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a shared mapping at an address of the kernel's choice replaces nothing.
        let page = unsafe { mmap(ptr::null_mut(), Self::BYTES, access, MapFlags::SHARED, &file, 0) }
            .map_err(|_| refused())?;
        let page = NonNull::new(page.cast()).ok_or_else(refused)?;
        Ok(Self { page })
    }

    /// The counter with this number, below [`COUNT`](Self::COUNT).
    pub fn get(&self, number: usize) -> Option<&AtomicU64> {
        // SAFETY: `page` points at `BYTES` mapped bytes, aligned to a page, for as long as `self` lives; every bit pattern
        // is an `AtomicU64`, and all processes change them as atomics.
        unsafe { self.page.as_ref() }.get(number)
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        // SAFETY: the mapping `map` made; no reference outlives `self`.
        let _ = unsafe { munmap(self.page.as_ptr().cast(), Self::BYTES) };
    }
}

impl fmt::Debug for SharedCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCounters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::Ordering;

    use super::*;

    fn file(len: usize) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len.try_into().unwrap()).unwrap();
        file
    }

    #[test]
    fn two_mappings_of_one_file_are_the_same_counters() {
        let file = file(SharedCounters::BYTES);
        let (one, other) = (
            SharedCounters::map(&file).unwrap(),
            SharedCounters::map(&file).unwrap(),
        );
        drop(file);
        let last = SharedCounters::COUNT - 1;
        one.get(last).unwrap().store(7, Ordering::SeqCst);
        assert_eq!(other.get(last).unwrap().load(Ordering::SeqCst), 7);
        assert_eq!(other.get(0).unwrap().load(Ordering::SeqCst), 0);
        assert!(one.get(last + 1).is_none());
        drop(one);
        assert_eq!(other.get(last).unwrap().load(Ordering::SeqCst), 7);
    }

    #[test]
    fn a_file_that_is_too_short_is_refused_rather_than_a_signal_later() {
        assert!(SharedCounters::map(file(SharedCounters::BYTES - 1)).is_err());
    }
}
