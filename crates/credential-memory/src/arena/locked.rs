//! One value in a page of its own.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use nebula_credential_core::CredentialError;
use zeroize::ZeroizeOnDrop;

use super::region::Region;
use crate::key::Protection;
use crate::stack::scrub_stack;

/// The least length of a page.
const PAGE: usize = 4096;

/// A value that holds key material, such as a cipher with its key schedule, in a locked page of its own.
///
/// Wiped by its own drop. At most 4 KiB: a larger one does not compile.
pub struct Locked<T: ZeroizeOnDrop> {
    value: NonNull<T>,
    region: Region,
}

// SAFETY: a `Locked` owns its value like a `Box<T>`; nothing else points into its page, which is not tied to a thread.
unsafe impl<T: ZeroizeOnDrop + Send> Send for Locked<T> {}
// SAFETY: as above; shared access gives only `&T`.
unsafe impl<T: ZeroizeOnDrop + Sync> Sync for Locked<T> {}

impl<T: ZeroizeOnDrop> Locked<T> {
    /// Moves what `make` makes into a page; what that leaves on the stack is scrubbed.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`] when no memory can be mapped; `make` is not called then.
    pub fn new(make: impl FnOnce() -> T) -> Result<Self, CredentialError> {
        const {
            assert!(
                size_of::<T>() <= PAGE && align_of::<T>() <= PAGE,
                "does not fit a page"
            );
        };
        let region = Region::map()?;
        let value = region.start().cast();
        fill(value, make);
        scrub_stack();
        Ok(Self { value, region })
    }

    /// What the operating system granted for the page.
    pub fn protection(&self) -> Protection {
        self.region.protection()
    }
}

/// A frame of its own, below the one that scrubs.
#[inline(never)]
fn fill<T: ZeroizeOnDrop>(place: NonNull<T>, make: impl FnOnce() -> T) {
    // SAFETY: `place` begins a mapped, writable page that is the caller's alone; a `T` fits it, by length and alignment.
    unsafe { place.write(make()) };
}

impl<T: ZeroizeOnDrop> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `value` was written in `new`, lives until the drop of `self`, and is never borrowed exclusively.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ZeroizeOnDrop> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: written in `new` and dropped only here; the page is released after this, with the field.
        unsafe { self.value.drop_in_place() };
    }
}

impl<T: ZeroizeOnDrop> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Key([u8; 64], Arc<AtomicBool>);

    impl Drop for Key {
        fn drop(&mut self) {
            self.1.store(true, Ordering::SeqCst);
        }
    }

    impl ZeroizeOnDrop for Key {}

    #[test]
    fn a_value_lies_at_the_start_of_a_page_and_is_dropped_once() {
        let dropped = Arc::new(AtomicBool::new(false));
        let locked = Locked::new(|| Key([7; 64], Arc::clone(&dropped))).unwrap();
        assert_eq!(locked.0, [7; 64]);
        assert_eq!((&raw const *locked).addr() % PAGE, 0);
        assert_eq!(format!("{locked:?}"), "Locked([REDACTED])");
        let locked = std::thread::spawn(move || locked).join().unwrap();
        assert!(!dropped.load(Ordering::SeqCst));
        drop(locked);
        assert!(dropped.load(Ordering::SeqCst));
        assert_eq!(Arc::strong_count(&dropped), 1);
    }
}
