//! `fsync`, with a seam for tests: a device that fails to sync cannot be had everywhere.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Never retried: after a failure the kernel may drop the dirty pages and report success.
pub(crate) fn fsync(fd: impl AsFd) -> Result<(), Errno> {
    #[cfg(test)]
    fault::next()?;
    rustix::fs::fsync(fd)
}

#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;

    use rustix::io::Errno;

    thread_local! { static COUNTDOWN: Cell<u32> = const { Cell::new(0) }; }

    /// The `nth` sync of this thread from now on fails, counted from one.
    pub(crate) fn fail(nth: u32) {
        COUNTDOWN.set(nth);
    }

    pub(super) fn next() -> Result<(), Errno> {
        let left = COUNTDOWN.get();
        COUNTDOWN.set(left.saturating_sub(1));
        if left == 1 { Err(Errno::IO) } else { Ok(()) }
    }
}
