//! What holds between access control, audit, cache and store, whoever asks: the laws of the stack's order.

#![cfg(all(
    feature = "access",
    feature = "audit",
    feature = "cache",
    feature = "resilience"
))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod handles;
mod keys;
mod looks;
mod order;
mod owners;
mod place;
mod reload;
mod tags;
mod whose;
