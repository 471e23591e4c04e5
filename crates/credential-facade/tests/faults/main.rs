//! Every layer against a store that is slow, overloaded, down, silent or behind: what is answered, after how many attempts
//! and how much time, and that nothing is left taken.
//!
//! Time is virtual: tokio's clock stands still until everybody waits for it, and the clock of the requests goes with it.

#![cfg(all(
    feature = "access",
    feature = "audit",
    feature = "cache",
    feature = "resilience",
    feature = "telemetry"
))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod above;
mod below;
mod bench;
mod fallback;
mod measured;
mod whole;

/// What a third party would write, and in memory: stores that work on threads of their own have another clock.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "an example, of which this is not the only user"
)]
#[path = "../../../credential-testkit/examples/third_party_store/store.rs"]
mod shelf;
