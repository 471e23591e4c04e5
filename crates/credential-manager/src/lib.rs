#![doc = include_str!("../README.md")]

mod blocking;
mod builder;
mod bundle;
mod change;
mod context;
#[cfg(feature = "cache")]
mod drive;
#[cfg(feature = "cache")]
mod handle;
mod health;
mod keys;
mod leave;
mod maintenance;
mod manager;
mod metadata;
mod paths;
mod provider;
mod raw;
mod read;
#[cfg(feature = "access")]
mod share;
mod stack;
mod unlock;
mod write;

pub use builder::ManagerBuilder;
pub use context::CredentialContext;
pub use health::{HealthReport, HealthStatus, KeyHealth};
pub use keys::Keys;
pub use manager::CredentialManager;
pub use metadata::{CredentialMetadata, CredentialVersion};
pub use provider::ManagerProvider;
pub use raw::RawCredential;
pub use stack::{PlainService, SealedService};
pub use write::PendingWrite;
