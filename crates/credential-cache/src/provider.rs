//! A cache before any provider of credentials.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use moka::notification::RemovalCause;
use moka::sync::Cache as Map;
use nebula_credential_core::{
    AnyCredential, Clock, CredentialError, CredentialProvider, NoMetrics, SystemClock, limits,
};

use crate::config::{LIFE_MAX, unreachable};
use crate::flight::Flights;
use crate::reaper::{Reap, Reaper};
use crate::stats::{Answered, CacheStats, NotKept, Removed, Tally};

/// How long before its expiry a credential is fetched anew.
const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_secs(5 * 60);

/// How often at most a credential is fetched anew while the one at hand still works.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// A cache before any provider, by name.
///
/// A credential is served for `ttl`, at most 15 minutes, and never past its expiry. From five minutes before its expiry on
/// it is fetched anew; if that fails because the provider cannot be reached, the one at hand is served for as long as it
/// works. Who asks for what is being fetched waits for that one fetch. An error is never kept.
///
/// What lies here are the credentials themselves, decoded: they cannot rest sealed, because nothing is left that knows
/// how to decode them. They are shared with whoever asked, dropped when they are due also if nobody asks, and wiped with the
/// last clone. Where values must rest sealed, use a [`CacheLayer`](crate::CacheLayer).
///
/// There is no principal in a name: before this provider nothing decides who may have what. Give each principal a provider
/// of its own.
///
/// ```
/// # use std::time::Duration;
/// # use nebula_credential_cache::CachedCredentialProvider;
/// # use nebula_credential_core::CredentialProvider;
/// # fn cached(vault: impl CredentialProvider) -> impl CredentialProvider {
/// CachedCredentialProvider::new(vault, 100, Duration::from_secs(300))
/// # }
/// ```
pub struct CachedCredentialProvider<P> {
    inner: P,
    kept: Arc<Kept>,
    flights: Flights<String, (), Result<AnyCredential, CredentialError>>,
    ttl: Duration,
    refresh_before_expiry: Duration,
    clock: Arc<dyn Clock>,
}

impl<P: CredentialProvider> CachedCredentialProvider<P> {
    /// A cache of `capacity` credentials before `inner`. A `ttl` beyond 15 minutes is taken as that.
    pub fn new(inner: P, capacity: usize, ttl: Duration) -> Self {
        Self {
            inner,
            kept: Arc::new(Kept::new(capacity)),
            flights: Flights::default(),
            ttl: ttl.min(LIFE_MAX),
            refresh_before_expiry: REFRESH_BEFORE_EXPIRY,
            clock: Arc::new(SystemClock),
        }
    }

    /// Where the time comes from; the operating system unless told otherwise.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long before its expiry a credential is fetched anew; 5 minutes unless told otherwise.
    #[must_use]
    pub fn refresh_before_expiry(mut self, time: Duration) -> Self {
        self.refresh_before_expiry = time;
        self
    }

    /// Forgets `name`: it was rotated, or the other side refused it. What is being fetched will not be kept.
    pub fn forget(&self, name: &str) {
        self.flights.abandon(name);
        self.kept.remove(name);
    }

    /// What it did since it was made: a fetch is a miss, and what is served because the provider cannot be reached is stale,
    /// though it works.
    pub fn stats(&self) -> CacheStats {
        self.kept.slots.run_pending_tasks();
        self.kept.tally.stats(self.kept.slots.entry_count())
    }

    /// The credential at hand, and whether it will do; `None` if there is none that works.
    fn at_hand(&self, name: &str) -> Option<(AnyCredential, Arc<Slot>, bool)> {
        let slot = self.kept.slots.get(name)?;
        let now = self.clock.now();
        match slot
            .credential()
            .filter(|found| slot.works(now) && !lapsed(found))
        {
            Some(found) => {
                let will_do = now < slot.refresh_at || slot.rests(now);
                Some((found, slot, will_do))
            }
            None => {
                self.kept.remove_as(name, Removed::Expired);
                None
            }
        }
    }

    /// Fetches `name`, or waits for someone who does.
    async fn fetch(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        let ticket = self.flights.join(&name.to_owned(), ());
        let mut how = Answered::Shared;
        let fetch = async {
            // Another fetch may have ended after this caller looked and before it joined.
            if let Some((found, _, true)) = self.at_hand(name) {
                how = Answered::Fresh;
                return Ok::<_, ()>(Ok(found));
            }
            how = Answered::Store;
            let began = self.clock.now();
            let fetched = self.inner.get(name).await;
            match &fetched {
                Ok(credential) => {
                    let kept = ticket.land(|| self.keep(name, began, credential));
                    self.kept.tally.kept(kept.unwrap_or(Err(NotKept::Changed)));
                }
                Err(_) => {
                    ticket.land(|| {});
                }
            }
            Ok(fetched)
        };
        let answer = ticket.wait(fetch).await;
        self.kept.tally.answered(how, None);
        answer.unwrap_or_else(|| Err(CredentialError::internal("a fetch ended without an answer")))
    }

    fn keep(&self, name: &str, began: DateTime<Utc>, credential: &AnyCredential) -> Result<(), NotKept> {
        if self.ttl.is_zero() || self.kept.capacity == 0 {
            return Err(NotKept::Off);
        }
        if name.len() > limits::NAME_BYTES {
            return Err(NotKept::Size);
        }
        let expires_at = credential.expires_at();
        let ttl_over = TimeDelta::from_std(self.ttl)
            .ok()
            .and_then(|ttl| began.checked_add_signed(ttl));
        let until = ttl_over.map(|over| expires_at.map_or(over, |end| end.min(over)));
        let until = until.filter(|until| *until > began).ok_or(NotKept::ShortLived)?;
        let lead = TimeDelta::from_std(self.refresh_before_expiry).unwrap_or(TimeDelta::MAX);
        let refresh_at = expires_at.map_or(until, |end| end.checked_sub_signed(lead).unwrap_or(began));
        let life = (until - began).to_std().ok();
        let due = life.and_then(|life| Instant::now().checked_add(life));
        let slot = Slot {
            credential: Mutex::new(Some(credential.clone())),
            began,
            until,
            refresh_at,
            due: due.ok_or(NotKept::ShortLived)?,
            rests_until: AtomicI64::new(i64::MIN),
        };
        // One that is so short-lived that it should be fetched anew at once is given some time.
        slot.rest(self.clock.now());
        self.kept.insert(name, slot)
    }
}

/// Whether a credential that tells no expiry says by itself that it ceased to work.
fn lapsed(credential: &AnyCredential) -> bool {
    credential.expires_at().is_none() && credential.is_expired()
}

#[async_trait]
impl<P: CredentialProvider> CredentialProvider for CachedCredentialProvider<P> {
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        let slot = match self.at_hand(name) {
            Some((found, _, true)) => {
                self.kept.tally.answered(Answered::Fresh, None);
                return Ok(found);
            }
            Some((_, slot, false)) => Some(slot),
            None => None,
        };
        let error = match self.fetch(name).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) => error,
        };
        match slot {
            Some(slot) if unreachable(&error) => {
                slot.rest(self.clock.now());
                let (found, ..) = self.at_hand(name).ok_or(error)?;
                self.kept.tally.answered(Answered::Stale, None);
                Ok(found)
            }
            _ => {
                // The provider has spoken: what is at hand counts no more.
                self.kept.remove(name);
                Err(error)
            }
        }
    }
}

impl<P> fmt::Debug for CachedCredentialProvider<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedCredentialProvider")
            .field("ttl", &self.ttl)
            .field("refresh_before_expiry", &self.refresh_before_expiry)
            .finish_non_exhaustive()
    }
}

struct Kept {
    capacity: usize,
    slots: Map<String, Arc<Slot>>,
    tally: Arc<Tally>,
    reaper: Reaper,
}

struct Slot {
    /// `None` once it was removed: the map drops its entries when it sees fit.
    credential: Mutex<Option<AnyCredential>>,
    began: DateTime<Utc>,
    until: DateTime<Utc>,
    refresh_at: DateTime<Utc>,
    /// When it is removed, by a clock that nobody sets.
    due: Instant,
    /// Until when it is not fetched anew, in microseconds since 1970.
    rests_until: AtomicI64,
}

impl Slot {
    fn credential(&self) -> Option<AnyCredential> {
        self.credential
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn wipe(&self) {
        let credential = self
            .credential
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(credential);
    }

    fn works(&self, now: DateTime<Utc>) -> bool {
        (self.began..self.until).contains(&now)
    }

    fn rest(&self, now: DateTime<Utc>) {
        let until = now
            .checked_add_signed(TimeDelta::from_std(REFRESH_INTERVAL).unwrap_or_default())
            .unwrap_or(now);
        self.rests_until
            .store(until.timestamp_micros(), Ordering::Relaxed);
    }

    fn rests(&self, now: DateTime<Utc>) -> bool {
        now.timestamp_micros() < self.rests_until.load(Ordering::Relaxed)
    }
}

impl Kept {
    fn new(capacity: usize) -> Self {
        let tally = Arc::new(Tally::new(Arc::new(NoMetrics)));
        let listener = {
            let tally = Arc::clone(&tally);
            move |_: Arc<String>, slot: Arc<Slot>, cause| {
                slot.wipe();
                // Whoever removes one for another reason counts it.
                if cause == RemovalCause::Size {
                    tally.removed(Removed::Size);
                }
            }
        };
        Self {
            capacity,
            slots: Map::builder()
                .max_capacity(u64::try_from(capacity).unwrap_or(u64::MAX))
                .eviction_listener(listener)
                .build(),
            tally,
            reaper: Reaper::default(),
        }
    }

    fn insert(self: &Arc<Self>, name: &str, slot: Slot) -> Result<(), NotKept> {
        if !Reaper::watch(self, || self.slots.insert(name.to_owned(), Arc::new(slot))) {
            self.remove(name);
            return Err(NotKept::Thread);
        }
        self.slots.run_pending_tasks();
        Ok(())
    }

    /// Because it is not wanted any more.
    fn remove(&self, name: &str) {
        self.remove_as(name, Removed::Changed);
    }

    fn remove_as(&self, name: &str, why: Removed) {
        if let Some(slot) = self.slots.remove(name) {
            slot.wipe();
            self.tally.removed(why);
        }
    }
}

impl Reap for Kept {
    fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    fn reap(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (name, slot) in &self.slots {
            if slot.due <= now {
                self.remove_as(&name, Removed::Expired);
            } else {
                next = Some(next.map_or(slot.due, |next: Instant| next.min(slot.due)));
            }
        }
        self.slots.run_pending_tasks();
        next
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The map may drop its entries later than itself.
        for (_, slot) in &self.slots {
            slot.wipe();
        }
    }
}
