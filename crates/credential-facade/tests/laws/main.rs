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
mod refused;
mod reload;
mod tags;
mod whose;

/// What a third party would write: a store that does not tell of changes.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "an example, of which this is not the only user"
)]
#[path = "../../../credential-testkit/examples/third_party_store/store.rs"]
mod shelf;
