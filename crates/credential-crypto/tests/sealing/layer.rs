//! The sealing layer in a stack.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use nebula_credential_core::{
    CredentialError, DataKey, Delete, DeleteMode, ErrorKind, Get, KeyProvider, List, Op, OpContext, Phase,
    Plaintext, Precondition, Put, Record, Request, Response, Restore, Rewrite, Scan, Sealed, Selector,
    StoreHandle, TenantId, Update, Version, WrappedKey,
};
use nebula_credential_crypto::{EncryptLayer, EpochUse, KeyRing, Suite};
use tower::{Layer, Service, ServiceExt as _};

use crate::common::store::MemoryStore;
use crate::common::{Row, plain, ring, time};

pub async fn call<S>(stack: &mut S, op: Op<Plaintext>) -> Result<Response<Plaintext>, CredentialError>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    let ctx = OpContext::default();
    stack.ready().await?.call(Request { ctx, op }).await
}

pub fn put(row: &Row, secret: &[u8]) -> Op<Plaintext> {
    Op::Put(Put {
        id: row.id.clone(),
        version: row.version.clone(),
        phase: Phase::Active,
        tags: None,
        payload: plain(secret),
        precondition: Precondition::None,
        token: None,
        keep_versions: 10,
    })
}

pub fn get(row: &Row) -> Op<Plaintext> {
    Op::Get(Get {
        id: row.id.clone(),
        version: Selector::Latest,
    })
}

async fn read<S>(stack: &mut S, row: &Row) -> Result<Vec<u8>, CredentialError>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    let Record { head, payload } = call(stack, get(row)).await?.into_record()?;
    assert_eq!(head.id, row.id);
    Ok(payload.expose().to_vec())
}

#[tokio::test]
async fn what_is_put_is_sealed_below_and_plain_above() {
    let store = MemoryStore::default();
    let mut stack = EncryptLayer::new(ring(Suite::default())).layer(store.handle());
    let row = Row::new("db");
    call(&mut stack, put(&row, b"hunter2")).await.unwrap();
    let bytes = store.payload(&row.id, 1);
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    assert_eq!(read(&mut stack, &row).await.unwrap(), b"hunter2");

    let error = call(&mut stack, put(&Row::new("big"), &vec![0; 1024 * 1024 + 1]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn what_carries_no_payload_passes_through() {
    let store = MemoryStore::default();
    let mut stack = EncryptLayer::new(ring(Suite::default())).layer(store.handle());
    let row = Row::new("db");
    call(&mut stack, put(&row, b"x")).await.unwrap();
    let id = row.id.clone();
    let version = Selector::Latest;
    let head = Op::Head(Get { id, version });
    let head = call(&mut stack, head).await.unwrap().into_head().unwrap();
    assert_eq!(head.version, row.version);
    let list = Op::List(List::of(TenantId::default()));
    let page = call(&mut stack, list).await.unwrap().into_page().unwrap();
    assert_eq!(page.items.len(), 1);
    let versions = call(&mut stack, Op::Versions(row.id.clone())).await.unwrap();
    assert_eq!(
        versions.into_versions().unwrap(),
        std::slice::from_ref(&row.version)
    );
    let update = Op::Update(Update {
        id: row.id.clone(),
        tags: None,
        phase: None,
        precondition: Precondition::None,
    });
    assert!(call(&mut stack, update).await.unwrap().into_head().is_ok());
    let delete = Op::Delete(Delete {
        id: row.id.clone(),
        mode: DeleteMode::Soft,
        precondition: Precondition::None,
    });
    assert!(matches!(call(&mut stack, delete).await, Ok(Response::Done)));
    assert!(read(&mut stack, &row).await.unwrap_err().is_not_found());
    call(&mut stack, Op::Restore(Restore { id: row.id.clone() }))
        .await
        .unwrap();
    assert_eq!(read(&mut stack, &row).await.unwrap(), b"x");

    // A scan crosses tenants; it stays below.
    let scan = Op::Scan(Scan {
        after: None,
        limit: 1,
    });
    let error = call(&mut stack, scan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_rewrite_seals_anew_under_the_condition_it_was_given() {
    let store = MemoryStore::default();
    let mut stack = EncryptLayer::new(ring(Suite::default())).layer(store.handle());
    let mut row = Row::new("db");
    row.version.expires_at = Some(time(99));
    call(&mut stack, put(&row, b"x")).await.unwrap();
    let before = store.payload(&row.id, 1);
    let rewrite = |expected: Vec<u8>| {
        Op::Rewrite(Rewrite {
            id: row.id.clone(),
            version: Version::FIRST,
            expected: Sealed::envelope(expected).unwrap(),
            payload: plain(b"x"),
        })
    };
    assert!(matches!(
        call(&mut stack, rewrite(before.clone())).await,
        Ok(Response::Done)
    ));
    let after = store.payload(&row.id, 1);
    assert_ne!(before[13..45], after[13..45], "the salt is fresh");
    assert_eq!(read(&mut stack, &row).await.unwrap(), b"x");
    let error = call(&mut stack, rewrite(before)).await.unwrap_err();
    assert!(error.is_conflict());
}

#[tokio::test]
async fn a_store_that_answers_with_another_record_is_not_believed() {
    let store = MemoryStore::default();
    let layer = EncryptLayer::new(ring(Suite::default()));
    let mut stack = layer.layer(store.handle());
    let (one, two) = (Row::new("one"), Row::new("two"));
    call(&mut stack, put(&one, b"1")).await.unwrap();
    call(&mut stack, put(&two, b"2")).await.unwrap();
    // Bytes of one under the name of the other.
    store.overwrite(&two.id, 1, &store.payload(&one.id, 1));
    let error = read(&mut stack, &two).await.unwrap_err();
    assert_eq!(error, CredentialError::Tampered);

    // The whole record of another: the stack asks for `two` and is given `one`, head and all.
    let liar = tower::service_fn({
        let store = store.handle();
        let id = one.id.clone();
        move |mut request: Request<Sealed>| {
            if let Op::Get(op) = &mut request.op {
                op.id = id.clone();
            }
            store.clone().oneshot(request)
        }
    });
    let error = read(&mut layer.layer(liar), &two).await.unwrap_err();
    assert_eq!(error, CredentialError::Tampered);

    // Another version than the one asked for.
    let mut newer = one.clone();
    newer.version.version = Version::new(2).unwrap();
    call(&mut stack, put(&newer, b"1b")).await.unwrap();
    let liar = tower::service_fn({
        let store = store.handle();
        move |mut request: Request<Sealed>| {
            if let Op::Get(op) = &mut request.op {
                op.version = Selector::Exact(Version::FIRST);
            }
            store.clone().oneshot(request)
        }
    });
    let exact = Op::Get(Get {
        id: one.id.clone(),
        version: Selector::Exact(newer.version.version),
    });
    let error = call(&mut layer.layer(liar), exact).await.unwrap_err();
    assert_eq!(error, CredentialError::Tampered);
}

/// Serves one call for each time it was polled ready, and panics otherwise, as tower allows.
struct Strict {
    store: StoreHandle,
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            ready: false,
        }
    }
}

impl Service<Request<Sealed>> for Strict {
    type Response = Response<Sealed>;
    type Error = CredentialError;
    type Future = <StoreHandle as Service<Request<Sealed>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CredentialError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Sealed>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.store.call(request)
    }
}

#[tokio::test]
async fn the_service_below_is_called_only_when_it_is_ready() {
    let store = MemoryStore::default();
    let strict = Strict {
        store: store.handle(),
        ready: false,
    };
    let mut stack = EncryptLayer::new(ring(Suite::default())).layer(strict);
    let row = Row::new("db");
    for number in 1..4 {
        let mut row = row.clone();
        row.version.version = Version::new(number).unwrap();
        call(&mut stack, put(&row, b"x")).await.unwrap();
        read(&mut stack, &row).await.unwrap();
    }
    let expected = Sealed::envelope(store.payload(&row.id, 3)).unwrap();
    let rewrite = Op::Rewrite(Rewrite {
        id: row.id.clone(),
        version: Version::new(3).unwrap(),
        expected,
        payload: plain(b"x"),
    });
    call(&mut stack, rewrite).await.unwrap();
}

struct Kms {
    asked: Arc<AtomicUsize>,
}

impl Kms {
    fn mix(context: &[u8], bytes: &[u8]) -> [u8; 32] {
        let pad = blake3::keyed_hash(&[9; 32], context);
        std::array::from_fn(|at| bytes[at] ^ pad.as_bytes()[at])
    }
}

impl KeyProvider for Kms {
    async fn wrap(&self, key: &DataKey, context: &[u8]) -> Result<WrappedKey, CredentialError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(WrappedKey {
            reference: b"arn:aws:kms:eu-central-1:1:key/7".to_vec(),
            bytes: Self::mix(context, key.expose()).to_vec(),
        })
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, CredentialError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!(wrapped.reference, b"arn:aws:kms:eu-central-1:1:key/7");
        Ok(DataKey::take(&mut Self::mix(context, &wrapped.bytes)))
    }
}

#[tokio::test]
async fn in_direct_mode_a_key_provider_wraps_every_data_key() {
    let store = MemoryStore::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let kms = Kms {
        asked: Arc::clone(&asked),
    };
    let layer = EncryptLayer::direct(kms).unwrap();
    let mut stack = layer.layer(store.handle());
    let row = Row::new("db");
    call(&mut stack, put(&row, b"hunter2")).await.unwrap();
    assert_eq!(read(&mut stack, &row).await.unwrap(), b"hunter2");
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    let other = Row::new("other");
    call(&mut stack, put(&other, b"x")).await.unwrap();
    store.overwrite(&other.id, 1, &store.payload(&row.id, 1));
    let error = read(&mut stack, &other).await.unwrap_err();
    assert_eq!(error, CredentialError::Tampered);

    // The two modes say which of them a record needs.
    let mut with_ring = EncryptLayer::new(ring(Suite::default())).layer(store.handle());
    let error = read(&mut with_ring, &row).await.unwrap_err();
    assert!(error.to_string().contains("with that provider"), "{error}");
    let third = Row::new("third");
    call(&mut with_ring, put(&third, b"x")).await.unwrap();
    let error = read(&mut stack, &third).await.unwrap_err();
    assert!(error.to_string().contains("with that key ring"), "{error}");
}

#[tokio::test]
async fn a_locked_layer_passes_what_carries_no_payload_and_nothing_else() {
    let store = MemoryStore::default();
    let row = Row::new("db");
    let mut unlocked = EncryptLayer::new(ring(Suite::default())).layer(store.handle());
    call(&mut unlocked, put(&row, b"x")).await.unwrap();

    let mut stack = EncryptLayer::locked().layer(store.handle());
    let read = read(&mut stack, &row).await.unwrap_err();
    let written = call(&mut stack, put(&Row::new("other"), b"x")).await.unwrap_err();
    for error in [read, written] {
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(error.to_string().contains("name what unlocks"), "{error}");
    }
    let list = || Op::List(List::of(TenantId::default()));
    let page = call(&mut stack, list()).await.unwrap().into_page().unwrap();
    assert_eq!(page.items.len(), 1, "nothing was written");
    let delete = Op::Delete(Delete {
        id: row.id.clone(),
        mode: DeleteMode::Purge,
        precondition: Precondition::None,
    });
    assert!(matches!(call(&mut stack, delete).await, Ok(Response::Done)));
    let page = call(&mut stack, list()).await.unwrap().into_page().unwrap();
    assert!(page.items.is_empty());
}

#[test]
fn the_layer_is_what_a_stack_asks_for() {
    fn bounds<T: Clone + Send + Sync + 'static>() {}
    bounds::<EncryptLayer>();
    bounds::<<EncryptLayer as Layer<StoreHandle>>::Service>();
    bounds::<KeyRing>();
}

/// A clock that stands until it is set.
#[derive(Clone, Default)]
struct Standing(Arc<std::sync::atomic::AtomicI64>);

impl nebula_credential_core::Clock for Standing {
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        time(self.0.load(Ordering::Relaxed))
    }
}

/// A put waits in the store while the key it was sealed under is retired and, `wait` seconds later, destroyed.
async fn put_that_waits(wait: i64) -> (Result<(), CredentialError>, Result<Vec<u8>, CredentialError>) {
    let (store, ring, clock) = (
        MemoryStore::default(),
        ring(Suite::default()),
        Standing::default(),
    );
    let ctx = OpContext::new(
        nebula_credential_core::Principal::Process,
        Arc::new(clock.clone()),
    );
    let slow = {
        let (store, ring, ctx) = (store.clone(), ring.clone(), ctx.clone());
        tower::service_fn(move |request: Request<Sealed>| {
            let (store, ring, clock, ctx) = (store.clone(), ring.clone(), clock.clone(), ctx.clone());
            async move {
                let old = ring.status().epochs[0].epoch;
                crate::common::change(&ring, |draft| draft.rotate(time(0))).unwrap();
                clock.0.store(wait, Ordering::Relaxed);
                let used = EpochUse::scan(&store.handle(), &ring, &ctx).await.unwrap();
                // Refused before the time of grace is over.
                let _ = crate::common::change(&ring, |draft| draft.destroy_epoch(old, &used));
                store.handle().oneshot(request).await
            }
        })
    };
    let row = Row::new("db");
    let request = Request {
        ctx: ctx.clone(),
        op: put(&row, b"x"),
    };
    let done = EncryptLayer::new(ring.clone()).layer(slow).oneshot(request).await;
    let mut stack = EncryptLayer::new(ring).layer(store.handle());
    (done.map(drop), read(&mut stack, &row).await)
}

#[tokio::test]
async fn a_write_that_outlives_its_key_is_not_acknowledged() {
    let (done, found) = put_that_waits(299).await;
    assert_eq!((done, found.unwrap()), (Ok(()), b"x".to_vec()));
    for wait in [300, 1000] {
        let (done, found) = put_that_waits(wait).await;
        assert!(found.is_err(), "the key is gone");
        assert!(done.unwrap_err().is_outcome_unknown());
    }
}
