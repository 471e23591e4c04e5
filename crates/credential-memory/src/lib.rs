#![doc = include_str!("../README.md")]

#[allow(
    unsafe_code,
    reason = "pages are mapped and locked by system calls, and reached through pointers"
)]
mod arena;
mod key;
mod process;
#[cfg(unix)]
#[allow(
    unsafe_code,
    reason = "a page of a file is mapped by a system call, and reached through a pointer"
)]
mod shared;
mod stack;

pub use arena::Locked;
pub use key::{KEY_LEN, LockedKey, Protection};
pub use process::harden_process;
#[cfg(unix)]
pub use shared::SharedCounters;
pub use stack::{scrub_stack, scrub_stack_to};
