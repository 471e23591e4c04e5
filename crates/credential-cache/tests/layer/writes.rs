//! After a write was acknowledged, nothing older is served.

use std::future::{Future as _, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use chrono::TimeDelta;
use nebula_credential_cache::CacheLayer;
use nebula_credential_core::{
    CredentialError, Op, Phase, Plaintext, Precondition, Record, Request, Response, Selector, Update,
};
use nebula_credential_testkit::{Fault, Gate};
use tower::{Layer as _, ServiceExt as _};

use crate::common::{World, get, id, put, version};

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_of_every_selector() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    let two = Selector::Exact(version(2));
    let error = world.get_version("db", two, world.ctx()).await.unwrap_err();
    assert!(error.is_not_found());
    world.put("db", 2, "two").await.unwrap();
    assert_eq!(world.get("db").await.unwrap(), "two");
    assert_eq!(world.get_version("db", two, world.ctx()).await.unwrap(), "two");
    world.delete("db").await.unwrap();
    assert!(world.get("db").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_read_that_began_before_a_write_does_not_leave_its_older_value_behind() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    let gate = Gate::new();
    world.store.once("get", Fault::HoldAfter(gate.clone()));
    let early = {
        let world = world.clone();
        tokio::spawn(async move { world.get("db").await })
    };
    gate.arrival().await;
    world.put("db", 2, "two").await.unwrap();
    // Nor is a later reader given what the early one read.
    assert_eq!(world.get("db").await.unwrap(), "two");
    gate.release(1);
    assert_eq!(early.await.unwrap().unwrap(), "one");
    assert_eq!(world.get("db").await.unwrap(), "two");
}

#[tokio::test]
async fn a_read_during_a_write_is_not_served_after_it() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    let gate = Gate::new();
    world.store.once("put", Fault::HoldBefore(gate.clone()));
    let write = {
        let world = world.clone();
        tokio::spawn(async move { world.put("db", 2, "two").await })
    };
    gate.arrival().await;
    assert_eq!(world.get("db").await.unwrap(), "one");
    gate.release(1);
    write.await.unwrap().unwrap();
    assert_eq!(world.get("db").await.unwrap(), "two");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_empties_the_cache() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.store.once("put", Fault::LoseAnswer);
    let error = world.put("db", 2, "two").await.unwrap_err();
    assert!(error.is_outcome_unknown());
    assert_eq!(world.get("db").await.unwrap(), "two");
}

#[tokio::test]
async fn after_a_cancelled_write_nothing_is_kept_that_the_write_may_still_replace() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.put("other", 1, "other").await.unwrap();
    world.get("db").await.unwrap();
    let gate = Gate::new();
    world.store.once("put", Fault::HoldBefore(gate.clone()));
    {
        let write = world.ask(world.ctx(), put("db", 2, "two", &world.clock, None));
        let mut write = pin!(write);
        let polled = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        gate.arrival().await;
    }
    // It lands after the caller gave it up.
    assert_eq!(world.get("db").await.unwrap(), "one");
    let (request, mut store) = (
        put("db", 2, "two", &world.clock, None),
        crate::common::Bare(world.store.handle()),
    );
    let request = Request {
        ctx: world.ctx(),
        op: request,
    };
    tower::Service::call(&mut store, request).await.unwrap();
    assert_eq!(world.get("db").await.unwrap(), "two");

    let before = world.store.count("get");
    world.get("other").await.unwrap();
    world.get("other").await.unwrap();
    assert_eq!(world.store.count("get"), before + 1, "others are kept as ever");
}

#[tokio::test]
async fn a_refused_write_leaves_the_cache_in_use() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    let refused = CredentialError::storage("the disk is full; make room");
    world.store.once("put", Fault::Refuse(refused));
    world.put("db", 2, "two").await.unwrap_err();
    world.get("db").await.unwrap();
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 1);
}

#[tokio::test]
async fn what_is_told_from_outside_is_forgotten() {
    let world = World::new();
    for name in ["a", "b"] {
        world.put(name, 1, "value").await.unwrap();
        world.get(name).await.unwrap();
    }
    world.layer.invalidate(&id("a"));
    world.get("a").await.unwrap();
    assert_eq!(world.store.count("get"), 3);
    world.layer.clear();
    assert_eq!(world.layer.stats().entries, 0);
    world.get("a").await.unwrap();
    world.get("b").await.unwrap();
    assert_eq!(world.store.count("get"), 5);
}

#[tokio::test]
async fn a_store_that_answers_with_less_than_it_acknowledged_does_not_fill_the_cache() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    // Absent, as it was before.
    world.store.once("get", Fault::Stale);
    assert!(world.get("db").await.unwrap_err().is_not_found());
    assert_eq!(world.get("db").await.unwrap(), "one");
    // The version before.
    world.put("db", 2, "two").await.unwrap();
    world.store.once("get", Fault::Stale);
    assert_eq!(world.get("db").await.unwrap(), "one");
    assert_eq!(world.get("db").await.unwrap(), "two");
    let reads = world.store.count("get");
    assert_eq!(world.get("db").await.unwrap(), "two");
    assert_eq!(world.store.count("get"), reads, "what is current is kept");
    // What was there before it was deleted.
    world.delete("db").await.unwrap();
    world.store.once("get", Fault::Stale);
    assert_eq!(world.get("db").await.unwrap(), "two");
    assert!(world.get("db").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_store_that_answers_with_what_was_before_a_revocation_does_not_fill_the_cache() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    let before = world.ask(world.ctx(), get("db", Selector::Latest)).await;
    let before = before.unwrap().into_record().unwrap().head;
    let mut after = before.clone();
    (after.phase, after.updated_at) = (Phase::Revoked, before.updated_at + TimeDelta::seconds(1));

    for selector in [Selector::Latest, Selector::Exact(version(1))] {
        let heads = Arc::new(Mutex::new(vec![after.clone(), before.clone()]));
        let (left, changed) = (Arc::clone(&heads), after.clone());
        let store = tower::service_fn(move |request: Request<Plaintext>| {
            let answer = match request.op {
                Op::Get(_) => Response::Record(Record {
                    head: left.lock().unwrap().pop().unwrap(),
                    payload: Plaintext::new(b"one".to_vec()),
                }),
                _ => Response::Head(changed.clone()),
            };
            ready(Ok(answer))
        });
        let cache = CacheLayer::new().unwrap().layer(store);
        let ask = async |op| {
            let request = Request { ctx: world.ctx(), op };
            cache.clone().oneshot(request).await.unwrap()
        };
        ask(Op::Update(Update {
            id: id("db"),
            tags: None,
            phase: Some(Phase::Revoked),
            precondition: Precondition::None,
        }))
        .await;
        for head in [&before, &after, &after] {
            let found = ask(get("db", selector)).await.into_record().unwrap();
            assert_eq!(found.head, *head, "{selector:?}");
        }
        // Asked for the first two: what is current is kept.
        assert!(heads.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn that_there_is_no_such_version_is_not_remembered_of_one_that_was_acknowledged() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.put("db", 2, "two").await.unwrap();
    let second = || world.get_version("db", Selector::Exact(version(2)), world.ctx());
    let behind = CredentialError::not_found("a replica has no such version");
    world.store.once("get", Fault::Refuse(behind));
    assert!(second().await.unwrap_err().is_not_found());
    assert_eq!(second().await.unwrap(), "two");
}
