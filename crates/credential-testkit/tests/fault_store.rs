//! What is scripted happens, once or always, and everything else passes through untouched.

#![allow(
    clippy::unwrap_used,
    reason = "what a test asks of its own stores must not fail"
)]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is written as the crate of a third party would be"
)]
#[path = "../examples/third_party_store/store.rs"]
mod store;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, ENVELOPE_MAGIC, Get, List, Op, OpContext, Page, Phase,
    Precondition, Put, Record, RecordHead, Request, Response, Scope, Sealed, Selector, StoreHandle, TenantId,
    Version, VersionHead,
};
use nebula_credential_testkit::{Call, Fault, FaultStore, Gate};
use tower_service::Service as _;

type Answer<T> = Result<T, CredentialError>;

fn id(tenant: &str) -> CredentialRef {
    let tenant = TenantId::new(tenant).unwrap();
    CredentialRef::new(tenant, Scope::default(), CredentialName::new("db").unwrap())
}

fn faulty() -> FaultStore {
    FaultStore::new(StoreHandle::new(store::ShelfStore::default()))
}

async fn call(store: &FaultStore, op: Op<Sealed>) -> Answer<Response<Sealed>> {
    let ctx = OpContext::default();
    store.handle().call(Request { ctx, op }).await
}

fn body(id: &CredentialRef, version: u32) -> Vec<u8> {
    [&ENVELOPE_MAGIC[..], format!("{id} {version}").as_bytes()].concat()
}

async fn put(store: &FaultStore, id: &CredentialRef, version: u32) -> Answer<RecordHead> {
    let put = Put {
        id: id.clone(),
        version: VersionHead {
            version: Version::new(version).unwrap(),
            credential_type: "test".into(),
            schema_version: 1,
            created_at: OpContext::default().now(),
            expires_at: None,
        },
        phase: Phase::Active,
        tags: None,
        payload: Sealed::envelope(body(id, version)).unwrap(),
        precondition: Precondition::None,
        token: None,
        keep_versions: 10,
    };
    call(store, Op::Put(put)).await?.into_head()
}

async fn get(store: &FaultStore, id: &CredentialRef) -> Answer<Record<Sealed>> {
    let (id, version) = (id.clone(), Selector::Latest);
    call(store, Op::Get(Get { id, version })).await?.into_record()
}

async fn list(store: &FaultStore, id: &CredentialRef) -> Answer<Page> {
    call(store, Op::List(List::of(id.tenant().clone())))
        .await?
        .into_page()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}

#[test]
fn a_refusal_comes_before_the_store_and_a_lost_answer_after_it() {
    run(async {
        let (store, id) = (faulty(), id("acme"));
        let refusal = CredentialError::unavailable("try later");
        store.once("put", Fault::Refuse(refusal.clone()));
        assert_eq!(put(&store, &id, 1).await.unwrap_err(), refusal);
        assert!(
            get(&store, &id).await.unwrap_err().is_not_found(),
            "nothing was stored"
        );
        store.once("put", Fault::LoseAnswer);
        assert!(put(&store, &id, 1).await.unwrap_err().is_outcome_unknown());
        assert_eq!(
            get(&store, &id).await.unwrap().head.latest.get(),
            1,
            "it was stored"
        );
        store.once("get", Fault::LoseAnswer);
        assert_eq!(get(&store, &id).await.unwrap_err().kind().as_str(), "unavailable");
        get(&store, &id).await.unwrap();
    });
}

#[test]
fn a_script_counts_and_calls_are_recorded() {
    run(async {
        let (store, id) = (faulty(), id("acme"));
        put(&store, &id, 1).await.unwrap();
        let refusal = Fault::Refuse(CredentialError::unavailable("try later"));
        store.script("get", 1, 2, refusal.clone());
        let mut went_well = Vec::new();
        for _ in 0..5 {
            went_well.push(get(&store, &id).await.is_ok());
        }
        assert_eq!(went_well, [true, false, false, true, true]);
        store.always("get", refusal);
        for _ in 0..3 {
            get(&store, &id).await.unwrap_err();
        }
        store.heal();
        get(&store, &id).await.unwrap();
        assert_eq!(
            (store.count("get"), store.count("put"), store.count("list")),
            (9, 1, 0)
        );
        list(&store, &id).await.unwrap();
        let calls = store.calls();
        assert_eq!(
            calls[0],
            Call {
                op: "put",
                id: Some(id.clone()),
                faulted: false
            }
        );
        assert_eq!(
            calls[2],
            Call {
                op: "get",
                id: Some(id),
                faulted: true
            }
        );
        assert_eq!(
            calls[10],
            Call {
                op: "list",
                id: None,
                faulted: false
            }
        );
    });
}

#[test]
fn calls_are_held_delayed_and_never_answered() {
    run(async {
        let (store, id) = (faulty(), id("acme"));
        let (before, after) = (Gate::new(), Gate::new());
        store.once("put", Fault::HoldBefore(before.clone()));
        store.once("put", Fault::HoldAfter(after.clone()));
        for (gate, version, stored) in [(before, 1, 0), (after, 2, 2)] {
            let mut held = Box::pin(put(&store, &id, version));
            let pending = poll_fn(|cx| Poll::Ready(held.as_mut().poll(cx).is_pending())).await;
            assert!(pending);
            gate.arrival().await;
            assert_eq!(
                get(&store, &id)
                    .await
                    .map_or(0, |record| record.head.latest.get()),
                stored
            );
            gate.release(1);
            assert_eq!(held.await.unwrap().latest.get(), version);
        }
        store.once("get", Fault::Hang);
        let hang = tokio::time::timeout(Duration::from_secs(600), get(&store, &id)).await;
        assert!(hang.is_err());
        store.once("get", Fault::Delay(Duration::from_secs(20)));
        let began = tokio::time::Instant::now();
        get(&store, &id).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(20));
    });
}

#[test]
fn answers_are_stale_damaged_and_of_others() {
    run(async {
        let (store, mine, theirs) = (faulty(), id("acme"), id("evil"));
        put(&store, &mine, 1).await.unwrap();
        store.once("get", Fault::Stale);
        assert!(
            get(&store, &mine).await.unwrap_err().is_not_found(),
            "it was absent before"
        );
        put(&store, &mine, 2).await.unwrap();
        put(&store, &theirs, 1).await.unwrap();
        let bytes = |record: &Record<Sealed>| record.payload.as_envelope().unwrap().to_vec();

        store.once("get", Fault::Stale);
        let stale = get(&store, &mine).await.unwrap();
        assert_eq!((stale.head.latest.get(), bytes(&stale)), (1, body(&mine, 1)));

        let mut flipped = body(&mine, 2);
        flipped[9] ^= 0b100;
        store.once("get", Fault::FlipBit(9 * 8 + 2));
        assert_eq!(bytes(&get(&store, &mine).await.unwrap()), flipped);
        store.once("get", Fault::FlipBit(0));
        assert_eq!(
            get(&store, &mine).await.unwrap_err().kind().as_str(),
            "unsupported_format"
        );
        store.once("get", Fault::Truncate(10));
        assert_eq!(bytes(&get(&store, &mine).await.unwrap()), body(&mine, 2)[..10]);

        store.once("get", Fault::PayloadOf(theirs.clone(), Selector::Latest));
        let swapped = get(&store, &mine).await.unwrap();
        assert_eq!((&swapped.head.id, bytes(&swapped)), (&mine, body(&theirs, 1)));
        store.once(
            "get",
            Fault::PayloadOf(mine.clone(), Selector::Exact(Version::FIRST)),
        );
        let older = get(&store, &mine).await.unwrap();
        assert_eq!((older.head.latest.get(), bytes(&older)), (2, body(&mine, 1)));
        store.once("get", Fault::RecordOf(theirs.clone(), Selector::Latest));
        assert_eq!(get(&store, &mine).await.unwrap().head.id, theirs);

        store.once("list", Fault::omit(mine.clone()));
        assert!(list(&store, &mine).await.unwrap().items.is_empty());
        let (answer, expected) = (
            list(&store, &mine).await.unwrap(),
            get(&store, &mine).await.unwrap().head,
        );
        assert_eq!(answer.items, [expected]);
        assert_eq!(bytes(&get(&store, &mine).await.unwrap()), body(&mine, 2));
    });
}
