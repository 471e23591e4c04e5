#![doc = include_str!("../README.md")]

extern crate self as nebula_credential_core;

mod error;
mod version;

pub use error::{CredentialError, ErrorKind, Message, Retryability};
pub use version::Version;
