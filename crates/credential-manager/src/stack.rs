//! The order of the layers, in one place.

use std::sync::Arc;

use nebula_credential_core::{CredentialError, Plaintext, Request, Response, Sealed, StoreHandle};
use tower::util::BoxCloneSyncService;
use tower_layer::Layer;
use tower_service::Service;

use crate::unlock::UnlockLayer;

/// Everything above the sealing layer, as one service.
pub type PlainService = BoxCloneSyncService<Request<Plaintext>, Response<Plaintext>, CredentialError>;

/// Everything below the sealing layer, as one service.
pub type SealedService = BoxCloneSyncService<Request<Sealed>, Response<Sealed>, CredentialError>;

type Wrap<S> = Arc<dyn Fn(S) -> S + Send + Sync>;

/// Layers of the program's own, the innermost first.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    plain: Vec<Wrap<PlainService>>,
    sealed: Vec<Wrap<SealedService>>,
}

impl Layers {
    pub(crate) fn add_plain<L>(&mut self, layer: L)
    where
        L: Layer<PlainService> + Send + Sync + 'static,
        L::Service: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<Plaintext>>>::Future: Send + 'static,
    {
        self.plain.push(Arc::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner))
        }));
    }

    pub(crate) fn add_sealed<L>(&mut self, layer: L)
    where
        L: Layer<SealedService> + Send + Sync + 'static,
        L::Service: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Request<Sealed>>>::Future: Send + 'static,
    {
        self.sealed.push(Arc::new(move |inner| {
            BoxCloneSyncService::new(layer.layer(inner))
        }));
    }

    /// The stack, from the inside out: store, the program's layers on sealed requests, the sealing layer, the
    /// program's layers on plain requests. Boxed where types would otherwise pile up.
    pub(crate) fn compose(&self, store: StoreHandle, encrypt: &UnlockLayer) -> PlainService {
        if self.sealed.is_empty() {
            return self.above(BoxCloneSyncService::new(encrypt.layer(store)));
        }
        let below = self
            .sealed
            .iter()
            .fold(BoxCloneSyncService::new(store), |inner, wrap| wrap(inner));
        self.above(BoxCloneSyncService::new(encrypt.layer(below)))
    }

    fn above(&self, inner: PlainService) -> PlainService {
        self.plain.iter().fold(inner, |inner, wrap| wrap(inner))
    }
}
