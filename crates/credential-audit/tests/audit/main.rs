//! The log against those who change it, against crashes, and against disks that fail.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and prints its figures"
)]

mod crash;
mod failing;
mod layer;
mod records;
mod support;
mod tamper;
