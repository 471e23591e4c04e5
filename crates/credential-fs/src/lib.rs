#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!(
    "nebula-credential-fs needs Unix file modes and owners; use a store that keeps no local files here"
);

mod check;
mod dir;
mod error;
mod file;
mod lock;
mod name;
mod outside;
mod shared;
mod sync;
mod walk;
mod write;

pub use check::FileInfo;
pub use dir::PrivateDir;
pub use error::classify;
pub use lock::FileLock;
pub use outside::{append_private_file, open_private_file, read_private_file, read_trusted_file};
pub use write::CreateOutcome;
