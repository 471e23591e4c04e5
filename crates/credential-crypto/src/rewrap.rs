//! Jobs over a whole store: rewrapping after a rotation, full re-encryption, and the count that lets a key go.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::task::Poll;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialError, CredentialRef, ErrorKind, Op, OpContext, Record, Request, Response, Rewrite, Scan,
    ScanCursor, ScanPage, Sealed, StoreHandle, Version,
};
use tower_service::Service as _;

use crate::envelope::Place;
use crate::ring::{Epoch, KeyRing, RingId};
use crate::sealer::Sealer;

/// Records read at once, and then replaced at once: what is in memory is at most this many sealed payloads, old and
/// new. A store that makes what waits durable together needs one sync for all of them.
const PAGE: usize = 64;
/// Failures a report lists one by one; beyond, they are counted.
const FAILURES_LISTED: usize = 100;
/// Attempts on one payload that others keep changing.
const ATTEMPTS: usize = 16;

/// A pass over every kept version of every credential, deleted or not.
///
/// Safe to stop or kill anywhere and to start again: each step replaces one payload as one atomic change, on the
/// condition that it is still the one that was read. Two jobs at once, and writers beside them, do no harm.
#[derive(Debug)]
pub struct KeyJob {
    store: StoreHandle,
    sealer: Sealer,
    ctx: OpContext,
    what: What,
    after: Option<ScanCursor>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Rewrap,
    ReEncrypt,
}

impl KeyJob {
    /// Wraps every data key under the primary key. Payloads are not opened; what is under the primary key already is
    /// left alone, so starting again costs a scan.
    pub fn rewrap(store: StoreHandle, ring: KeyRing, ctx: OpContext) -> Self {
        Self::new(store, ring, ctx, What::Rewrap)
    }

    /// Seals every payload anew, under fresh data keys: after a compromise. Rotate the ring first.
    pub fn re_encrypt(store: StoreHandle, ring: KeyRing, ctx: OpContext) -> Self {
        Self::new(store, ring, ctx, What::ReEncrypt)
    }

    fn new(store: StoreHandle, ring: KeyRing, ctx: OpContext, what: What) -> Self {
        Self {
            store,
            sealer: Sealer::new(ring),
            ctx,
            what,
            after: None,
        }
    }

    /// Begins behind `cursor`, the [`Progress::cursor`] of an earlier run. Without it, the job begins at the start.
    #[must_use]
    pub fn resume(mut self, cursor: ScanCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Runs to the end, calling `progress` after each page.
    ///
    /// A payload that cannot be opened is a failure in the report and stops nothing.
    ///
    /// # Errors
    /// Those of the store and of [`KeyRing::refresh`]; what was done stays done.
    pub async fn run(
        mut self,
        mut progress: impl FnMut(&Progress) + Send,
    ) -> Result<JobReport, CredentialError> {
        let mut report = JobReport::default();
        self.sealer.ring().refresh()?;
        loop {
            let page = scan(&self.store, &self.ctx, self.after.clone()).await?;
            let before = self.after.take();
            let last = page.items.last().map(cursor_of);
            for at in page.damaged {
                report.note(at, Done::Failed(CredentialError::Tampered))?;
            }
            let steps = page.items.into_iter().map(|record| {
                let at = cursor_of(&record);
                let step = self.step(record, before.as_ref());
                async { (at, step.await) }
            });
            for (at, done) in together(steps).await {
                report.note(at, done?)?;
            }
            progress(&Progress {
                scanned: report.scanned,
                rewritten: report.rewritten,
                // Behind what could not be read as well.
                cursor: page.next.clone().or(last).or(before),
            });
            match page.next {
                Some(next) => self.after = Some(next),
                None => return Ok(report),
            }
        }
    }

    /// One payload; `before` is a place ahead of it.
    async fn step(
        &self,
        mut record: Record<Sealed>,
        before: Option<&ScanCursor>,
    ) -> Result<Done, CredentialError> {
        let at = cursor_of(&record);
        for _ in 0..ATTEMPTS {
            let since = self.ctx.now();
            let payload = match self.renew(&record) {
                Ok(Some(payload)) => payload,
                Ok(None) => return Ok(Done::Current),
                Err(error) => return Ok(Done::Failed(error)),
            };
            let sealed = payload.clone();
            let rewrite = Op::Rewrite(Rewrite {
                id: at.id.clone(),
                version: at.version,
                expected: record.payload,
                payload,
            });
            match call(&self.store, &self.ctx, rewrite).await {
                Ok(_) => {
                    let waited = self.ctx.now().signed_duration_since(since);
                    self.sealer.check_written(&sealed, waited)?;
                    return Ok(Done::Rewritten);
                }
                Err(error) if error.is_not_found() => return Ok(Done::Gone),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
            match find(&self.store, &self.ctx, before.cloned(), &at).await? {
                Some(now) => record = now,
                None => return Ok(Done::Gone),
            }
        }
        Err(CredentialError::unavailable(
            "another process keeps rewriting the same payloads; run one key job at a time",
        ))
    }

    fn renew(&self, record: &Record<Sealed>) -> Result<Option<Sealed>, CredentialError> {
        let place = Place {
            id: &record.head.id,
            version: &record.head.version,
        };
        match self.what {
            What::Rewrap => self.sealer.rewrap(place, &record.payload),
            What::ReEncrypt => {
                let secret = self.sealer.open(place, &record.payload)?;
                self.sealer.seal(place, &secret).map(Some)
            }
        }
    }
}

/// How far a job is.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Payloads looked at.
    pub scanned: u64,
    /// Payloads replaced.
    pub rewritten: u64,
    /// The last one dealt with; keep it to [`resume`](KeyJob::resume).
    pub cursor: Option<ScanCursor>,
}

/// What a job did.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobReport {
    /// Payloads looked at.
    pub scanned: u64,
    /// Payloads replaced.
    pub rewritten: u64,
    /// Payloads that needed nothing.
    pub current: u64,
    /// Payloads removed by others meanwhile.
    pub gone: u64,
    /// Payloads that could not be opened.
    pub failed: u64,
    /// The first hundred of those, and why.
    pub failures: Vec<(CredentialRef, Version, CredentialError)>,
}

/// What became of one payload.
enum Done {
    Rewritten,
    Current,
    Gone,
    Failed(CredentialError),
}

impl JobReport {
    fn note(&mut self, at: ScanCursor, done: Done) -> Result<(), CredentialError> {
        self.scanned += 1;
        match done {
            Done::Rewritten => self.rewritten += 1,
            Done::Current => self.current += 1,
            Done::Gone => self.gone += 1,
            Done::Failed(error) => return self.fail(at, error),
        }
        Ok(())
    }

    /// Notes a failure of one payload; passes on what is none.
    fn fail(&mut self, at: ScanCursor, error: CredentialError) -> Result<(), CredentialError> {
        match error.kind() {
            ErrorKind::Tampered
            | ErrorKind::UnsupportedFormat
            | ErrorKind::Unsupported
            | ErrorKind::Key
            | ErrorKind::LimitExceeded => {
                self.failed += 1;
                if self.failures.len() < FAILURES_LISTED {
                    self.failures.push((at.id, at.version, error));
                }
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// How many payloads of a store each key of a ring wraps: what
/// [`RingDraft::destroy_epoch`](crate::RingDraft::destroy_epoch) asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochUse {
    ring: RingId,
    started_at: DateTime<Utc>,
    counts: BTreeMap<Epoch, u64>,
    foreign: u64,
    unreadable: u64,
}

impl EpochUse {
    /// Scans a whole store: every version of every credential of every tenant, deleted or not.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn scan(store: &StoreHandle, ring: &KeyRing, ctx: &OpContext) -> Result<Self, CredentialError> {
        let sealer = Sealer::new(ring.clone());
        let mut found = Self {
            ring: ring.id(),
            started_at: ctx.now(),
            counts: BTreeMap::new(),
            foreign: 0,
            unreadable: 0,
        };
        let mut after = None;
        loop {
            let page = scan(store, ctx, after).await?;
            found.unreadable += page.damaged.len() as u64;
            for record in &page.items {
                match sealer.epoch_of(&record.payload) {
                    Ok(Some(epoch)) => *found.counts.entry(epoch).or_default() += 1,
                    Ok(None) => found.foreign += 1,
                    Err(_) => found.unreadable += 1,
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// How many payloads the key of `epoch` wraps.
    pub fn count(&self, epoch: Epoch) -> u64 {
        self.counts.get(&epoch).copied().unwrap_or(0)
    }

    /// The epochs in use, with the number of payloads each wraps.
    pub fn epochs(&self) -> impl Iterator<Item = (Epoch, u64)> {
        self.counts.iter().map(|(epoch, count)| (*epoch, *count))
    }

    /// Payloads sealed under another ring, or by a key provider.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Payloads that are no envelope this program knows.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// The ring whose keys were counted.
    pub fn ring(&self) -> RingId {
        self.ring
    }

    /// When the scan began.
    pub(crate) fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }
}

fn cursor_of(record: &Record<Sealed>) -> ScanCursor {
    ScanCursor {
        id: record.head.id.clone(),
        version: record.head.version.version,
    }
}

async fn call(
    store: &StoreHandle,
    ctx: &OpContext,
    op: Op<Sealed>,
) -> Result<Response<Sealed>, CredentialError> {
    let mut store = store.clone();
    poll_fn(|cx| store.poll_ready(cx)).await?;
    let ctx = ctx.clone();
    store.call(Request { ctx, op }).await
}

/// Starts `futures` one by one, each as far as it goes without waiting, and lets other tasks run in between; then waits
/// for all of them. Their outcomes, in their order.
async fn together<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    let mut started = 0;
    poll_fn(|cx| {
        if let Some((future, outcome)) = running.get_mut(started) {
            started += 1;
            if let Poll::Ready(done) = future.as_mut().poll(cx) {
                *outcome = Some(done);
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut left = false;
        for (future, outcome) in running.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => *outcome = Some(done),
                Poll::Pending => left = true,
            }
        }
        if left { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

async fn scan(
    store: &StoreHandle,
    ctx: &OpContext,
    after: Option<ScanCursor>,
) -> Result<ScanPage<Sealed>, CredentialError> {
    let op = Op::Scan(Scan { after, limit: PAGE });
    call(store, ctx, op).await?.into_scanned()
}

/// The payload at `at` as it is now, by a scan from a place before it: a read does not see deleted records.
async fn find(
    store: &StoreHandle,
    ctx: &OpContext,
    mut after: Option<ScanCursor>,
    at: &ScanCursor,
) -> Result<Option<Record<Sealed>>, CredentialError> {
    loop {
        let page = scan(store, ctx, after).await?;
        for record in page.items {
            let found = cursor_of(&record);
            if found == *at {
                return Ok(Some(record));
            }
            if found > *at {
                return Ok(None);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(None),
        }
    }
}

impl fmt::Display for JobReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} scanned, {} rewritten, {} current, {} gone, {} failed",
            self.scanned, self.rewritten, self.current, self.gone, self.failed
        )
    }
}
