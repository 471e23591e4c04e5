//! A cache over a store that goes wrong as scripted.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by several test binaries; a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use nebula_credential_cache::{Cache, CacheBuilder, CacheLayer};
use nebula_credential_core::{
    BoxFuture, Clock as _, CredentialError, CredentialName, CredentialRef, Delete, DeleteMode,
    ENVELOPE_MAGIC, Get, Labels, MetricsEmitter, Op, OpContext, Phase, Plaintext, Precondition, Principal,
    Put, Record, Report, Request, Response, Scope, Sealed, Selector, Source, StoreHandle, TenantId, Version,
    VersionHead,
};
use nebula_credential_testkit::{FaultStore, TestClock};
use tower::{Layer as _, Service, ServiceExt as _};

#[expect(unreachable_pub, reason = "an example, of which this is not the only user")]
#[path = "../../../credential-testkit/examples/third_party_store/store.rs"]
mod shelf;

pub(crate) type Answer<T> = Result<T, CredentialError>;

/// Stands where the sealing layer stands; hides nothing.
#[derive(Clone)]
pub(crate) struct Bare(pub(crate) StoreHandle);

impl Service<Request<Plaintext>> for Bare {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer<Response<Plaintext>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Answer<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        let mut store = self.0.clone();
        Box::pin(async move {
            let op = match request.op {
                Op::Get(op) => Op::Get(op),
                Op::Head(op) => Op::Head(op),
                Op::Delete(op) => Op::Delete(op),
                Op::Put(op) => {
                    let bytes = [&ENVELOPE_MAGIC, op.payload.expose()].concat();
                    Op::Put(Put {
                        payload: Sealed::envelope(bytes)?,
                        id: op.id,
                        version: op.version,
                        phase: op.phase,
                        tags: op.tags,
                        precondition: op.precondition,
                        token: op.token,
                        keep_versions: op.keep_versions,
                    })
                }
                _ => panic!("no test asks for this"),
            };
            let answer = store.call(Request { ctx: request.ctx, op }).await?;
            Ok(match answer {
                Response::Record(Record { head, payload }) => {
                    let bytes = payload.as_envelope().unwrap().strip_prefix(&ENVELOPE_MAGIC);
                    let payload = Plaintext::new(bytes.unwrap().to_vec());
                    Response::Record(Record { head, payload })
                }
                Response::Head(head) => Response::Head(head),
                Response::Done => Response::Done,
                _ => panic!("no test asks for this"),
            })
        })
    }
}

/// A store, a cache over it, and the time.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: FaultStore,
    pub(crate) layer: CacheLayer,
    pub(crate) clock: TestClock,
    pub(crate) cache: Cache<Bare>,
}

pub(crate) fn id(name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new(name).unwrap(),
    )
}

pub(crate) fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(CacheLayer::builder())
    }

    pub(crate) fn with(builder: CacheBuilder) -> Self {
        let store = FaultStore::new(StoreHandle::new(shelf::ShelfStore::default()));
        Self::over(store, builder)
    }

    /// Another cache over the same store, as another process has.
    pub(crate) fn over(store: FaultStore, builder: CacheBuilder) -> Self {
        let layer = builder.build().unwrap();
        Self {
            cache: layer.layer(Bare(store.handle())),
            store,
            layer,
            clock: TestClock::new(),
        }
    }

    pub(crate) fn ctx(&self) -> OpContext {
        OpContext::new(Principal::Process, Arc::new(self.clock.clone()))
    }

    pub(crate) async fn get(&self, name: &str) -> Answer<String> {
        self.get_version(name, Selector::Latest, self.ctx()).await
    }

    pub(crate) async fn get_version(&self, name: &str, version: Selector, ctx: OpContext) -> Answer<String> {
        let record = self.ask(ctx, get(name, version)).await?.into_record()?;
        Ok(String::from_utf8(record.payload.expose().to_vec()).unwrap())
    }

    /// The value, and where it came from.
    pub(crate) async fn get_and_source(&self, name: &str) -> (Answer<String>, Option<Source>) {
        let report = Arc::new(Report::default());
        let ctx = OpContext {
            report: Some(Arc::clone(&report)),
            ..self.ctx()
        };
        let answer = self.get_version(name, Selector::Latest, ctx).await;
        (answer, report.source().cloned())
    }

    pub(crate) async fn put(&self, name: &str, number: u32, value: &str) -> Answer<()> {
        let op = put(name, number, value, &self.clock, None);
        self.ask(self.ctx(), op).await.map(drop)
    }

    /// A value that ceases to work after so many seconds.
    pub(crate) async fn put_expiring(&self, name: &str, number: u32, value: &str, seconds: i64) {
        let op = put(name, number, value, &self.clock, Some(seconds));
        self.ask(self.ctx(), op).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) -> Answer<()> {
        let op = Op::Delete(Delete {
            id: id(name),
            mode: DeleteMode::Purge,
            precondition: Precondition::None,
        });
        self.ask(self.ctx(), op).await.map(drop)
    }

    pub(crate) async fn ask(&self, ctx: OpContext, op: Op<Plaintext>) -> Answer<Response<Plaintext>> {
        self.cache.clone().oneshot(Request { ctx, op }).await
    }
}

pub(crate) fn get(name: &str, version: Selector) -> Op<Plaintext> {
    Op::Get(Get {
        id: id(name),
        version,
    })
}

pub(crate) fn put(
    name: &str,
    number: u32,
    value: &str,
    clock: &TestClock,
    expires: Option<i64>,
) -> Op<Plaintext> {
    Op::Put(Put {
        id: id(name),
        version: VersionHead {
            version: version(number),
            credential_type: "note".into(),
            schema_version: 1,
            created_at: clock.now(),
            expires_at: expires.map(|seconds| clock.now() + chrono::TimeDelta::seconds(seconds)),
        },
        phase: Phase::Active,
        tags: None,
        payload: Plaintext::new(value.as_bytes().to_vec()),
        precondition: Precondition::None,
        token: None,
        keep_versions: 10,
    })
}

/// Adds up what it is told.
#[derive(Default)]
pub(crate) struct Measured(Mutex<BTreeMap<String, f64>>);

impl Measured {
    pub(crate) fn of(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn change(&self, name: &str, labels: Labels<'_>, change: impl Fn(&mut f64)) {
        let labels: String = labels
            .iter()
            .map(|(label, value)| format!("{{{label}={value}}}"))
            .collect();
        change(
            self.0
                .lock()
                .unwrap()
                .entry(format!("{name}{labels}"))
                .or_default(),
        );
    }
}

impl MetricsEmitter for Measured {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        self.change(name, labels, |sum| *sum += by as f64);
    }

    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.change(name, labels, |now| *now = value);
    }

    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.change(name, labels, |sum| *sum += value);
    }
}
