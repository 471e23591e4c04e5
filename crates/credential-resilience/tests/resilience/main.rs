//! Every layer against stores that are slow, away, hang or lose answers; no test waits for real time.

#![allow(
    clippy::unwrap_used,
    reason = "what a test asks of its own stores must not fail"
)]

mod breaker;
mod fallback;
mod providers;
mod stack;
mod support;
