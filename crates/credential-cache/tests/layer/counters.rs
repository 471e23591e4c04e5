//! Two caches over one store that tells of its changes, as two processes have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nebula_credential_cache::CacheLayer;
use nebula_credential_core::{ChangeCounters, CredentialRef};
use nebula_credential_testkit::{Fault, Gate};

use crate::common::World;

/// Two counters; an odd one is busy.
#[derive(Default)]
pub(crate) struct Counters([AtomicU64; 2]);

impl Counters {
    pub(crate) fn step(&self, counter: usize) {
        self.0[counter].fetch_add(1, Ordering::SeqCst);
    }
}

impl ChangeCounters for Counters {
    fn counter_of(&self, id: &CredentialRef) -> usize {
        usize::from(id.name().as_str() == "other")
    }

    fn read(&self, counter: usize) -> Option<u64> {
        Some(self.0[counter].load(Ordering::SeqCst)).filter(|at| at % 2 == 0)
    }
}

/// Two processes. What the first one writes steps the counter twice, as a store does.
fn two() -> (World, World, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let changes = || -> Arc<dyn ChangeCounters> { Arc::clone(&counters) as _ };
    let here = World::with(CacheLayer::builder().changes(changes()));
    let there = World::over(here.store.clone(), CacheLayer::builder().changes(changes()));
    (here, there, counters)
}

async fn write(world: &World, counters: &Counters, name: &str, number: u32, value: &str) {
    let counter = usize::from(name == "other");
    counters.step(counter);
    world.put(name, number, value).await.unwrap();
    counters.step(counter);
}

#[tokio::test]
async fn a_write_there_is_seen_by_the_next_read_here() {
    let (here, there, counters) = two();
    write(&there, &counters, "db", 1, "one").await;
    write(&there, &counters, "other", 1, "other").await;
    for name in ["db", "db", "other"] {
        here.get(name).await.unwrap();
    }
    assert_eq!(here.store.count("get"), 2);
    write(&there, &counters, "db", 2, "two").await;
    assert_eq!(here.get("db").await.unwrap(), "two");
    assert_eq!(here.store.count("get"), 3);
    here.get("other").await.unwrap();
    assert_eq!(here.store.count("get"), 3, "others are kept");
}

#[tokio::test]
async fn while_a_counter_is_busy_nothing_is_served_or_kept() {
    let (here, _, counters) = two();
    here.put("db", 1, "one").await.unwrap();
    here.get("db").await.unwrap();
    counters.step(0);
    here.get("db").await.unwrap();
    here.get("db").await.unwrap();
    assert_eq!(here.store.count("get"), 3);
    counters.step(0);
    here.get("db").await.unwrap();
    here.get("db").await.unwrap();
    assert_eq!(here.store.count("get"), 4);
}

#[tokio::test]
async fn what_was_read_across_a_change_is_neither_kept_nor_shared_with_later_readers() {
    let (here, there, counters) = two();
    write(&there, &counters, "db", 1, "one").await;
    let gate = Gate::new();
    here.store.once("get", Fault::HoldAfter(gate.clone()));
    let early = {
        let here = here.clone();
        tokio::spawn(async move { here.get("db").await })
    };
    gate.arrival().await;
    write(&there, &counters, "db", 2, "two").await;
    assert_eq!(here.get("db").await.unwrap(), "two");
    gate.release(1);
    assert_eq!(early.await.unwrap().unwrap(), "one");
    assert_eq!(here.get("db").await.unwrap(), "two");
}

#[tokio::test]
async fn what_others_store_after_it_was_deleted_here_is_kept() {
    let (here, there, counters) = two();
    write(&here, &counters, "db", 1, "one").await;
    counters.step(0);
    here.delete("db").await.unwrap();
    counters.step(0);
    write(&there, &counters, "db", 2, "anew").await;
    assert_eq!(here.get("db").await.unwrap(), "anew");
    let reads = here.store.count("get");
    assert_eq!(here.get("db").await.unwrap(), "anew");
    assert_eq!(here.store.count("get"), reads);
}
