//! One kept answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential_core::{CredentialError, OpContext, RecordHead, Version};

use crate::config::USES_MAX;
use crate::fence::Stamp;
use crate::vault::SealedValue;

/// What was read.
pub(crate) struct Body {
    pub(crate) head: RecordHead,
    pub(crate) value: SealedValue,
    uses: AtomicU32,
}

impl Body {
    pub(crate) fn new(head: RecordHead, value: SealedValue) -> Self {
        Self {
            head,
            value,
            uses: AtomicU32::new(0),
        }
    }

    /// Counts a use; `false` once it was used as often as it may be.
    pub(crate) fn spend(&self) -> bool {
        // Compared before it is counted: the count never wraps.
        self.uses.load(Ordering::Relaxed) < USES_MAX && self.uses.fetch_add(1, Ordering::Relaxed) < USES_MAX
    }
}

/// An error, and for whom it is an answer.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: CredentialError,
    /// The store would have been asked again after this time, had the caller had it.
    pub(crate) cut_short: Option<Duration>,
}

impl Failure {
    /// Whether it is an answer for who has the time that `ctx` leaves.
    pub(crate) fn answers(&self, ctx: &OpContext) -> bool {
        let Some(wait) = self.cut_short else {
            return true;
        };
        let left = ctx.deadline.map(|deadline| deadline - ctx.now());
        left.is_some_and(|left| left.to_std().unwrap_or_default() <= wait)
    }
}

/// What an entry answers.
pub(crate) enum Answer {
    /// A value, until it is wiped: the map drops its entries when it sees fit.
    Value {
        version: Version,
        body: ArcSwapOption<Body>,
    },
    Error(Failure),
}

/// A kept answer and what bounds its life.
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) life: Life,
    pub(crate) answer: Answer,
    /// While it is stale, the store is not asked before this time, in microseconds since 1970.
    retry_at: AtomicI64,
}

/// From when to when, by the clock of the requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    /// When the read that filled it began.
    pub(crate) began: DateTime<Utc>,
    /// Until when it is served.
    pub(crate) fresh_until: DateTime<Utc>,
    /// Until when it is served while the store cannot be reached.
    pub(crate) stale_until: DateTime<Utc>,
    /// When it is removed, by a clock that nobody sets.
    pub(crate) due: Instant,
}

/// Where in its life an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    Fresh,
    Stale,
    Over,
}

impl Life {
    /// Fresh for `ttl` or until `soft_end`, then stale for `stale`; over at `hard_end` at the latest. `None` if it would
    /// never be fresh.
    pub(crate) fn new(
        began: DateTime<Utc>,
        ttl: Duration,
        stale: Duration,
        soft_end: Option<DateTime<Utc>>,
        hard_end: Option<DateTime<Utc>>,
    ) -> Option<Self> {
        let after = |time: DateTime<Utc>, span| time.checked_add_signed(TimeDelta::from_std(span).ok()?);
        let until = |time: DateTime<Utc>, end: Option<DateTime<Utc>>| end.map_or(time, |end| end.min(time));
        let fresh_until = until(until(after(began, ttl)?, soft_end), hard_end);
        let stale_until = until(after(fresh_until, stale)?, hard_end);
        if fresh_until <= began {
            return None;
        }
        Some(Self {
            began,
            fresh_until,
            stale_until,
            due: Instant::now().checked_add((stale_until - began).to_std().ok()?)?,
        })
    }

    pub(crate) fn age(&self, now: DateTime<Utc>) -> Age {
        // A clock that was set back says nothing about how old this is.
        if now < self.began || now >= self.stale_until {
            Age::Over
        } else if now < self.fresh_until {
            Age::Fresh
        } else {
            Age::Stale
        }
    }

    pub(crate) fn elapsed(&self, now: DateTime<Utc>) -> Duration {
        (now - self.began).to_std().unwrap_or_default()
    }
}

impl Entry {
    pub(crate) fn value(stamp: Stamp, life: Life, body: Arc<Body>) -> Self {
        let version = body.head.version.version;
        let body = ArcSwapOption::new(Some(body));
        Self::new(stamp, life, Answer::Value { version, body })
    }

    pub(crate) fn error(stamp: Stamp, life: Life, failure: Failure) -> Self {
        Self::new(stamp, life, Answer::Error(failure))
    }

    fn new(stamp: Stamp, life: Life, answer: Answer) -> Self {
        Self {
            stamp,
            life,
            answer,
            retry_at: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn version(&self) -> Option<Version> {
        match &self.answer {
            Answer::Value { version, .. } => Some(*version),
            Answer::Error(_) => None,
        }
    }

    /// Whether it is an answer for the caller of `ctx`.
    pub(crate) fn answers(&self, ctx: &OpContext) -> bool {
        match &self.answer {
            Answer::Value { .. } => true,
            Answer::Error(failure) => failure.answers(ctx),
        }
    }

    /// Lets go of the value; it is wiped when the last reader has done with it.
    pub(crate) fn wipe(&self) {
        if let Answer::Value { body, .. } = &self.answer {
            body.store(None);
        }
    }

    /// Spares the store for `time`.
    pub(crate) fn rest(&self, now: DateTime<Utc>, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.retry_at
            .store(now.timestamp_micros().saturating_add(micros), Ordering::Relaxed);
    }

    pub(crate) fn rests(&self, now: DateTime<Utc>) -> bool {
        now.timestamp_micros() < self.retry_at.load(Ordering::Relaxed)
    }
}
