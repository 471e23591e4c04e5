#![doc = include_str!("../README.md")]

mod encryption;
mod primitive;
mod random;

pub use encryption::CredentialEncryption;
pub use primitive::{Argon2Params, Backend, Suite};
pub use random::{Entropy, OsEntropy};

#[doc(hidden)]
pub mod hazmat;
