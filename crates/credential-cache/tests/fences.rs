//! In no order of reads, writes, answers and cancellations does a read see less than what was acknowledged before it
//! began; where the store tells of its changes, than what it held.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nebula_credential_cache::{Cache, CacheLayer};
use nebula_credential_core::{
    BoxFuture, ChangeCounters, CredentialError, CredentialRef, Op, OpContext, Phase, Plaintext, Principal,
    Record, RecordHead, Request, Response, Tags, VersionHead,
};
use nebula_credential_testkit::TestClock;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tower::{Layer as _, Service};

#[path = "common/mod.rs"]
mod common;

use common::{Answer, get, id, put, version};

/// A store of one credential that does each call in two steps, when told: it acts, then it answers.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    /// The number of the write that was done last.
    value: u32,
    calls: Vec<Call>,
}

struct Call {
    write: bool,
    /// What it came to, once it acted.
    acted: Option<u32>,
    answer: oneshot::Sender<u32>,
}

impl Store {
    fn value(&self) -> u32 {
        self.0.lock().unwrap().value
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }

    /// The next step of a call; a cancelled caller does not stop it.
    fn step(&self, call: usize) {
        let mut held = self.0.lock().unwrap();
        if held.calls.is_empty() {
            return;
        }
        let at = call % held.calls.len();
        if held.calls[at].acted.is_some() {
            let call = held.calls.remove(at);
            let _ = call.answer.send(call.acted.unwrap());
            return;
        }
        if held.calls[at].write {
            held.value += 1;
        }
        held.calls[at].acted = Some(held.value);
    }
}

impl ChangeCounters for Store {
    fn counter_of(&self, _: &CredentialRef) -> usize {
        0
    }

    fn read(&self, _: usize) -> Option<u64> {
        Some(self.value().into())
    }
}

impl Service<Request<Plaintext>> for Store {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer<Response<Plaintext>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        self.0.lock().unwrap().calls.push(Call {
            write: matches!(request.op, Op::Put(_)),
            acted: None,
            answer,
        });
        Box::pin(async move {
            let value = answered.await.unwrap();
            let now = request.ctx.now();
            let head = RecordHead {
                id: id("db"),
                version: VersionHead {
                    version: version(value + 1),
                    credential_type: "note".into(),
                    schema_version: 1,
                    created_at: now,
                    expires_at: None,
                },
                latest: version(value + 1),
                phase: Phase::Active,
                created_at: now,
                updated_at: now,
                deleted_at: None,
                tags: Tags::new(),
            };
            let payload = Plaintext::new(value.to_le_bytes().to_vec());
            Ok(match request.op {
                Op::Put(_) => Response::Head(head),
                _ => Response::Record(Record { head, payload }),
            })
        })
    }
}

#[derive(Debug, Clone)]
enum Step {
    Read { cache: usize },
    Write { cache: usize },
    Store(usize),
    Cancel(usize),
    Reject(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_usize).prop_map(|cache| Step::Read { cache }),
        2 => (0..2_usize).prop_map(|cache| Step::Write { cache }),
        8 => any::<usize>().prop_map(Step::Store),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Reject),
        1 => (0..40_u64).prop_map(Step::Wait),
    ];
    vec(step, 1..80)
}

/// A caller under way.
struct Caller {
    /// What a read must see at least; `None` for a write.
    floor: Option<u32>,
    answer: Pin<Box<dyn Future<Output = Answer<Response<Plaintext>>>>>,
}

struct World {
    store: Store,
    clock: TestClock,
    layers: Vec<CacheLayer>,
    caches: Vec<Cache<Store>>,
    callers: Vec<Caller>,
    acknowledged: u32,
    /// Whether the store tells of its changes.
    tells: bool,
}

impl World {
    fn new(caches: usize, tells: bool) -> Self {
        let store = Store::default();
        let layers: Vec<_> = (0..caches)
            .map(|_| {
                let changes = tells.then(|| -> Arc<dyn ChangeCounters> { Arc::new(store.clone()) });
                CacheLayer::builder()
                    .ttl(Duration::from_secs(60))
                    .stale_if_error(Duration::from_secs(60))
                    .changes(changes)
                    .build()
                    .unwrap()
            })
            .collect();
        Self {
            caches: layers.iter().map(|layer| layer.layer(store.clone())).collect(),
            store,
            clock: TestClock::new(),
            layers,
            callers: Vec::new(),
            acknowledged: 0,
            tells,
        }
    }

    /// What nobody may fall behind any more.
    fn floor(&self) -> u32 {
        let quiet = self.callers.is_empty();
        if self.tells || quiet {
            // With nobody under way also what was done after its caller gave it up.
            self.store.value()
        } else {
            self.acknowledged
        }
    }

    fn start(&mut self, cache: usize, op: Op<Plaintext>) {
        let ctx = OpContext::new(Principal::Process, Arc::new(self.clock.clone()));
        let floor = matches!(op, Op::Get(_)).then(|| self.floor());
        let cache = cache % self.caches.len();
        let answer = Box::pin(self.caches[cache].call(Request { ctx, op }));
        self.callers.push(Caller { floor, answer });
    }

    /// Lets every caller go as far as it can.
    fn run(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut at = 0;
        while at < self.callers.len() {
            match self.callers[at].answer.as_mut().poll(&mut cx) {
                Poll::Pending => at += 1,
                Poll::Ready(answer) => {
                    let caller = self.callers.remove(at);
                    self.check(caller.floor, answer.unwrap());
                    // One who is done may let others go on.
                    at = 0;
                }
            }
        }
    }

    fn check(&mut self, floor: Option<u32>, answer: Response<Plaintext>) {
        match (floor, answer) {
            (Some(floor), Response::Record(record)) => {
                let seen = u32::from_le_bytes(record.payload.expose().try_into().unwrap());
                assert!(seen >= floor, "saw {seen} after {floor}");
                assert_eq!(record.head.version.version, version(seen + 1));
            }
            (None, Response::Head(head)) => {
                self.acknowledged = self.acknowledged.max(head.latest.get() - 1);
            }
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read { cache } => self.start(cache, get("db", Default::default())),
            Step::Write { cache } => self.start(cache, put("db", 1, "", &self.clock, None)),
            Step::Store(call) => self.store.step(call),
            Step::Cancel(caller) if !self.callers.is_empty() => {
                let at = caller % self.callers.len();
                self.callers.remove(at);
            }
            Step::Cancel(_) => {}
            Step::Reject(at) => {
                let at = at % self.layers.len();
                self.layers[at].rejected(&id("db"), version(self.store.value() + 1));
            }
            Step::Wait(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
            }
        }
        self.run();
    }

    /// Everybody who waits is answered.
    fn finish(&mut self) {
        while !self.callers.is_empty() {
            assert!(self.store.calls() > 0, "someone waits for nobody");
            self.store.step(0);
            self.run();
        }
    }
}

fn play(caches: usize, tells: bool, steps: &[Step]) {
    let mut world = World::new(caches, tells);
    steps.iter().for_each(|step| world.step(step));
    world.finish();
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("NEBULA_PROOF_COUNT").map_or(500, |count| count.parse().unwrap());
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn one_cache_over_a_store_that_tells_nothing(steps in steps()) {
        play(1, false, &steps);
    }

    #[test]
    fn two_caches_over_a_store_that_tells_of_its_changes(steps in steps()) {
        play(2, true, &steps);
    }
}
