//! How long an answer lives.

use std::time::Duration;

use nebula_credential_cache::{CacheLayer, LIFE_MAX};
use nebula_credential_core::{Clock as _, CredentialError, PolicyEpoch};

use crate::common::World;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_value_lives_for_its_ttl() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.clock.advance(seconds(59));
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 1);
    world.clock.advance(seconds(1));
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
}

#[tokio::test]
async fn a_value_is_not_served_shortly_before_it_expires() {
    let world = World::new();
    world.put_expiring("db", 1, "one", 30).await;
    world.get("db").await.unwrap();
    // The buffer is 10 to 15 seconds.
    world.clock.advance(seconds(14));
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 1);
    world.clock.advance(seconds(6));
    world.get("db").await.unwrap();
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 3, "nor kept");
}

#[tokio::test]
async fn the_buffers_of_many_values_differ() {
    let world = World::new();
    for number in 0..64 {
        let name = format!("n{number}");
        world.put_expiring(&name, 1, "value", 30).await;
        world.get(&name).await.unwrap();
    }
    world.clock.advance(Duration::from_millis(17_500));
    let before = world.store.count("get");
    for number in 0..64 {
        world.get(&format!("n{number}")).await.unwrap();
    }
    let asked = world.store.count("get") - before;
    assert!((1..64).contains(&asked), "{asked} of 64 after half of the spread");
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_older_than_its_ttl_serve() {
    let world = World::new();
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world
        .clock
        .jump(world.clock.now() - chrono::TimeDelta::days(3650));
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
    // Nor does it lock anyone out.
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
}

#[tokio::test]
async fn absence_is_remembered_for_a_short_time() {
    let world = World::new();
    assert!(world.get("db").await.unwrap_err().is_not_found());
    world.clock.advance(seconds(4));
    assert!(world.get("db").await.unwrap_err().is_not_found());
    assert_eq!(world.store.count("get"), 1);
    assert_eq!(world.layer.stats().negative_hits, 1);
    world.clock.advance(seconds(1));
    assert!(world.get("db").await.unwrap_err().is_not_found());
    assert_eq!(world.store.count("get"), 2);
    // What is made here is seen at once.
    world.put("db", 1, "one").await.unwrap();
    assert_eq!(world.get("db").await.unwrap(), "one");
}

#[tokio::test]
async fn nothing_kept_under_an_earlier_policy_is_served() {
    let epoch = PolicyEpoch::default();
    let world = World::with(CacheLayer::builder().policy_epoch(epoch.clone()));
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 1);
    epoch.advance();
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
}

#[tokio::test]
async fn values_beyond_64_kib_are_not_kept() {
    let world = World::new();
    let most = "x".repeat(64 * 1024);
    world.put("fits", 1, &most).await.unwrap();
    world.put("not", 1, &format!("{most}x")).await.unwrap();
    for name in ["fits", "fits", "not", "not"] {
        world.get(name).await.unwrap();
    }
    assert_eq!(world.store.count("get"), 3);
}

#[test]
fn settings_beyond_their_bounds_are_refused() {
    let over = LIFE_MAX + Duration::from_millis(1);
    let builders = [
        CacheLayer::builder().ttl(over),
        CacheLayer::builder()
            .ttl(seconds(300))
            .stale_if_error(seconds(601)),
        CacheLayer::builder().negative_ttl(seconds(31)),
        CacheLayer::builder().error_ttl(seconds(31)),
        CacheLayer::builder().max_entries(1001),
    ];
    for builder in builders {
        let error = builder.build().unwrap_err();
        assert!(
            matches!(error, CredentialError::LimitExceeded { limit, found, .. } if found > limit),
            "{error}"
        );
    }
    CacheLayer::builder()
        .ttl(seconds(300))
        .stale_if_error(seconds(600))
        .build()
        .unwrap();
}
