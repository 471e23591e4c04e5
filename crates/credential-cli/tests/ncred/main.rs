//! Drives the real binary on stores of its own, in an environment of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail as tests do"
)]

mod about;
mod audit;
mod bundles;
mod doctor;
mod edit;
mod keys;
#[cfg(target_os = "linux")]
mod leaks;
mod mistakes;
mod place;
mod policy;
mod run;
mod secrets;
mod terminal;
mod verbs;
