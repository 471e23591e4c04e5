#![doc = include_str!("../README.md")]

#[allow(unsafe_code)]
mod arena;
mod key;
mod process;
mod stack;

pub use key::{KEY_LEN, LockedKey, Protection};
pub use process::harden_process;
pub use stack::scrub_stack;
