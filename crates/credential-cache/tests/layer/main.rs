//! What a cache serves, and what it must not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod counters;
mod errors;
mod kept;
mod lives;
mod reads;
mod writes;
