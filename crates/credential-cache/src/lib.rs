#![doc = include_str!("../README.md")]

mod changes;
mod config;
mod entry;
mod fence;
mod flight;
mod floor;
mod handle;
mod key;
mod layer;
mod provider;
mod reaper;
mod state;
mod stats;
mod vault;

pub use changes::{ChangeKind, Changed, Changes};
pub use config::{CacheBuilder, ENTRIES_MAX, LIFE_MAX, NEGATIVE_LIFE_MAX, USES_MAX};
pub use handle::{CredentialHandle, Expiry, HandleUpdater, Snapshot};
pub use layer::{Cache, CacheFuture, CacheLayer};
pub use provider::CachedCredentialProvider;
pub use stats::CacheStats;
