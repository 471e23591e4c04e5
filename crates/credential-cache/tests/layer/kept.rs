//! What is read and not kept is counted, and why.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_cache::{CacheBuilder, CacheLayer};
use nebula_credential_core::{OpContext, Report, Selector};
use nebula_credential_testkit::{Fault, Gate};

use crate::common::{Measured, World, id, version};
use crate::counters::Counters;

/// A world, and what it measures.
fn world(builder: CacheBuilder) -> (World, Arc<Measured>) {
    let metrics = Arc::new(Measured::default());
    (World::with(builder.metrics(metrics.clone())), metrics)
}

/// Whether of all values that were read `reason` kept so many from being kept, and nothing any other.
#[track_caller]
fn assert_not_kept(world: &World, metrics: &Measured, reason: &str, times: u32) {
    let name = format!("nebula_credential_cache_not_kept_total{{reason={reason}}}");
    assert_eq!(metrics.of(&name), f64::from(times), "{reason}");
    assert_eq!(world.layer.stats().not_kept, u64::from(times), "in all");
}

#[tokio::test]
async fn what_is_kept_is_not_among_what_is_not() {
    let (world, metrics) = world(CacheLayer::builder());
    world.put("db", 1, "one").await.unwrap();
    for _ in 0..3 {
        world.get("db").await.unwrap();
    }
    // An error is no value.
    world.get("absent").await.unwrap_err();
    let stats = world.layer.stats();
    assert_eq!((stats.misses, stats.hits, stats.not_kept), (2, 2, 0));
    assert_not_kept(&world, &metrics, "off", 0);
}

#[tokio::test]
async fn a_cache_without_time_or_room_is_off() {
    let builders = [
        CacheLayer::builder().ttl(Duration::ZERO),
        CacheLayer::builder().max_entries(0),
    ];
    for builder in builders {
        let (world, metrics) = world(builder);
        world.put("db", 1, "one").await.unwrap();
        world.get("db").await.unwrap();
        world.get("db").await.unwrap();
        assert_not_kept(&world, &metrics, "off", 2);
    }
}

#[tokio::test]
async fn a_change_that_may_still_be_made_leaves_all_unsettled() {
    let counters = Arc::new(Counters::default());
    let (counted, metrics) = world(CacheLayer::builder().changes(Arc::clone(&counters) as Arc<_>));
    counted.put("db", 1, "one").await.unwrap();
    counters.step(0);
    counted.get("db").await.unwrap();
    counted.get("db").await.unwrap();
    assert_not_kept(&counted, &metrics, "unsettled", 2);
    counters.step(0);
    counted.get("db").await.unwrap();
    assert_not_kept(&counted, &metrics, "unsettled", 2);

    let (silent, metrics) = world(CacheLayer::builder());
    silent.store.once("put", Fault::LoseAnswer);
    assert!(silent.put("db", 1, "one").await.unwrap_err().is_outcome_unknown());
    silent.get("db").await.unwrap();
    assert_not_kept(&silent, &metrics, "unsettled", 1);
}

#[tokio::test]
async fn what_changed_or_was_forgotten_while_it_was_read_is_counted_once() {
    let (world, metrics) = world(CacheLayer::builder());
    world.put("db", 1, "one").await.unwrap();
    let happens: [&dyn Fn(); 3] = [
        &|| world.layer.invalidate(&id("db")),
        &|| world.layer.rejected(&id("db"), version(1)),
        &|| world.layer.clear(),
    ];
    for (times, happen) in (1..).zip(happens) {
        let gate = Gate::new();
        world.store.once("get", Fault::HoldAfter(gate.clone()));
        let readers = [world.clone(), world.clone()];
        let readers = readers.map(|world| tokio::spawn(async move { world.get("db").await }));
        gate.arrival().await;
        happen();
        gate.release(1);
        for reader in readers {
            reader.await.unwrap().unwrap();
        }
        assert_not_kept(&world, &metrics, "changed", times);
    }
}

#[tokio::test]
async fn what_is_behind_an_acknowledged_write_is_not_kept() {
    let (world, metrics) = world(CacheLayer::builder());
    world.put("db", 1, "one").await.unwrap();
    world.put("db", 2, "two").await.unwrap();
    world.store.once("get", Fault::Stale);
    assert_eq!(world.get("db").await.unwrap(), "one");
    assert_not_kept(&world, &metrics, "behind", 1);
}

#[tokio::test]
async fn what_was_found_past_a_store_is_not_kept() {
    let (world, metrics) = world(CacheLayer::builder());
    world.put("db", 1, "one").await.unwrap();
    let report = Arc::new(Report::default());
    // As a chain of stores says.
    report.passed_over();
    let ctx = OpContext {
        report: Some(report),
        ..world.ctx()
    };
    world.get_version("db", Selector::Latest, ctx).await.unwrap();
    assert_not_kept(&world, &metrics, "passed_over", 1);
}

#[tokio::test]
async fn what_expires_too_soon_or_is_too_long_is_not_kept() {
    let (soon, metrics) = world(CacheLayer::builder());
    // The buffer is 10 seconds or more.
    soon.put_expiring("db", 1, "one", 9).await;
    soon.get("db").await.unwrap();
    assert_not_kept(&soon, &metrics, "short_lived", 1);

    let (long, metrics) = world(CacheLayer::builder());
    long.put("db", 1, &"x".repeat(64 * 1024 + 1)).await.unwrap();
    long.get("db").await.unwrap();
    assert_not_kept(&long, &metrics, "size", 1);
}
