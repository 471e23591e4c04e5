//! `ncred import`: what it reads, what it refuses, and what it leaves behind.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod bundle;
mod command;
mod files;
mod formats;
mod generate;
mod policy;
mod reference;
