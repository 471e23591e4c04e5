use std::hint::black_box;

/// Bytes of dead stack that [`scrub_stack`] overwrites.
///
/// Measured on AES-256-GCM by `tests/scrub.rs`, which prints how deep the copies lie: 9 KiB when
/// optimised, 16 KiB when not; each with room to spare.
const DEPTH: usize = if cfg!(debug_assertions) {
    32 * 1024
} else {
    16 * 1024
};

/// Overwrites the dead stack just below the caller's frame.
///
/// A cipher wipes what it owns, but the compiler moves and spills key schedules through frames that
/// nobody owns; they stay readable after the call returns. Call this from the function that called
/// the cipher, after the cipher is dropped: once for an operation, not once for a primitive. It
/// reaches 16 KiB below that function's frame (32 KiB without optimisation); CPU registers, deeper
/// frames and stacks of other threads are out of its reach. It needs that much stack itself.
#[inline(always)]
pub fn scrub_stack() {
    overwrite::<DEPTH>();
}

/// [`scrub_stack`] that reaches `REACH` bytes below the caller's frame (32 KiB without optimisation).
///
/// For an operation whose reach is known and tested. Of what a scrub costs, most is what it pushes
/// out of the processor's cache.
#[inline(always)]
pub fn scrub_stack_to<const REACH: usize>() {
    if cfg!(debug_assertions) {
        overwrite::<DEPTH>();
    } else {
        overwrite::<REACH>();
    }
}

#[inline(never)]
fn overwrite<const LENGTH: usize>() {
    // `black_box` on the reference makes the zeros observable, so they are really stored.
    let mut dead = [0_u8; LENGTH];
    black_box(&mut dead);
}
