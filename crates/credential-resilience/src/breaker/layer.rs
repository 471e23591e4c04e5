//! The breaker around a service.

use std::task::{Context, Poll};

use nebula_credential_core::{BoxFuture, CredentialError, Request, Response, Sealed};
use tower_layer::Layer;
use tower_service::Service;

use super::CircuitBreaker;

/// Keeps requests from a store that fails.
#[derive(Debug, Clone)]
pub struct BreakerLayer(CircuitBreaker);

impl BreakerLayer {
    /// Asks `breaker` before the store is asked.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self(breaker)
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Breaker<S>;

    fn layer(&self, inner: S) -> Breaker<S> {
        Breaker {
            inner,
            breaker: self.0.clone(),
        }
    }
}

/// The service a [`BreakerLayer`] makes.
#[derive(Debug, Clone)]
pub struct Breaker<S> {
    inner: S,
    breaker: CircuitBreaker,
}

impl<S> Service<Request<Sealed>> for Breaker<S>
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>,
    S::Future: Send + 'static,
{
    type Response = Response<Sealed>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Result<Response<Sealed>, CredentialError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Sealed>) -> Self::Future {
        let sample = match self.breaker.admit() {
            Ok(sample) => sample,
            Err(open) => return Box::pin(async { Err(open) }),
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            sample.record(&answer);
            answer
        })
    }
}
