//! The layer: hits are answered in place, one read serves all who miss, writes empty the cache before they are
//! acknowledged.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    BoxFuture, CredentialError, CredentialRef, Get, Op, OpContext, Plaintext, Record, Request, Response,
    Version,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::config::{CacheBuilder, unreachable};
use crate::entry::{Entry, Failure};
use crate::fence::Stamp;
use crate::floor::Floor;
use crate::key::Key;
use crate::state::{Found, Outcome, State};
use crate::stats::{Answered, CacheStats};

/// Keeps values that were read in memory, sealed, for a while. Clones are the same cache: one for one store.
///
/// Stands below access control, whose decision a hit must not bypass, and above the sealing layer.
#[derive(Clone)]
pub struct CacheLayer(Arc<State>);

impl CacheLayer {
    /// A cache with every setting at its default.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`] without memory or random bytes for a key.
    pub fn new() -> Result<Self, CredentialError> {
        Self::builder().build()
    }

    /// A cache with settings of one's own.
    pub fn builder() -> CacheBuilder {
        CacheBuilder::default()
    }

    pub(crate) fn of(config: CacheBuilder) -> Result<Self, CredentialError> {
        Ok(Self(Arc::new(State::new(config)?)))
    }

    /// The other side refused `version` of `id`: exactly that version is forgotten, and the store asked again. A newer
    /// one that is kept by now stays.
    pub fn rejected(&self, id: &CredentialRef, version: Version) {
        self.0.rejected(id, version);
    }

    /// Forgets every version of `id`. What is being read at the moment will not be kept.
    pub fn invalidate(&self, id: &CredentialRef) {
        self.0.changed(id);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// What it did since it was made.
    pub fn stats(&self) -> CacheStats {
        self.0.tally.stats(self.0.count())
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("ttl", &self.0.config.ttl)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache {
            state: Arc::clone(&self.0),
            inner,
        }
    }
}

/// The service a [`CacheLayer`] makes. Always ready: what is below is made ready when it is asked, so that a hit
/// takes no permit of a layer that limits.
#[derive(Clone)]
pub struct Cache<S> {
    state: Arc<State>,
    inner: S,
}

impl<S> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

type Answer = Result<Response<Plaintext>, CredentialError>;

/// The answer of a [`Cache`]: there already, or on its way.
pub struct CacheFuture(Progress);

enum Progress {
    Done(Option<Answer>),
    Asking(BoxFuture<'static, Answer>),
}

impl Future for CacheFuture {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match &mut self.0 {
            Progress::Done(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Progress::Asking(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for CacheFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheFuture")
    }
}

impl<S> Service<Request<Plaintext>> for Cache<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = CacheFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Plaintext>) -> CacheFuture {
        let Request { ctx, op } = request;
        let op = match op {
            Op::Get(Get { id, version }) => return self.get(Key { id, version }, ctx),
            op => op,
        };
        let (state, inner) = (Arc::clone(&self.state), self.inner.clone());
        let effect = Effect::of(&op);
        CacheFuture(Progress::Asking(Box::pin(async move {
            let write = effect.map(|effect| Write::begin(state, effect));
            let clock = Arc::clone(&ctx.clock);
            let answer = ask(inner, Request { ctx, op }).await;
            if let Some(write) = write {
                write.end(&answer, clock.now());
            }
            answer
        })))
    }
}

impl<S> Cache<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    fn get(&self, key: Key, mut ctx: OpContext) -> CacheFuture {
        // Here and not above: whoever records what is asked learns of it.
        if let Err(late) = ctx.check_deadline() {
            return CacheFuture(Progress::Done(Some(Err(late))));
        }
        let stale = match self.state.find(&key, &ctx) {
            Found::Answer(answer) => {
                return CacheFuture(Progress::Done(Some(answer.map(Response::Record))));
            }
            Found::Stale(entry) => Some(entry),
            Found::Nothing => None,
        };
        ctx.report.get_or_insert_default();
        let read = Read {
            state: Arc::clone(&self.state),
            inner: self.inner.clone(),
            key,
            ctx,
        };
        CacheFuture(Progress::Asking(Box::pin(async move {
            read.or(stale).await.map(Response::Record)
        })))
    }
}

/// Makes `inner` ready and asks it.
async fn ask<S>(mut inner: S, request: Request<Plaintext>) -> Answer
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    poll_fn(|cx| inner.poll_ready(cx)).await?;
    inner.call(request).await
}

/// A read that memory did not answer.
struct Read<S> {
    state: Arc<State>,
    inner: S,
    key: Key,
    ctx: OpContext,
}

/// Why a read has nothing for those who wait for it: its own caller's answer lies apart.
struct Unshared;

impl<S> Read<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError> + Clone,
{
    /// Reads; falls back on `stale` if the store cannot be reached.
    async fn or(self, stale: Option<Arc<Entry>>) -> Result<Record<Plaintext>, CredentialError> {
        match (self.in_time().await, stale) {
            // That this caller had no time says nothing of the store.
            (Err(error), Some(stale)) if unreachable(&error) && !self.is_late(&error) => self
                .state
                .fall_back(&self.key, &stale, &self.ctx, self.cut_short().is_none())
                .unwrap_or(Err(error)),
            (answer, _) => answer,
        }
    }

    /// Whether a read ended in `error` for want of time. Who says that it is up may go by another clock than the request.
    fn is_late(&self, error: &CredentialError) -> bool {
        matches!(error, CredentialError::DeadlineExceeded(_)) || self.ctx.check_deadline().is_err()
    }

    /// After what time the store would have been asked again, had this caller had it.
    fn cut_short(&self) -> Option<Duration> {
        self.ctx.report.as_ref().and_then(|report| report.cut_short())
    }

    /// Whether the answer was found past a store that could not be reached, and may be old.
    fn passed_over(&self) -> bool {
        let report = self.ctx.report.as_ref();
        report.is_some_and(|report| report.has_passed_over())
    }

    /// Waits no longer than this caller has time: another caller's read may take as long as that one has.
    async fn in_time(&self) -> Result<Record<Plaintext>, CredentialError> {
        self.ctx.check_deadline()?;
        match self.ctx.deadline.map(|deadline| deadline - self.ctx.now()) {
            Some(left) if tokio::runtime::Handle::try_current().is_ok() => {
                tokio::time::timeout(left.to_std().unwrap_or_default(), self.read())
                    .await
                    .unwrap_or_else(|_| {
                        Err(CredentialError::deadline_exceeded(
                            "the value did not come in time; allow more time",
                        ))
                    })
            }
            _ => self.read().await,
        }
    }

    async fn read(&self) -> Result<Record<Plaintext>, CredentialError> {
        loop {
            let Some(stamp) = self.state.fence.stamp(&self.key.id) else {
                return self.ask().await;
            };
            if let Some(answer) = self.with_others(stamp).await {
                return answer;
            }
        }
    }

    /// `None` if another caller's read ended for want of time that this caller has.
    async fn with_others(&self, stamp: Stamp) -> Option<Result<Record<Plaintext>, CredentialError>> {
        let ticket = self.state.flights.join(&self.key, stamp);
        let mut own = None;
        let lead = async {
            // Another read may have landed after this caller looked and before it joined.
            if let Found::Answer(answer) = self.state.find(&self.key, &self.ctx) {
                own = Some(answer);
                return Err(Unshared);
            }
            let began = self.ctx.now();
            match self.ask().await {
                Ok(record) => {
                    let body = self.state.seal(&self.key, &stamp, &record);
                    own = Some(Ok(record));
                    ticket.land(|| match &body {
                        // What is kept, if anything, may be newer.
                        Some(_) if self.passed_over() => {}
                        Some(body) => self.state.keep_value(&self.key, stamp, began, body),
                        None => self.state.disown(&self.key),
                    });
                    body.map(Ok).ok_or(Unshared)
                }
                // Those who wait may have more time.
                Err(error) if self.is_late(&error) => {
                    own = Some(Err(error));
                    Err(Unshared)
                }
                Err(error) => {
                    own = Some(Err(error.clone()));
                    let cut_short = self.cut_short();
                    let failure = Failure { error, cut_short };
                    ticket.land(|| self.state.keep_error(&self.key, stamp, self.ctx.now(), &failure));
                    Ok(Err(failure))
                }
            }
        };
        let shared: Option<Outcome> = ticket.wait(lead).await;
        Some(match (own, shared) {
            (Some(own), _) => own,
            (None, Some(Err(failure))) if !failure.answers(&self.ctx) => return None,
            (None, Some(outcome)) => {
                self.state.tally.answered(Answered::Shared, None);
                match outcome {
                    Ok(body) => self.state.serve_shared(&self.key, &stamp, &self.ctx, &body),
                    Err(failure) => Err(failure.error),
                }
            }
            (None, None) => Err(CredentialError::internal("a shared read ended without an answer")),
        })
    }

    async fn ask(&self) -> Result<Record<Plaintext>, CredentialError> {
        self.state.tally.answered(Answered::Store, None);
        let op = Op::Get(Get {
            id: self.key.id.clone(),
            version: self.key.version,
        });
        let request = Request {
            ctx: self.ctx.clone(),
            op,
        };
        ask(self.inner.clone(), request).await?.into_record()
    }
}

/// What an operation makes stale.
enum Effect {
    One(CredentialRef),
    /// Of one that is gone afterwards.
    Gone(CredentialRef),
    All,
}

impl Effect {
    /// `None` for what only reads.
    fn of(op: &Op<Plaintext>) -> Option<Self> {
        match op {
            Op::Get(_) | Op::Head(_) | Op::List(_) | Op::Versions(_) | Op::Scan(_) => None,
            Op::Put(op) => Some(Self::One(op.id.clone())),
            Op::Rewrite(op) => Some(Self::One(op.id.clone())),
            Op::Update(op) => Some(Self::One(op.id.clone())),
            Op::Delete(op) => Some(Self::Gone(op.id.clone())),
            Op::Restore(op) => Some(Self::One(op.id.clone())),
            // An operation this version does not know may write anything.
            _ => Some(Self::All),
        }
    }
}

/// A write under way: copies are stale from before it begins until after it ended, however it ends.
struct Write {
    state: Arc<State>,
    effect: Effect,
    /// Whether it is known to be over.
    over: bool,
}

impl Write {
    fn begin(state: Arc<State>, effect: Effect) -> Self {
        let write = Self {
            state,
            effect,
            over: false,
        };
        write.invalidate();
        write
    }

    fn end(mut self, answer: &Answer, now: DateTime<Utc>) {
        self.over = !matches!(
            answer,
            Err(CredentialError::OutcomeUnknown(_) | CredentialError::DeadlineExceeded(_))
        );
        match (&self.effect, answer) {
            (Effect::One(id), Ok(Response::Head(head))) => {
                self.state.acknowledged(id, Floor::Version(head.latest), now);
            }
            (Effect::Gone(id), Ok(_)) => self.state.acknowledged(id, Floor::Gone, now),
            _ => {}
        }
    }

    fn invalidate(&self) {
        match &self.effect {
            Effect::One(id) | Effect::Gone(id) => self.state.changed(id),
            Effect::All => self.state.clear(),
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if let (false, Effect::One(id) | Effect::Gone(id)) = (self.over, &self.effect) {
            self.state.fence.unsettle(id);
        }
        self.invalidate();
    }
}
