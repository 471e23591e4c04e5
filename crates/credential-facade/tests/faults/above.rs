//! The layers above the sealing layer: telemetry, audit, access, cache.

use std::collections::BTreeMap;
use std::time::Duration;

use nebula_credential::access::{AccessLayer, AccessPolicy, Policies};
use nebula_credential::audit::{Durability, entries};
use nebula_credential::cache::{CacheBuilder, CacheLayer};
use nebula_credential::prelude::*;
use nebula_credential::{CredentialName, ManagerBuilder, Principal};
use tokio::time::Instant;

use crate::bench::{Place, Row, Trouble, read};

fn nothing(_: &Place, _: &CredentialManager) -> String {
    String::new()
}

#[tokio::test(start_paused = true)]
async fn no_layer_at_all() {
    let row = Row {
        build: |place: &Place| place.builder(place.faults.handle()),
        evidence: nothing,
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s",
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn telemetry_counts_what_ended() {
    let row = Row {
        build: |place: &Place| {
            place
                .builder(place.faults.handle())
                .metrics(place.measured.clone())
        },
        evidence: |place: &Place, _: &CredentialManager| place.measured.of("operations_total"),
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s | get/ok 4, head/ok 1, put/ok 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/unavailable 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/unavailable 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s | get/ok 1, get/unavailable 3, head/ok 1, put/outcome_unknown 1",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | get/abandoned 3, get/ok 1, head/ok 1, put/abandoned 1",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | get/ok 4, head/ok 2, put/conflict 1, put/ok 1",
    ]).await;
}

/// The log of a place.
pub(crate) fn log(place: &Place) -> AuditLogger {
    // Synced by a thread, for which virtual time does not wait.
    AuditLogger::builder(place.directory.path().join("audit.log"))
        .changes(Durability::Written)
        .clock(place.clock())
        .build()
}

/// How often each kind of record is in the log of a place, but for what was recorded before the trouble.
pub(crate) fn recorded(place: &Place) -> String {
    let mut counts = BTreeMap::<String, u32>::new();
    let records = entries(place.directory.path().join("audit.log"))
        .unwrap()
        .map(Result::unwrap);
    let about_credentials = records.filter(|entry| entry.name.is_some());
    // Two were stored before, each with intent and end.
    for entry in about_credentials.skip(4) {
        let end = entry.outcome.as_deref().unwrap_or("intent");
        *counts.entry(format!("{} {end}", entry.event)).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    counts.join(", ")
}

#[tokio::test(start_paused = true)]
async fn audit_records_every_end() {
    let row = Row {
        build: |place: &Place| place.builder(place.faults.handle()).audit_log(log(place)),
        evidence: |place: &Place, _: &CredentialManager| recorded(place),
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s | accessed ok 4, rotated intent 1, rotated ok 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | accessed ok 1, accessed unavailable 3, rotated intent 1, rotated unavailable 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | accessed ok 1, accessed unavailable 3, rotated intent 1, rotated unavailable 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s | accessed ok 1, accessed unavailable 3, rotated intent 1, rotated outcome_unknown 1",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | accessed ok 1, rotated abandoned 1, rotated intent 1",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | accessed ok 4, rotated conflict 1, rotated intent 2, rotated ok 1",
    ]).await;
}

const POLICY: &str = r#"
version = 1

[[rules]]
id = "alice-does-all"
effect = "allow"
principals = ["user:alice"]
permissions = ["*"]
tenants = ["*"]
"#;

const STEP: Duration = Duration::from_millis(20);

pub(crate) fn user(name: &str) -> Principal {
    Principal::User(CredentialName::new(name).unwrap())
}

pub(crate) fn governed(builder: ManagerBuilder, place: &Place) -> ManagerBuilder {
    let policies = Policies::new(AccessPolicy::parse(POLICY).unwrap());
    let access = AccessLayer::builder(policies)
        .answer_step(STEP)
        .metrics(std::sync::Arc::new(place.measured.clone()));
    builder.access(access.build()).principal(user("alice"))
}

#[tokio::test(start_paused = true)]
async fn access_control_adds_nothing_to_what_is_allowed() {
    let row = Row {
        build: |place: &Place| governed(place.builder(place.faults.handle()), place),
        evidence: |place: &Place, _: &CredentialManager| place.measured.of("access_decisions_total"),
        read_before: None,
    };
    row.holds([
        "two+two 2x 2s | two 1x 2s | stored 1x 2s | three 1x 0s | allowed/know 1, allowed/read 4, allowed/rotate 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | allowed/know 1, allowed/read 4, allowed/rotate 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | allowed/know 1, allowed/read 4, allowed/rotate 1",
        "unavailable+unavailable 2x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s | allowed/know 1, allowed/read 4, allowed/rotate 1",
        "given_up+given_up 2x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | allowed/know 1, allowed/read 4, allowed/rotate 1",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | allowed/know 2, allowed/read 4, allowed/rotate 2",
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_the_same_whatever_the_store_does() {
    for trouble in Trouble::ALL {
        let place = Place::new();
        let alice = governed(place.builder(place.faults.handle()), &place).build();
        alice.open().await.unwrap();
        let before = place.faults.count("get");
        place.faults.always("get", trouble.fault());
        let (bob, since) = (alice.with_principal(user("bob")), Instant::now());
        assert_eq!(read(&bob).await, "access_denied", "{trouble:?}");
        assert!(since.elapsed().is_zero());
        assert_eq!(place.faults.count("get"), before);
    }
}

fn cached(cache: CacheBuilder) -> impl Fn(&Place) -> ManagerBuilder {
    move |place| place.builder(place.faults.handle()).cache(cache.clone())
}

pub(crate) fn stats(_: &Place, manager: &CredentialManager) -> String {
    let stats = manager.cache_stats().unwrap();
    format!(
        "hits {} negative {} stale {} shared {} misses {} kept {}",
        stats.hits, stats.negative_hits, stats.stale, stats.shared, stats.misses, stats.entries
    )
}

/// Of values and of errors for 1 s.
#[tokio::test(start_paused = true)]
async fn a_cache_reads_once_for_all_and_keeps_no_trouble() {
    let row = Row {
        build: cached(CacheLayer::builder().negative_ttl(Duration::ZERO)),
        evidence: stats,
        read_before: None,
    };
    row.holds([
        "two+two 1x 2s | two 0x 0s | stored 1x 2s | three 1x 0s | hits 1 negative 0 stale 0 shared 1 misses 2 kept 1",
        "unavailable+unavailable 1x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | hits 0 negative 1 stale 0 shared 0 misses 3 kept 1",
        "unavailable+unavailable 1x 0s | unavailable 1x 0s | unavailable 1x 0s | two 1x 0s | hits 0 negative 1 stale 0 shared 0 misses 3 kept 1",
        "unavailable+unavailable 1x 0s | unavailable 1x 0s | outcome_unknown 1x 0s | three 1x 0s | hits 0 negative 1 stale 0 shared 0 misses 3 kept 0",
        "given_up+given_up 1x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | hits 0 negative 0 stale 0 shared 0 misses 3 kept 0",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | hits 0 negative 0 stale 0 shared 0 misses 4 kept 1",
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_keeps_errors_spares_the_store_for_longer() {
    let cache = CacheLayer::builder().error_ttl(Duration::from_secs(30));
    let row = Row {
        build: cached(cache),
        evidence: stats,
        read_before: None,
    };
    row.holds([
        "two+two 1x 2s | two 0x 0s | stored 1x 2s | three 1x 0s | hits 1 negative 0 stale 0 shared 1 misses 2 kept 1",
        "unavailable+unavailable 1x 0s | unavailable 0x 0s | unavailable 1x 0s | two 1x 0s | hits 0 negative 2 stale 0 shared 0 misses 2 kept 1",
        "unavailable+unavailable 1x 0s | unavailable 0x 0s | unavailable 1x 0s | two 1x 0s | hits 0 negative 2 stale 0 shared 0 misses 2 kept 1",
        "unavailable+unavailable 1x 0s | unavailable 0x 0s | outcome_unknown 1x 0s | three 1x 0s | hits 0 negative 2 stale 0 shared 0 misses 2 kept 0",
        "given_up+given_up 1x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | hits 0 negative 0 stale 0 shared 0 misses 3 kept 0",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | hits 0 negative 0 stale 0 shared 0 misses 4 kept 1",
    ]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cache_serves_past_the_ttl_when_told() {
    let row = Row {
        build: cached(CacheLayer::builder().stale_if_error(Duration::from_secs(300))),
        evidence: stats,
        read_before: Some(Duration::from_secs(61)),
    };
    row.holds([
        "two+two 1x 2s | two 0x 0s | stored 1x 2s | three 1x 0s | hits 1 negative 0 stale 0 shared 1 misses 3 kept 1",
        "two+two 1x 0s | two 1x 0s | unavailable 1x 0s | two 1x 0s | hits 0 negative 0 stale 3 shared 0 misses 4 kept 1",
        "two+two 1x 0s | two 1x 0s | unavailable 1x 0s | two 1x 0s | hits 0 negative 0 stale 3 shared 0 misses 4 kept 1",
        "two+two 1x 0s | two 1x 0s | outcome_unknown 1x 0s | three 1x 0s | hits 0 negative 0 stale 3 shared 0 misses 4 kept 0",
        "given_up+given_up 1x 60s | given_up 1x 60s | given_up 1x 60s | two 1x 0s | hits 0 negative 0 stale 0 shared 0 misses 4 kept 0",
        "one+one 2x 0s | one 1x 0s | stored 2x 0s | three 1x 0s | hits 0 negative 0 stale 0 shared 0 misses 5 kept 1",
    ]).await;
}
