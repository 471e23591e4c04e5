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

mod audit;
pub mod bundle;
mod config;
mod credential;
mod envelope;
pub mod golden;
mod import;
mod input;
mod keyring;
mod mirror;
mod name;
mod policy;
mod tampered;

pub use audit::audit_verify;
pub use bundle::import_bundle;
pub use config::config_file;
pub use credential::credential_decode;
pub use envelope::envelope_decode;
pub use import::{import_env, import_text};
pub use keyring::keyring_decode;
pub use name::name_codec;
pub use policy::policy_parse;
pub use tampered::decrypt_tampered;

/// What libFuzzer and the replay call.
pub type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("audit_verify", audit_verify),
    ("config_file", config_file),
    ("credential_decode", credential_decode),
    ("decrypt_tampered", decrypt_tampered),
    ("envelope_decode", envelope_decode),
    ("import_bundle", import_bundle),
    ("import_env", import_env),
    ("import_text", import_text),
    ("keyring_decode", keyring_decode),
    ("name_codec", name_codec),
    ("policy_parse", policy_parse),
];
