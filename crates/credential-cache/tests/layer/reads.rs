//! One read for all who ask at the same time.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_credential_core::{CredentialError, OpContext, Selector, Source};
use nebula_credential_testkit::{Fault, Gate};

use crate::common::{Measured, World, id, version};

#[tokio::test]
async fn a_second_read_comes_from_memory() {
    let world = World::new();
    world.put("db", 1, "hunter2").await.unwrap();
    let (first, source) = world.get_and_source("db").await;
    assert_eq!((first.unwrap().as_str(), source), ("hunter2", None));
    world.clock.advance(Duration::from_secs(7));
    let (second, source) = world.get_and_source("db").await;
    let age = Duration::from_secs(7);
    assert_eq!(
        (second.unwrap().as_str(), source),
        ("hunter2", Some(Source::Cache { age }))
    );
    assert_eq!(world.store.count("get"), 1);
    let stats = world.layer.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
}

/// So many readers of one cold key; the store answers when all have asked.
async fn readers_of_one_cold_key(readers: u64) {
    let world = World::new();
    world.put("db", 1, "hunter2").await.unwrap();
    let gate = Gate::new();
    world.store.once("get", Fault::HoldBefore(gate.clone()));
    let asked = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..readers)
        .map(|_| {
            let (world, asked) = (world.clone(), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut get = pin!(world.get("db"));
                poll_fn(|cx| {
                    let polled = get.as_mut().poll(cx);
                    asked.fetch_add(1, Ordering::SeqCst);
                    polled
                })
                .await
            })
        })
        .collect();
    gate.arrival().await;
    while asked.load(Ordering::SeqCst) < readers {
        tokio::task::yield_now().await;
    }
    gate.release(1);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), "hunter2");
    }
    assert_eq!(world.store.count("get"), 1);
    let stats = world.layer.stats();
    assert_eq!((stats.misses, stats.shared), (1, readers - 1));
}

#[tokio::test]
async fn ten_thousand_readers_of_one_cold_key_make_one_read() {
    readers_of_one_cold_key(10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads_too() {
    readers_of_one_cold_key(10_000).await;
}

#[tokio::test]
async fn an_error_is_shared_by_those_who_waited_for_it() {
    let world = World::with(
        nebula_credential_cache::CacheLayer::builder()
            .negative_ttl(Duration::ZERO)
            .error_ttl(Duration::ZERO),
    );
    let gate = Gate::new();
    world.store.once("get", Fault::HoldBefore(gate.clone()));
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.get("db").await })
        })
        .collect();
    gate.arrival().await;
    tokio::task::yield_now().await;
    gate.release(1);
    for reader in readers {
        assert!(reader.await.unwrap().unwrap_err().is_not_found());
    }
    assert_eq!(world.store.count("get"), 1);
    // Not longer than for those: the next one asks.
    world.get("db").await.unwrap_err();
    assert_eq!(world.store.count("get"), 2);
}

#[tokio::test]
async fn a_cancelled_leader_takes_nothing_away_from_those_who_follow() {
    let world = World::new();
    world.put("db", 1, "hunter2").await.unwrap();
    let gate = Gate::new();
    world.store.once("get", Fault::HoldBefore(gate.clone()));
    let spawn = || {
        let world = world.clone();
        tokio::spawn(async move { world.get("db").await })
    };
    let leader = spawn();
    gate.arrival().await;
    let followers: Vec<_> = (0..10).map(|_| spawn()).collect();
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    for follower in followers {
        assert_eq!(follower.await.unwrap().unwrap(), "hunter2");
    }
    assert_eq!(
        world.store.count("get"),
        2,
        "the leader's, and one for all who followed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reader_without_time_is_neither_kept_waiting_nor_ends_the_wait_of_others() {
    let world = World::new();
    world.put("db", 1, "hunter2").await.unwrap();
    world.store.once("get", Fault::Delay(Duration::from_secs(60)));
    let spawn = |seconds: i64| {
        let world = world.clone();
        let ctx = OpContext {
            deadline: Some(
                nebula_credential_core::Clock::now(&world.clock) + chrono::TimeDelta::seconds(seconds),
            ),
            ..world.ctx()
        };
        tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            let answer = world.get_version("db", Selector::Latest, ctx).await;
            (answer, began.elapsed().as_secs())
        })
    };
    let leader = spawn(5);
    tokio::task::yield_now().await;
    let (hasty, patient) = (spawn(2), spawn(100));
    let late = |error: CredentialError| matches!(error, CredentialError::DeadlineExceeded(_));
    let (answer, seconds) = hasty.await.unwrap();
    assert!(late(answer.unwrap_err()) && seconds == 2);
    let (answer, seconds) = leader.await.unwrap();
    assert!(late(answer.unwrap_err()) && seconds == 5);
    // The leader's time is up; the next in line asks anew and is answered at once.
    let (answer, seconds) = patient.await.unwrap();
    assert_eq!((answer.unwrap().as_str(), seconds), ("hunter2", 5));
}

#[tokio::test]
async fn versions_are_kept_apart_and_a_rejection_drops_just_one() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.put("db", 2, "two").await.unwrap();
    let exact = async |number| {
        world
            .get_version("db", Selector::Exact(version(number)), world.ctx())
            .await
            .unwrap()
    };
    assert_eq!(exact(1).await, "one");
    assert_eq!(exact(2).await, "two");
    assert_eq!(world.get("db").await.unwrap(), "two");
    assert_eq!(world.store.count("get"), 3);

    // Too late: what is current is another version already.
    world.layer.rejected(&id("db"), version(1));
    assert_eq!(world.get("db").await.unwrap(), "two");
    assert_eq!(exact(2).await, "two");
    assert_eq!(world.store.count("get"), 3);
    assert_eq!(exact(1).await, "one");
    assert_eq!(world.store.count("get"), 4);

    world.layer.rejected(&id("db"), version(2));
    assert_eq!(exact(1).await, "one");
    assert_eq!(world.store.count("get"), 4);
    assert_eq!(world.get("db").await.unwrap(), "two");
    assert_eq!(exact(2).await, "two");
    assert_eq!(world.store.count("get"), 6);
}

#[tokio::test]
async fn a_read_that_began_before_a_rejection_is_not_kept() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    let gate = Gate::new();
    world.store.once("get", Fault::HoldAfter(gate.clone()));
    let reader = {
        let world = world.clone();
        tokio::spawn(async move { world.get("db").await })
    };
    gate.arrival().await;
    world.layer.rejected(&id("db"), version(1));
    gate.release(1);
    reader.await.unwrap().unwrap();
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
}

#[tokio::test]
async fn an_entry_is_used_ten_thousand_times_and_no_more() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    for _ in 0..=nebula_credential_cache::USES_MAX {
        world.get("db").await.unwrap();
    }
    assert_eq!(world.store.count("get"), 1);
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
}

#[tokio::test]
async fn no_more_is_kept_than_there_is_room_for() {
    let metrics = Arc::new(Measured::default());
    let world = World::with(
        nebula_credential_cache::CacheLayer::builder()
            .max_entries(10)
            .metrics(metrics.clone()),
    );
    let names: Vec<_> = (0..100).map(|number| format!("n{number}")).collect();
    for name in &names {
        world.put(name, 1, "value").await.unwrap();
    }
    for name in &names {
        world.get(name).await.unwrap();
        assert!(world.layer.stats().entries <= 10);
    }
    assert_eq!(metrics.of("nebula_credential_cache_entries"), 10.0);
    assert_eq!(
        metrics.of("nebula_credential_cache_evictions_total{reason=size}"),
        90.0
    );
    assert_eq!(
        metrics.of("nebula_credential_cache_reads_total{result=miss}"),
        100.0
    );

    let none = World::with(nebula_credential_cache::CacheLayer::builder().max_entries(0));
    none.put("db", 1, "value").await.unwrap();
    none.get("db").await.unwrap();
    none.get("db").await.unwrap();
    assert_eq!(none.store.count("get"), 2);
}

#[tokio::test]
async fn what_is_cached_shows_in_no_debug() {
    let world = World::new();
    world.put("db", 1, "hunter2-hunter2").await.unwrap();
    world.get("db").await.unwrap();
    let shown = format!("{:?} {:?}", world.layer, world.cache);
    assert!(!shown.contains("hunter2"), "{shown}");
}
