//! One page of key memory and what the operating system grants for it.

use std::ptr::NonNull;

use nebula_credential_core::CredentialError;

use crate::key::{KEY_LEN, Protection};

fn out_of_memory() -> CredentialError {
    CredentialError::unavailable(
        "no memory page for keys; raise RLIMIT_AS or the container's memory limit, or hold fewer keys",
    )
}

/// A page of zeros; the memory is released on drop, and must be wiped before that.
pub(super) struct Region {
    page: NonNull<u8>,
    len: usize,
    protection: Protection,
}

impl Region {
    pub(super) fn address(&self) -> usize {
        self.page.addr().get()
    }

    pub(super) fn protection(&self) -> Protection {
        self.protection
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.page
    }

    /// The page cut into key-sized pieces that do not overlap.
    pub(super) fn chunks(&self) -> impl Iterator<Item = NonNull<[u8; KEY_LEN]>> {
        let page = self.page;
        (0..self.len / KEY_LEN).map(move |i| {
            // SAFETY: `i * KEY_LEN + KEY_LEN <= len`, so the offset stays inside the page.
            unsafe { page.byte_add(i * KEY_LEN) }.cast()
        })
    }
}

#[cfg(all(unix, not(miri)))]
mod os {
    use std::ffi::c_void;
    use std::ptr;

    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mlock, mmap_anonymous, mprotect, munmap};
    use rustix::param::page_size;

    use super::{CredentialError, NonNull, Protection, Region, out_of_memory};

    impl Region {
        /// Maps guard page, page, guard page; only the middle one can be touched.
        pub(in super::super) fn map() -> Result<Self, CredentialError> {
            let len = page_size();
            // SAFETY: an anonymous private mapping at an address of the kernel's choice replaces
            // nothing.
            let base =
                unsafe { mmap_anonymous(ptr::null_mut(), 3 * len, ProtFlags::empty(), MapFlags::PRIVATE) }
                    .map_err(|_| out_of_memory())?;
            let page = base.wrapping_byte_add(len);
            let opened = MprotectFlags::READ | MprotectFlags::WRITE;
            // SAFETY: `page..page + len` is the middle of the mapping just made, which nothing
            // refers to yet.
            let unprotected = unsafe { mprotect(page, len, opened) };
            match NonNull::new(page.cast::<u8>()).filter(|_| unprotected.is_ok()) {
                Some(page) => {
                    let protection = protect(page.as_ptr().cast(), len);
                    Ok(Self {
                        page,
                        len,
                        protection,
                    })
                }
                None => {
                    // SAFETY: the mapping just made; nothing refers to it.
                    let _ = unsafe { munmap(base, 3 * len) };
                    Err(out_of_memory())
                }
            }
        }
    }

    /// Both are best effort: a refusal is recorded, not an error.
    fn protect(page: *mut c_void, len: usize) -> Protection {
        // SAFETY: `page..page + len` is mapped and ours; locking does not change its content.
        let locked = unsafe { mlock(page, len) }.is_ok();
        #[cfg(target_os = "linux")]
        // SAFETY: as above; this advice changes no content.
        let dump_excluded =
            unsafe { rustix::mm::madvise(page, len, rustix::mm::Advice::LinuxDontDump) }.is_ok();
        #[cfg(not(target_os = "linux"))]
        let dump_excluded = false;
        Protection {
            locked,
            dump_excluded,
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            let base = self.page.as_ptr().wrapping_byte_sub(self.len);
            // SAFETY: exactly the mapping made by `map`; the arena holds no slot in it any more.
            // Unmapping also unlocks. A failure would leak three pages and cannot be handled here.
            let _ = unsafe { munmap(base.cast(), 3 * self.len) };
        }
    }
}

/// Without page locks: heap memory, so that keys are at least wiped. Also what Miri runs on, which
/// knows no `mlock`.
#[cfg(any(not(unix), miri))]
mod heap {
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use super::{CredentialError, NonNull, Protection, Region, out_of_memory};

    const LAYOUT: Layout = match Layout::from_size_align(4096, 4096) {
        Ok(layout) => layout,
        Err(_) => Layout::new::<[u8; 4096]>(),
    };

    impl Region {
        pub(in super::super) fn map() -> Result<Self, CredentialError> {
            // SAFETY: the layout's size is not zero.
            let page = NonNull::new(unsafe { alloc_zeroed(LAYOUT) }).ok_or_else(out_of_memory)?;
            let protection = Protection {
                locked: false,
                dump_excluded: false,
            };
            Ok(Self {
                page,
                len: LAYOUT.size(),
                protection,
            })
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            // SAFETY: allocated in `map` with this layout; the arena holds no slot in it any more.
            unsafe { dealloc(self.page.as_ptr(), LAYOUT) };
        }
    }
}
