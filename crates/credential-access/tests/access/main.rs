//! The policy against an oracle, and the layer over a store that counts what is asked of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a test asks of its own store must not fail; proofs print their figures"
)]

mod file;
mod hiding;
mod layer;
mod lists;
mod meanwhile;
mod oracle;
mod ownership;
mod parse;
mod rotation;
mod sharing;
mod shelf;
mod speed;
mod support;
mod times;
