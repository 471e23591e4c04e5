//! Drives the real binary on stores of its own, in an environment of its own.

mod about;
mod keys;
mod mistakes;
mod place;
mod secrets;
mod verbs;
