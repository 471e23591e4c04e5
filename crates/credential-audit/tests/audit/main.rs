//! The log against those who change it, against crashes, and against disks that fail.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and prints its figures"
)]

mod checkpoints;
mod crash;
mod failing;
mod layer;
mod records;
mod retention;
mod support;
mod tamper;
