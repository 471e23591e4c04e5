#![doc = include_str!("../README.md")]

#[allow(unsafe_code)]
mod arena;
mod key;
mod process;
#[cfg(unix)]
#[allow(unsafe_code)]
mod shared;
mod stack;

pub use arena::Locked;
pub use key::{KEY_LEN, LockedKey, Protection};
pub use process::harden_process;
#[cfg(unix)]
pub use shared::SharedCounters;
pub use stack::{scrub_stack, scrub_stack_to};
