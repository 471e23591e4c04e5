//! What the store has acknowledged, for reads that it answers with less: a replica that lags behind must not fill the cache.

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache as Map;
use nebula_credential_core::{CredentialRef, Selector, Version};

use crate::config::ENTRIES_MAX;
use crate::key::Key;

/// For how long an acknowledgement is held against an answer. Replicas of secret stores lag by seconds.
const LAG: TimeDelta = TimeDelta::seconds(60);

/// The writes that were acknowledged through this cache lately.
pub(crate) struct Floors(Map<CredentialRef, (Floor, DateTime<Utc>)>);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Floor {
    /// The latest version is this one, or a later one.
    Version(Version),
    /// It was deleted.
    Gone,
}

impl Floors {
    pub(crate) fn new() -> Self {
        Self(Map::new(ENTRIES_MAX))
    }

    /// The store acknowledged a write.
    pub(crate) fn acknowledged(&self, id: &CredentialRef, floor: Floor, now: DateTime<Utc>) {
        self.0.insert(id.clone(), (floor, now));
    }

    /// Whether a value of `key` from when `latest` was the latest version is older than what was acknowledged.
    pub(crate) fn is_behind(&self, key: &Key, latest: Version, now: DateTime<Utc>) -> bool {
        match (self.of(&key.id, now), key.version) {
            (None, _) => false,
            (Some(Floor::Gone), _) => true,
            // A version never changes.
            (Some(Floor::Version(_)), Selector::Exact(_)) => false,
            (Some(Floor::Version(least)), Selector::Latest) => latest < least,
        }
    }

    /// Whether it was acknowledged that there is a current version of `key`.
    pub(crate) fn has_latest(&self, key: &Key, now: DateTime<Utc>) -> bool {
        let floor = self.of(&key.id, now);
        key.version == Selector::Latest && matches!(floor, Some(Floor::Version(_)))
    }

    fn of(&self, id: &CredentialRef, now: DateTime<Utc>) -> Option<Floor> {
        let (floor, since) = self.0.get(id)?;
        // A clock that was set back ends it as well.
        (since <= now && now - since < LAG).then_some(floor)
    }
}
