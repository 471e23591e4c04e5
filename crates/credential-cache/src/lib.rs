#![doc = include_str!("../README.md")]

mod config;
mod entry;
mod fence;
mod flight;
mod key;
mod layer;
mod reaper;
mod state;
mod stats;
mod vault;

pub use config::{CacheBuilder, ENTRIES_MAX, LIFE_MAX, NEGATIVE_LIFE_MAX, USES_MAX};
pub use layer::{Cache, CacheFuture, CacheLayer};
pub use stats::CacheStats;
