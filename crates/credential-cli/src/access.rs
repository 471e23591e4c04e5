//! The access policy of a run, also over what is told without a key.

use std::future::poll_fn;
use std::path::Path;
use std::task::{Context, Poll};

use nebula_credential::access::{AccessLayer, PolicyFile};
use nebula_credential::audit::{AuditLayer, AuditLogger};
use nebula_credential::{
    BoxFuture, CredentialError, ErrorKind, LocalStorage, Op, Plaintext, Request, Response, SecretStore as _,
};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::exit::{Failure, Outcome};

/// The policy in a file: one that does not hold as a whole is none, and nothing is done without it.
pub(crate) fn open(path: &Path) -> Outcome<AccessLayer> {
    match PolicyFile::open(path) {
        Ok(file) => Ok(AccessLayer::new(file.policies())),
        Err(error) => {
            let kind = error.kind();
            let failure = Failure::from(error);
            let help = failure
                .help
                .clone()
                .unwrap_or_else(|| "correct it; `ncred policy check FILE` looks at it again".to_owned());
            Err(match kind {
                ErrorKind::InsecureStorage => failure,
                // The others name no file, or are about the path that was given.
                ErrorKind::Storage => Failure::usage(failure.message, help),
                _ => {
                    let what = failure.message.trim_start_matches("cannot parse: ");
                    Failure::usage(format!("{}: {what}", path.display()), help)
                }
            })
        }
    }
}

type Answer = Result<Response<Plaintext>, CredentialError>;

/// Asks `storage` for what needs no key, as far as `access` allows. What it refuses or filters is recorded in `log`.
pub(crate) async fn ask(
    access: Option<&AccessLayer>,
    log: Option<&AuditLogger>,
    storage: &LocalStorage,
    request: Request<Plaintext>,
) -> Answer {
    let store = Heads(storage.clone());
    let Some(access) = access else {
        return store.answer(request).await;
    };
    let guarded = access.layer(store);
    match log {
        Some(log) => call(AuditLayer::new(log.clone()).layer(guarded), request).await,
        None => call(guarded, request).await,
    }
}

async fn call<S>(mut service: S, request: Request<Plaintext>) -> Answer
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// What a store tells without a key, as a service.
#[derive(Clone)]
struct Heads(LocalStorage);

impl Heads {
    async fn answer(self, request: Request<Plaintext>) -> Answer {
        let Request { ctx, op } = request;
        match op {
            Op::Head(get) => self.0.head(&ctx, get).await.map(Response::Head),
            Op::List(list) => self.0.list(&ctx, list).await.map(Response::Page),
            Op::Versions(id) => self.0.versions(&ctx, id).await.map(Response::Versions),
            _ => Err(CredentialError::unsupported(
                "this needs a key; unlock the store first",
            )),
        }
    }
}

impl Service<Request<Plaintext>> for Heads {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
