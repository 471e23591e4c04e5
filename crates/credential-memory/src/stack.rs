use std::hint::black_box;

/// Bytes of dead stack that [`scrub_stack`] overwrites.
const DEPTH: usize = 8 * 1024;

/// Overwrites the dead stack just below the caller's frame.
///
/// A cipher wipes what it owns, but the compiler moves and spills key schedules through frames that
/// nobody owns; they stay readable after the call returns. Call this from the function that called
/// the cipher, after the cipher is dropped. It reaches 8 KiB below that function's frame; CPU
/// registers and stacks of other threads are out of its reach.
#[inline(never)]
pub fn scrub_stack() {
    // `black_box` on the reference makes the zeros observable, so they are really stored.
    let mut dead = [0_u8; DEPTH];
    black_box(&mut dead);
}
