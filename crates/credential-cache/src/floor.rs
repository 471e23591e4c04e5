//! What the store has acknowledged, for reads that it answers with less: a replica that lags behind must not fill the cache.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Map;
use nebula_credential_core::{CredentialRef, Selector, Version};

use crate::config::ENTRIES_MAX;
use crate::key::Key;

/// For how long an acknowledgement is held against an answer. Replicas of secret stores lag by seconds.
const LAG: Duration = Duration::from_secs(60);

/// The writes that were acknowledged through this cache lately: of so many credentials as a cache holds, the last ones.
pub(crate) struct Floors(Map<CredentialRef, (Floor, DateTime<Utc>)>);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Floor {
    /// The latest version is this one, last changed then, or later.
    Version(Version, DateTime<Utc>),
    /// It was deleted.
    Gone,
}

impl Floors {
    pub(crate) fn new() -> Self {
        // The latest writes count, however often others were looked up.
        let map = Map::builder()
            .max_capacity(ENTRIES_MAX)
            .time_to_live(LAG)
            .eviction_policy(EvictionPolicy::lru());
        Self(map.build())
    }

    /// The store acknowledged a write. Of two that were under way at once, the later version counts, and of that the later
    /// change, whichever ends first.
    pub(crate) fn acknowledged(&self, id: &CredentialRef, floor: Floor, now: DateTime<Utc>) {
        self.0.entry_by_ref(id).and_compute_with(|known| {
            let known = known.map(|known| known.into_value());
            match (known.and_then(|known| held(known, now)), floor) {
                (Some(Floor::Version(least, changed)), Floor::Version(new, at))
                    if (new, at) < (least, changed) =>
                {
                    Op::Nop
                }
                _ => Op::Put((floor, now)),
            }
        });
    }

    /// Whether a value of `key` from when `latest` was the latest version, and `changed` its last change, is older than what
    /// was acknowledged.
    pub(crate) fn is_behind(
        &self,
        key: &Key,
        (latest, changed): (Version, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> bool {
        match self.of(&key.id, now) {
            None => false,
            Some(Floor::Gone) => true,
            // Also of a version that is asked for by its number: its value never changes, but the phase and the tags do.
            Some(Floor::Version(least, since)) => (latest, changed) < (least, since),
        }
    }

    /// Whether it was acknowledged that there is what `key` asks for.
    pub(crate) fn has(&self, key: &Key, now: DateTime<Utc>) -> bool {
        match (self.of(&key.id, now), key.version) {
            (Some(Floor::Version(..)), Selector::Latest) => true,
            // One before it may have been written lately as well.
            (Some(Floor::Version(least, _)), Selector::Exact(version)) => version <= least,
            (Some(Floor::Gone) | None, _) => false,
        }
    }

    fn of(&self, id: &CredentialRef, now: DateTime<Utc>) -> Option<Floor> {
        held(self.0.get(id)?, now)
    }
}

/// A floor that was made known at `since`, if it still counts.
fn held((floor, since): (Floor, DateTime<Utc>), now: DateTime<Utc>) -> Option<Floor> {
    // A clock that was set back ends it as well.
    let lag = TimeDelta::from_std(LAG).unwrap_or(TimeDelta::MAX);
    (since <= now && now - since < lag).then_some(floor)
}

#[cfg(test)]
mod tests {
    use nebula_credential_core::{Clock as _, CredentialName, Scope, SystemClock, TenantId};

    use super::*;

    fn id(name: &str) -> CredentialRef {
        CredentialRef::new(
            TenantId::default(),
            Scope::default(),
            CredentialName::new(name).unwrap(),
        )
    }

    fn version(number: u32) -> Version {
        Version::new(number).unwrap()
    }

    /// A version that was not changed since it was stored.
    fn stored(number: u32) -> (Version, DateTime<Utc>) {
        (version(number), DateTime::UNIX_EPOCH)
    }

    fn floor(number: u32) -> Floor {
        Floor::Version(version(number), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn the_latest_writes_count_however_many_there_were_before() {
        let (floors, now) = (Floors::new(), SystemClock.now());
        let is_behind = |name: &str| floors.is_behind(&Key::latest(&id(name)), stored(1), now);
        for n in 0..ENTRIES_MAX {
            let name = format!("old{n}");
            floors.acknowledged(&id(&name), floor(2), now);
            for _ in 0..3 {
                is_behind(&name);
            }
        }
        for n in 0..200 {
            floors.acknowledged(&id(&format!("new{n}")), floor(2), now);
        }
        floors.0.run_pending_tasks();
        assert!((0..200).all(|n| is_behind(&format!("new{n}"))));
        assert!(floors.0.entry_count() <= ENTRIES_MAX);
    }

    #[test]
    fn a_later_version_counts_though_an_earlier_one_is_acknowledged_after_it() {
        let (floors, now) = (Floors::new(), SystemClock.now());
        let latest = Key::latest(&id("db"));
        floors.acknowledged(&id("db"), floor(3), now);
        floors.acknowledged(&id("db"), floor(2), now);
        assert!(floors.is_behind(&latest, stored(2), now));
        assert!(!floors.is_behind(&latest, stored(3), now));
        // For as long as it would have counted alone.
        let later = now + TimeDelta::seconds(60);
        assert!(!floors.is_behind(&latest, stored(2), later));
        floors.acknowledged(&id("db"), floor(2), later);
        assert!(!floors.is_behind(&latest, stored(2), later));
        assert!(floors.is_behind(&latest, stored(1), later));
        // What was deleted begins anew.
        floors.acknowledged(&id("db"), Floor::Gone, later);
        assert!(floors.is_behind(&latest, stored(9), later));
        floors.acknowledged(&id("db"), floor(1), later);
        assert!(!floors.is_behind(&latest, stored(1), later));
    }

    #[test]
    fn of_one_version_the_later_change_counts() {
        let (floors, now) = (Floors::new(), SystemClock.now());
        let latest = Key::latest(&id("db"));
        let (before, after) = (now - TimeDelta::seconds(1), now);
        floors.acknowledged(&id("db"), Floor::Version(version(2), after), now);
        floors.acknowledged(&id("db"), Floor::Version(version(2), before), now);
        let is_behind = |number, changed| floors.is_behind(&latest, (version(number), changed), now);
        assert!(is_behind(2, before) && is_behind(1, after));
        assert!(!is_behind(2, after) && !is_behind(3, before));
    }

    #[test]
    fn a_version_that_was_acknowledged_is_there() {
        let (floors, now) = (Floors::new(), SystemClock.now());
        let has = |key: Key| floors.has(&key, now);
        assert!(!has(Key::latest(&id("db"))));
        floors.acknowledged(&id("db"), floor(2), now);
        assert!(has(Key::latest(&id("db"))));
        assert!(has(Key::exact(&id("db"), version(2))));
        assert!(!has(Key::exact(&id("db"), version(3))));
        floors.acknowledged(&id("db"), Floor::Gone, now);
        assert!(!has(Key::latest(&id("db"))) && !has(Key::exact(&id("db"), version(2))));
    }
}
