//! The layers below the sealing layer, one by one.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential::resilience::{
    AttemptTimeoutLayer, BreakerConfig, BreakerLayer, CircuitBreaker, ConcurrencyLayer, RateLimit,
    RateLimitLayer, RetryConfig, RetryLayer,
};

use crate::bench::{Place, Row};

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_refuses_the_second_and_keeps_no_place() {
    let row = Row {
        build: |place: &Place| {
            place
                .builder(place.faults.handle())
                .sealed_layer(ConcurrencyLayer::new(1))
        },
        evidence: |_: &Place, _: &CredentialManager| String::new(),
        read_before: None,
    };
    row.holds([
        "two+unavailable 1x 2s | two 1x 2s | stored 1x 2s | three 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s",
        "given_up+unavailable 1x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s",
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_requests_however_they_end() {
    let limit = RateLimit {
        per_second: 1,
        burst: 2,
    };
    let row = Row {
        build: |place: &Place| {
            place
                .builder(place.faults.handle())
                .sealed_layer(RateLimitLayer::new(limit))
        },
        evidence: |_: &Place, _: &CredentialManager| String::new(),
        // What was done before counts as well.
        read_before: Some(Duration::from_secs(60)),
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 0x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 0x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 0x 0s | two 1x 0s",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s",
        "one+one 2x 0s | one 1x 0s | unavailable 0x 0s | two 1x 0s",
    ])
    .await;
}

pub(crate) const BREAKER: BreakerConfig = BreakerConfig {
    failure_threshold: 2,
    success_threshold: 1,
    open_for: Duration::from_secs(30),
};

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_for_what_failed_and_closes_again() {
    let row = Row {
        build: |place: &Place| {
            let (clock, metrics) = (Arc::new(place.clock()), Arc::new(place.measured.clone()));
            let breaker = CircuitBreaker::named("store", BREAKER, clock, metrics);
            place
                .builder(place.faults.handle())
                .sealed_layer(BreakerLayer::new(breaker))
        },
        evidence: |place: &Place, _: &CredentialManager| {
            let (now, been) = ("breaker_state", "breaker_transitions_total");
            format!("{}; {}", place.measured.of(now), place.measured.of(been))
        },
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s | store 0; ",
        "unavailable+unavailable 2x 0s | unavailable 0x 0s | unavailable 0x 0s | two 1x 0s | store 0; store/closed 1, store/half_open 1, store/open 1",
        "unavailable+unavailable 2x 0s | unavailable 0x 0s | unavailable 0x 0s | two 1x 0s | store 0; store/closed 1, store/half_open 1, store/open 1",
        "unavailable+unavailable 2x 0s | unavailable 0x 0s | unavailable 0x 0s | two 1x 0s | store 0; store/closed 1, store/half_open 1, store/open 1",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | store 0; ",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | store 0; ",
    ]).await;
}

/// Without jitter, and with a budget that does not run out.
pub(crate) const RETRY: RetryConfig = RetryConfig {
    attempts: 3,
    base: Duration::ZERO,
    cap: Duration::ZERO,
    budget_percent: 1000,
    budget_reserve: 1000,
};

#[tokio::test(start_paused = true)]
async fn retries_wait_as_told_and_end() {
    let row = Row {
        build: |place: &Place| {
            let retry = RetryLayer::new(RETRY).metrics(Arc::new(place.measured.clone()));
            place.builder(place.faults.handle()).sealed_layer(retry)
        },
        evidence: |place: &Place, _: &CredentialManager| place.measured.of("retries_total"),
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s",
        "unavailable+unavailable 6x 6s | unavailable 3x 6s | unavailable 3x 6s | two 1x 0s | get/retried 6, put/retried 2",
        "unavailable+unavailable 6x 0s | unavailable 3x 0s | unavailable 3x 0s | two 1x 0s | get/retried 6, put/retried 2",
        "unavailable+unavailable 6x 0s | unavailable 3x 0s | outcome_unknown 1x 0s | three 1x 0s | get/retried 6",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s",
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_what_takes_too_long() {
    let row = Row {
        build: |place: &Place| {
            place
                .builder(place.faults.handle())
                .sealed_layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        },
        evidence: |_: &Place, _: &CredentialManager| String::new(),
        read_before: None,
    };
    row.holds([
        "unavailable+unavailable 2x 1s | unavailable 1x 1s | outcome_unknown 1x 1s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s",
        "unavailable+unavailable 2x 1s | unavailable 1x 1s | outcome_unknown 1x 1s | two 1x 0s",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s",
    ])
    .await;
}
