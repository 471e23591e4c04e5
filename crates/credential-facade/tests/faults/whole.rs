//! The whole stack in its order.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use nebula_credential::cache::CacheLayer;
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, RateLimit, Resilience};
use nebula_credential::{Clock as _, ManagerBuilder};

use crate::above::{governed, log, recorded, stats};
use crate::below::{BREAKER, RETRY};
use crate::bench::{Place, Row, Trouble, note, read};

fn whole(place: &Place, failure_threshold: u32) -> ManagerBuilder {
    let breaker = BreakerConfig {
        failure_threshold,
        ..BREAKER
    };
    let (clock, metrics) = (Arc::new(place.clock()), Arc::new(place.measured.clone()));
    let resilience = Resilience::new(breaker, clock, metrics)
        .timeout(Duration::from_secs(5))
        .retry(RETRY)
        .in_flight(1)
        .rate_limit(RateLimit {
            per_second: 10,
            burst: 10,
        });
    governed(place.builder(place.faults.handle()), place)
        .metrics(place.measured.clone())
        .audit_log(log(place))
        .cache(CacheLayer::builder())
        .resilience(resilience)
}

fn evidence(place: &Place, manager: &CredentialManager) -> String {
    [
        place.measured.of("operations_total"),
        recorded(place),
        stats(place, manager),
        place.measured.of("breaker_transitions_total"),
    ]
    .join("; ")
    .trim_end_matches("; ")
    .to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_whole_stack() {
    let row = Row {
        build: |place: &Place| whole(place, 3),
        evidence,
        read_before: None,
    };
    row.holds([
        "two+two 1x 2s | two 0x 0s | stored 1x 2s | three 1x 0s | get/ok 4, head/ok 1, put/ok 1; accessed ok 4, rotated intent 1, rotated ok 1; hits 1 negative 0 stale 0 shared 1 misses 2 kept 1",
        "unavailable+unavailable 3x 6s | unavailable 3x 6s | unavailable 3x 6s | two 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/unavailable 1; accessed ok 1, accessed unavailable 3, rotated intent 1, rotated unavailable 1; hits 0 negative 0 stale 0 shared 1 misses 3 kept 1",
        "unavailable+unavailable 3x 0s | unavailable 3x 0s | unavailable 3x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/unavailable 1; accessed ok 1, accessed unavailable 3, rotated intent 1, rotated unavailable 1; hits 0 negative 1 stale 0 shared 0 misses 3 kept 1",
        "unavailable+unavailable 3x 0s | unavailable 3x 0s | outcome_unknown 1x 0s | three 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/outcome_unknown 1; accessed ok 1, accessed unavailable 3, rotated intent 1, rotated outcome_unknown 1; hits 0 negative 1 stale 0 shared 0 misses 3 kept 0",
        "unavailable+unavailable 3x 15s | unavailable 3x 15s | outcome_unknown 1x 5s | two 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/outcome_unknown 1; accessed ok 1, accessed unavailable 3, rotated intent 1, rotated outcome_unknown 1; hits 0 negative 0 stale 0 shared 1 misses 3 kept 0",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | get/ok 4, head/ok 2, put/conflict 1, put/ok 1; accessed ok 4, rotated conflict 1, rotated intent 2, rotated ok 1; hits 0 negative 0 stale 0 shared 0 misses 4 kept 1",
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn the_whole_stack_whose_breaker_opens() {
    let row = Row {
        build: |place: &Place| whole(place, 2),
        evidence,
        read_before: None,
    };
    row.holds([
        "two+two 1x 2s | two 0x 0s | stored 1x 2s | three 1x 0s | get/ok 4, head/ok 1, put/ok 1; accessed ok 4, rotated intent 1, rotated ok 1; hits 1 negative 0 stale 0 shared 1 misses 2 kept 1",
        "unavailable+unavailable 3x 6s | unavailable 3x 6s | unavailable 0x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/unavailable 1; accessed ok 1, accessed unavailable 3; hits 0 negative 0 stale 0 shared 1 misses 3 kept 1; store/closed 1, store/half_open 1, store/open 1",
        "unavailable+unavailable 3x 0s | unavailable 3x 0s | unavailable 0x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/unavailable 1; accessed ok 1, accessed unavailable 3; hits 0 negative 1 stale 0 shared 0 misses 3 kept 1; store/closed 1, store/half_open 1, store/open 1",
        "unavailable+unavailable 3x 0s | unavailable 3x 0s | unavailable 0x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/unavailable 1; accessed ok 1, accessed unavailable 3; hits 0 negative 1 stale 0 shared 0 misses 3 kept 1; store/closed 1, store/half_open 1, store/open 1",
        "unavailable+unavailable 3x 15s | unavailable 3x 15s | unavailable 0x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/unavailable 1; accessed ok 1, accessed unavailable 3; hits 0 negative 0 stale 0 shared 1 misses 3 kept 1; store/closed 1, store/half_open 1, store/open 1",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | get/ok 4, head/ok 2, put/conflict 1, put/ok 1; accessed ok 4, rotated conflict 1, rotated intent 2, rotated ok 1; hits 0 negative 0 stale 0 shared 0 misses 4 kept 1",
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_bounds_all_of_it() {
    let mut found = Vec::new();
    for trouble in Trouble::ALL {
        let place = Place::new();
        let manager = whole(&place, 3).build();
        manager.store("n", note("one")).await.unwrap();
        manager.rotate("n", note("two")).await.unwrap();
        place.faults.always("get", trouble.fault());
        let hurried = manager.with_deadline(place.clock().now() + TimeDelta::milliseconds(3500));
        found.push(place.seen(read(&hurried)).await);
    }
    let expected = [
        "two 1x 2s",
        "unavailable 2x 3s",
        "unavailable 3x 0s",
        "unavailable 3x 0s",
        "deadline_exceeded 1x 3s",
        "one 1x 0s",
    ];
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn who_has_time_does_not_share_the_answer_of_who_has_none() {
    let place = Place::new();
    let manager = whole(&place, 3).build();
    manager.store("n", note("one")).await.unwrap();
    manager.rotate("n", note("two")).await.unwrap();
    place.faults.script("get", 0, 2, Trouble::ThrottledFor3s.fault());
    let hurried = manager.with_deadline(place.clock().now() + TimeDelta::seconds(2));
    let both = async {
        let (hurried, patient) = tokio::join!(read(&hurried), read(&manager));
        format!("{hurried}+{patient}")
    };
    assert_eq!(place.seen(both).await, "unavailable+two 3x 3s");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_followed_by_another_within_the_deadline() {
    let place = Place::new();
    let manager = whole(&place, 3).build();
    manager.store("n", note("one")).await.unwrap();
    place.faults.once("get", Trouble::Silent.fault());
    let within = |seconds| manager.with_deadline(place.clock().now() + TimeDelta::seconds(seconds));
    assert_eq!(place.seen(read(&within(8))).await, "one 2x 5s");
    // Where no time is left, nothing is asked.
    let error = within(0).metadata("n").await.unwrap_err();
    assert!(matches!(error, CredentialError::DeadlineExceeded(_)), "{error}");
}
