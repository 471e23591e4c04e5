//! Drives the real binary on stores of its own, in an environment of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod about;
mod keys;
mod mistakes;
mod place;
mod run;
mod secrets;
mod verbs;
