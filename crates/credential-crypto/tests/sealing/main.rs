//! Envelopes, key rings, protectors, the sealing layer and key jobs, through the public interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    unreachable_pub,
    reason = "test code"
)]

mod bundle;
mod common;
mod craft;
mod envelope;
mod file;
mod golden;
mod jobs;
mod layer;
mod reader;
mod ring;
mod two_keys;
