//! The sealing layer: [`Plaintext`] above, [`Sealed`] below.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    BoxFuture, Clock, CredentialError, CredentialRef, Get, KeyProvider, Op, OpContext, Plaintext, Put,
    Record, Request, Response, Rewrite, Sealed, Selector, VersionHead,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::Suite;
use crate::direct::DirectSealer;
use crate::envelope::Place;
use crate::ring::KeyRing;
use crate::sealer::Sealer;

/// Seals what goes down the stack and opens what comes up: the only place where trust changes.
///
/// What is sealed is bound to the address the caller gave and to version, type, schema and times; what a store
/// answers opens only at the address that was asked for.
#[derive(Clone)]
pub struct EncryptLayer(Keys);

#[derive(Clone)]
enum Keys {
    Ring(Sealer),
    Direct(Arc<dyn Direct>),
    Locked,
}

impl EncryptLayer {
    /// Seals under a key ring. No key is waited for.
    pub fn new(ring: KeyRing) -> Self {
        Self(Keys::Ring(Sealer::new(ring)))
    }

    /// Has `provider` wrap each data key: an HSM or a KMS is asked once for each value read or stored.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`] without memory or random bytes for a key.
    pub fn direct(provider: impl KeyProvider) -> Result<Self, CredentialError> {
        let sealer = DirectSealer::new(provider, Suite::default())?;
        Ok(Self(Keys::Direct(Arc::new(sealer))))
    }

    /// Passes what carries no payload, and refuses the rest with [`CredentialError::Unlock`]: no value is read or
    /// stored.
    pub fn locked() -> Self {
        Self(Keys::Locked)
    }
}

impl fmt::Debug for EncryptLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(sealer) => f.debug_tuple("Ring").field(sealer.ring()).finish(),
            Self::Direct(_) => f.write_str("Direct"),
            Self::Locked => f.write_str("Locked"),
        }
    }
}

impl<S> Layer<S> for EncryptLayer {
    type Service = Encrypt<S>;

    fn layer(&self, inner: S) -> Encrypt<S> {
        Encrypt {
            keys: self.0.clone(),
            inner,
        }
    }
}

/// The service an [`EncryptLayer`] makes.
#[derive(Debug, Clone)]
pub struct Encrypt<S> {
    keys: Keys,
    inner: S,
}

impl<S> Service<Request<Plaintext>> for Encrypt<S>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Result<Response<Plaintext>, CredentialError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        // The one that was polled ready serves this call; its clone must be polled anew.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let keys = self.keys.clone();
        let Request { ctx, op } = request;
        match op {
            Op::Get(op) => Box::pin(get(keys, inner, ctx, op)),
            Op::Put(op) => Box::pin(put(keys, inner, ctx, op)),
            Op::Rewrite(op) => Box::pin(rewrite(keys, inner, ctx, op)),
            op => match without_payload(op) {
                Some(op) => {
                    let answer = inner.call(Request { ctx, op });
                    Box::pin(async move { payload_free(answer.await?) })
                }
                None => Box::pin(async {
                    Err(CredentialError::unsupported(
                        "this operation does not pass the sealing layer; scans are for key jobs below it",
                    ))
                }),
            },
        }
    }
}

async fn get<S>(
    keys: Keys,
    mut inner: S,
    ctx: OpContext,
    op: Get,
) -> Result<Response<Plaintext>, CredentialError>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>,
{
    let asked = op.clone();
    let request = Request { ctx, op: Op::Get(op) };
    let Record { head, payload } = inner.call(request).await?.into_record()?;
    let other_version = matches!(asked.version, Selector::Exact(version) if head.version.version != version);
    // The head is the store's word; where it is not what was asked for, the store is broken or lies.
    if head.id != asked.id || other_version {
        return Err(CredentialError::Tampered);
    }
    let place = Place {
        id: &asked.id,
        version: &head.version,
    };
    let payload = keys.open(place, &payload).await?;
    Ok(Response::Record(Record { head, payload }))
}

async fn put<S>(
    keys: Keys,
    mut inner: S,
    ctx: OpContext,
    op: Put<Plaintext>,
) -> Result<Response<Plaintext>, CredentialError>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>,
{
    let Put {
        id,
        version,
        phase,
        tags,
        payload,
        precondition,
        token,
        keep_versions,
    } = op;
    let written = Written::now(&ctx);
    let payload = keys.seal(&id, &version, payload).await?;
    let sealed = payload.clone();
    let op = Op::Put(Put {
        id,
        version,
        phase,
        tags,
        payload,
        precondition,
        token,
        keep_versions,
    });
    let answer = payload_free(inner.call(Request { ctx, op }).await?)?;
    written.check(&keys, &sealed)?;
    Ok(answer)
}

/// Seals a version anew. Its head is read first, for the context; it never changes, so the store need only compare
/// the payload.
async fn rewrite<S>(
    keys: Keys,
    mut inner: S,
    ctx: OpContext,
    op: Rewrite<Plaintext>,
) -> Result<Response<Plaintext>, CredentialError>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>,
{
    let Rewrite {
        id,
        version,
        expected,
        payload,
    } = op;
    let read = Op::Head(Get {
        id: id.clone(),
        version: Selector::Exact(version),
    });
    let request = Request {
        ctx: ctx.clone(),
        op: read,
    };
    let head = inner.call(request).await?.into_head()?;
    if head.id != id || head.version.version != version {
        return Err(CredentialError::Tampered);
    }
    let written = Written::now(&ctx);
    let payload = keys.seal(&id, &head.version, payload).await?;
    let sealed = payload.clone();
    let op = Op::Rewrite(Rewrite {
        id,
        version,
        expected,
        payload,
    });
    poll_fn(|cx| inner.poll_ready(cx)).await?;
    let answer = payload_free(inner.call(Request { ctx, op }).await?)?;
    written.check(&keys, &sealed)?;
    Ok(answer)
}

/// When something was sealed, to be asked when it is written.
struct Written {
    clock: Arc<dyn Clock>,
    since: DateTime<Utc>,
}

impl Written {
    fn now(ctx: &OpContext) -> Self {
        Self {
            clock: Arc::clone(&ctx.clock),
            since: ctx.now(),
        }
    }

    /// A write is not acknowledged if nothing opens it any more.
    fn check(&self, keys: &Keys, sealed: &Sealed) -> Result<(), CredentialError> {
        match keys {
            Keys::Ring(sealer) => {
                sealer.check_written(sealed, self.clock.now().signed_duration_since(self.since))
            }
            Keys::Direct(_) | Keys::Locked => Ok(()),
        }
    }
}

/// Operations that carry no payload mean the same above and below.
fn without_payload(op: Op<Plaintext>) -> Option<Op<Sealed>> {
    Some(match op {
        Op::Head(op) => Op::Head(op),
        Op::Update(op) => Op::Update(op),
        Op::Delete(op) => Op::Delete(op),
        Op::Restore(op) => Op::Restore(op),
        Op::List(op) => Op::List(op),
        Op::Versions(id) => Op::Versions(id),
        _ => return None,
    })
}

fn payload_free(response: Response<Sealed>) -> Result<Response<Plaintext>, CredentialError> {
    Ok(match response {
        Response::Head(head) => Response::Head(head),
        Response::Page(page) => Response::Page(page),
        Response::Versions(versions) => Response::Versions(versions),
        Response::Done => Response::Done,
        _ => {
            return Err(CredentialError::internal(
                "a layer below the sealing layer answered with the wrong kind of response",
            ));
        }
    })
}

impl Keys {
    /// Takes the secret, so that it is wiped before anything below is waited for.
    async fn seal(
        &self,
        id: &CredentialRef,
        version: &VersionHead,
        secret: Plaintext,
    ) -> Result<Sealed, CredentialError> {
        let place = Place { id, version };
        match self {
            Self::Ring(sealer) => sealer.seal(place, &secret),
            Self::Direct(direct) => direct.seal(place, secret).await,
            Self::Locked => Err(locked()),
        }
    }

    async fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Plaintext, CredentialError> {
        match self {
            Self::Ring(sealer) => sealer.open(place, sealed),
            Self::Direct(direct) => direct.open(place, sealed).await,
            Self::Locked => Err(locked()),
        }
    }
}

fn locked() -> CredentialError {
    CredentialError::unlock_failed(
        "values are neither read nor stored without a key; name what unlocks the store",
    )
}

/// [`DirectSealer`] of any provider.
trait Direct: Send + Sync {
    fn seal<'a>(
        &'a self,
        place: Place<'a>,
        secret: Plaintext,
    ) -> BoxFuture<'a, Result<Sealed, CredentialError>>;

    fn open<'a>(
        &'a self,
        place: Place<'a>,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Plaintext, CredentialError>>;
}

impl<K: KeyProvider> Direct for DirectSealer<K> {
    fn seal<'a>(
        &'a self,
        place: Place<'a>,
        secret: Plaintext,
    ) -> BoxFuture<'a, Result<Sealed, CredentialError>> {
        Box::pin(Self::seal(self, place, secret))
    }

    fn open<'a>(
        &'a self,
        place: Place<'a>,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Plaintext, CredentialError>> {
        Box::pin(Self::open(self, place, sealed))
    }
}
