//! The entries of a cache, and what may be served from them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use moka::notification::RemovalCause;
use moka::sync::Cache as Map;
use nebula_credential_core::{
    CredentialError, CredentialRef, OpContext, Plaintext, Record, RecordHead, Retryability, Source, Version,
    limits,
};

use crate::config::{CacheBuilder, unreachable};
use crate::entry::{Age, Answer, Body, Entry, Failure, Life};
use crate::fence::{Fence, Stamp};
use crate::flight::Flights;
use crate::floor::{Floor, Floors};
use crate::key::Key;
use crate::reaper::{Reap, Reaper};
use crate::stats::{Answered, NotKept, Removed, Tally};
use crate::vault::Vault;

/// What a read that others wait for comes to: a sealed value.
pub(crate) type Outcome = Result<Arc<Body>, Failure>;

/// What the clones of a layer share.
pub(crate) struct State {
    pub(crate) config: CacheBuilder,
    pub(crate) fence: Fence,
    pub(crate) flights: Flights<Key, Stamp, Outcome>,
    pub(crate) tally: Arc<Tally>,
    floors: Floors,
    vault: Vault,
    entries: Map<Key, Arc<Entry>>,
    telling: Mutex<()>,
    reaper: Reaper,
    /// The process that made it.
    process: u32,
}

/// What there is in memory for a read.
pub(crate) enum Found {
    /// The answer.
    Answer(Result<Record<Plaintext>, CredentialError>),
    /// Nothing to serve, but a value to fall back on.
    Stale(Arc<Entry>),
    Nothing,
}

impl State {
    pub(crate) fn new(config: CacheBuilder) -> Result<Self, CredentialError> {
        let tally = Arc::new(Tally::new(Arc::clone(&config.metrics)));
        let listener = {
            let tally = Arc::clone(&tally);
            move |_: Arc<Key>, entry: Arc<Entry>, cause| {
                entry.wipe();
                // Whoever removes one for another reason counts it.
                if cause == RemovalCause::Size {
                    tally.removed(Removed::Size);
                }
            }
        };
        Ok(Self {
            fence: Fence::new(config.changes.clone(), config.epoch.clone()),
            flights: Flights::default(),
            floors: Floors::new(),
            tally,
            vault: Vault::new()?,
            entries: Map::builder()
                .max_capacity(config.max_entries)
                .eviction_listener(listener)
                .build(),
            telling: Mutex::default(),
            reaper: Reaper::default(),
            process: std::process::id(),
            config,
        })
    }

    /// Looks for an answer to `key`.
    #[inline]
    pub(crate) fn find(&self, key: &Key, ctx: &OpContext) -> Found {
        let Some(entry) = self.entries.get(key) else {
            return Found::Nothing;
        };
        if !self.fence.holds(&entry.stamp) {
            self.remove(key, &entry, Removed::Changed);
            return Found::Nothing;
        }
        let now = ctx.now();
        match entry.life.age(now) {
            Age::Over => {
                self.remove(key, &entry, Removed::Expired);
                Found::Nothing
            }
            Age::Fresh if !entry.answers(ctx) => Found::Nothing,
            Age::Fresh => match self.serve(key, &entry, ctx, now, Answered::Fresh) {
                Some(answer) => Found::Answer(answer),
                None => {
                    self.remove(key, &entry, Removed::Spent);
                    Found::Nothing
                }
            },
            Age::Stale if entry.rests(now) => self
                .serve(key, &entry, ctx, now, Answered::Stale)
                .map_or(Found::Nothing, Found::Answer),
            Age::Stale => Found::Stale(entry),
        }
    }

    /// What to serve from `entry` now that the store could not be reached, if it still may be. The store is spared for a
    /// while if it `rests`.
    pub(crate) fn fall_back(
        &self,
        key: &Key,
        entry: &Entry,
        ctx: &OpContext,
        rests: bool,
    ) -> Option<Result<Record<Plaintext>, CredentialError>> {
        let now = ctx.now();
        if !self.fence.holds(&entry.stamp) || entry.life.age(now) == Age::Over {
            return None;
        }
        if rests {
            entry.rest(now, self.config.error_ttl);
        }
        self.serve(key, entry, ctx, now, Answered::Stale)
    }

    /// `None` for a value that is gone, spent or damaged.
    #[inline]
    fn serve(
        &self,
        key: &Key,
        entry: &Entry,
        ctx: &OpContext,
        now: DateTime<Utc>,
        how: Answered,
    ) -> Option<Result<Record<Plaintext>, CredentialError>> {
        let age = entry.life.elapsed(now);
        let (answer, how) = match &entry.answer {
            Answer::Error(failure) => (Err(failure.error.clone()), Answered::Negative),
            Answer::Value { body, .. } => {
                let body = body.load();
                let body = body.as_ref().filter(|body| body.spend())?;
                (Ok(self.open(key, entry.stamp.epoch, body)?), how)
            }
        };
        if let Some(report) = &ctx.report {
            report.served_by(match how {
                Answered::Stale => Source::Stale { age },
                _ => Source::Cache { age },
            });
        }
        self.tally.answered(how, Some(age));
        Some(answer)
    }

    /// What another caller read for `key` under `stamp`.
    pub(crate) fn serve_shared(
        &self,
        key: &Key,
        stamp: &Stamp,
        ctx: &OpContext,
        body: &Body,
    ) -> Result<Record<Plaintext>, CredentialError> {
        body.spend();
        let record = self
            .open(key, stamp.epoch, body)
            .ok_or_else(|| CredentialError::internal("a value in the cache was damaged in memory"))?;
        if let Some(report) = &ctx.report {
            report.served_by(Source::Cache { age: Duration::ZERO });
        }
        Ok(record)
    }

    #[inline]
    fn open(&self, key: &Key, epoch: u64, body: &Body) -> Option<Record<Plaintext>> {
        Some(Record {
            payload: self.vault.open(key, epoch, &body.value)?,
            head: body.head.clone(),
        })
    }

    /// Seals `record` for those who wait for it. Not in a forked child, which has the parent's key and the parent's count
    /// of what was sealed: it keeps nothing, so that no nonce is used twice, and wipes what the parent kept, which no
    /// thread of the child would.
    pub(crate) fn seal(
        &self,
        key: &Key,
        stamp: &Stamp,
        record: &Record<Plaintext>,
    ) -> Result<Arc<Body>, NotKept> {
        if std::process::id() != self.process {
            self.clear();
            return Err(NotKept::Forked);
        }
        let value = self.vault.seal(key, stamp.epoch, &record.payload);
        let value = value.ok_or(NotKept::Seal)?;
        Ok(Arc::new(Body::new(record.head.clone(), value)))
    }

    /// Keeps a value that was read for `key` from `began` on, unless something moved meanwhile. If it may not be kept, nothing
    /// is: what was there before is no longer what the store says.
    pub(crate) fn keep_value(
        self: &Arc<Self>,
        key: &Key,
        stamp: Stamp,
        began: DateTime<Utc>,
        body: &Arc<Body>,
    ) -> Result<(), NotKept> {
        if self.config.ttl.is_zero() || self.config.max_entries == 0 {
            return Err(NotKept::Off);
        }
        if self.is_behind(key, &body.head, began) {
            return Err(NotKept::Behind);
        }
        let expires_at = body.head.version.expires_at;
        let served_until = expires_at.map(|end| {
            let buffer = TimeDelta::from_std(jittered(self.config.expiry_buffer)).unwrap_or(TimeDelta::MAX);
            end.checked_sub_signed(buffer).unwrap_or(DateTime::UNIX_EPOCH)
        });
        let life = Life::new(
            began,
            self.config.ttl,
            self.config.stale_if_error,
            served_until,
            expires_at,
        );
        let kept = match life {
            _ if body.value.len() > limits::SECRET_BYTES_DEFAULT => Err(NotKept::Size),
            None => Err(NotKept::ShortLived),
            Some(life) => self.insert(key, Entry::value(stamp, life, Arc::clone(body))),
        };
        if kept.is_err() {
            self.disown(key);
        }
        kept
    }

    /// Drops what is kept for `key`: the store said something else.
    pub(crate) fn disown(&self, key: &Key) {
        self.remove_if(key, Removed::Changed, |_| true);
    }

    /// Keeps the news that there is nothing, and spares a store that could not be reached. Any other error ends what is kept.
    pub(crate) fn keep_error(
        self: &Arc<Self>,
        key: &Key,
        stamp: Stamp,
        now: DateTime<Utc>,
        failure: &Failure,
    ) {
        let ttl = match &failure.error {
            // Not what was acknowledged; but what was kept before is not to be trusted either.
            error if error.is_not_found() && self.floors.has(key, now) => Duration::ZERO,
            error if error.is_not_found() => self.config.negative_ttl,
            error @ (CredentialError::Unavailable { .. } | CredentialError::ConnectionFailed(_)) => {
                // A value to fall back on stays; it remembers by itself that the store rests.
                if self
                    .entries
                    .get(key)
                    .is_some_and(|entry| entry.version().is_some())
                {
                    return;
                }
                // Not for longer than was said: a limit that refuses costs nothing, and has room again at once.
                match error.retryability() {
                    Retryability::Transient { after: Some(after) } => self.config.error_ttl.min(after),
                    _ => self.config.error_ttl,
                }
            }
            // An open breaker costs nothing.
            error if unreachable(error) => return,
            // What the store says instead of a value is asked for each time.
            _ => Duration::ZERO,
        };
        let life = Life::new(now, ttl, Duration::ZERO, None, None);
        let kept = life.map(|life| self.insert(key, Entry::error(stamp, life, failure.clone())));
        if !matches!(kept, Some(Ok(()))) {
            self.disown(key);
        }
    }

    /// Whether an answer is older than what was acknowledged, or than what is kept.
    fn is_behind(&self, key: &Key, head: &RecordHead, now: DateTime<Utc>) -> bool {
        let newer_is_kept = |entry: &Entry| {
            entry.version().is_some_and(|kept| kept > head.version.version) && self.fence.holds(&entry.stamp)
        };
        self.floors.is_behind(key, (head.latest, head.updated_at), now)
            || self.entries.get(key).is_some_and(|entry| newer_is_kept(&entry))
    }

    fn insert(self: &Arc<Self>, key: &Key, entry: Entry) -> Result<(), NotKept> {
        if self.config.max_entries == 0 {
            return Err(NotKept::Off);
        }
        self.fence.may_keep(&entry.stamp)?;
        if !Reaper::watch(self, || self.entries.insert(key.clone(), Arc::new(entry))) {
            return Err(NotKept::Thread);
        }
        self.settle();
        Ok(())
    }

    fn remove(&self, key: &Key, entry: &Entry, why: Removed) {
        entry.wipe();
        // Another entry that took its place meanwhile may go with it, and is read again.
        if self.entries.remove(key).is_some() {
            self.tally.removed(why);
        }
    }

    /// Removes what is kept for `key`, if `which` says so.
    fn remove_if(&self, key: &Key, why: Removed, which: impl Fn(&Entry) -> bool) {
        if let Some(entry) = self.entries.get(key).filter(|entry| which(entry)) {
            self.remove(key, &entry, why);
        }
    }

    /// Makes every copy of `id` unservable at once. The current one is wiped at once too, copies of exact versions within
    /// a second.
    pub(crate) fn changed(&self, id: &CredentialRef) {
        self.fence.advance(id);
        self.remove_if(&Key::latest(id), Removed::Changed, |_| true);
    }

    /// The store acknowledged a write of `id`: an older answer is not kept. A store that counts its changes answers with
    /// what it counted.
    pub(crate) fn acknowledged(&self, id: &CredentialRef, floor: Floor, now: DateTime<Utc>) {
        if !self.fence.has_counters() {
            self.floors.acknowledged(id, floor, now);
        }
    }

    /// Likewise for every credential.
    pub(crate) fn clear(&self) {
        self.fence.advance_all();
        self.flights.abandon_all();
        for (key, entry) in &self.entries {
            self.remove(&key, &entry, Removed::Changed);
        }
        self.settle();
    }

    /// Drops `version` of `id`, and no other.
    pub(crate) fn rejected(&self, id: &CredentialRef, version: Version) {
        for key in [Key::latest(id), Key::exact(id, version)] {
            // A read that is under way may bring just this version.
            self.flights.abandon(&key);
            self.remove_if(&key, Removed::Rejected, |entry| entry.version() == Some(version));
        }
    }

    /// How many entries there are, after making room: the bound holds now, not when the map sees fit.
    pub(crate) fn count(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    /// Tells how many entries there are.
    fn settle(&self) {
        // Counted under the lock, so that the last word is the latest count.
        let _last = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        self.tally.entries(self.count());
    }
}

impl Reap for State {
    fn reaper(&self) -> &Reaper {
        &self.reaper
    }

    fn reap(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (key, entry) in &self.entries {
            let due = entry.life.due;
            if due <= now {
                self.remove(&key, &entry, Removed::Expired);
            } else if !self.fence.holds(&entry.stamp) {
                self.remove(&key, &entry, Removed::Changed);
            } else {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
            }
        }
        self.settle();
        next
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The map may drop its entries later than itself.
        for (_, entry) in &self.entries {
            entry.wipe();
        }
    }
}

/// `buffer` and up to half as much again.
fn jittered(buffer: Duration) -> Duration {
    let mut random = [0; 4];
    // Without random bytes nothing is lost but the spread.
    let share = getrandom::fill(&mut random).map_or(0, |()| u32::from_le_bytes(random));
    let half = buffer / 2;
    buffer.saturating_add(half.mul_f64(f64::from(share) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests;
