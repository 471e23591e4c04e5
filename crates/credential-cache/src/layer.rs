//! The layer: hits are answered in place, one read serves all who miss, writes empty the cache before they are
//! acknowledged.

mod read;
mod write;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nebula_credential_core::{
    BoxFuture, CredentialError, CredentialRef, Get, Op, OpContext, Plaintext, Request, Response, Version,
};
use tower_layer::Layer;
use tower_service::Service;

use self::read::Read;
use self::write::{Effect, Write};
use crate::config::CacheBuilder;
use crate::key::Key;
use crate::state::{Found, State};
use crate::stats::CacheStats;

/// Keeps values that were read in memory, sealed, for a while. Clones are the same cache: one for one store.
///
/// Stands below access control, whose decision a hit must not bypass, and above the sealing layer.
///
/// # Panics
/// In a tokio runtime without time enabled, a read with a deadline that memory does not answer does. Outside of a runtime it
/// waits for what another reads, without regard to the deadline.
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
