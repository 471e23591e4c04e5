//! Fuzz targets as plain functions: libFuzzer calls them, and so does the replay of the corpus.
//!
//! A target takes any bytes and panics when a promise does not hold. To add one:
//!
//! 1. write it here as `pub fn NAME(data: &[u8])` in a module of its own and list it in [`TARGETS`];
//! 2. add `fuzz_targets/NAME.rs` and its `[[bin]]`;
//! 3. add `replay!(NAME)` to `tests/replay.rs` and at least one input to `corpus/NAME/`.
//!
//! A test compares the three.
#![forbid(unsafe_code)]

mod name;

pub use name::name_codec;

/// Every target under the name of its corpus.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[("name_codec", name_codec)];
