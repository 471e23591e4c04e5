//! The order of the layers: what is denied, found in memory or given up, and what becomes of it. What is slow or hangs is in
//! the table of faults.

use std::fs;
use std::sync::Arc;

use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, Resilience};
use nebula_credential::{NoMetrics, SystemClock};
use nebula_credential_testkit::{Fault, Gate};

use crate::place::{Note, POLICY, Place, note, user};

#[tokio::test]
async fn a_denied_read_is_audited_and_touches_neither_cache_nor_store() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.get::<Note>("n").await.unwrap();
    let (calls, stats) = (place.calls(), alice.cache_stats().unwrap());

    let bob = alice.with_principal(user("bob"));
    for name in ["n", "absent"] {
        let error = bob.get::<Note>(name).await.unwrap_err();
        // What is denied whether it is there or not says so.
        assert!(error.is_access_denied(), "{error}");
        let record = place.last();
        assert_eq!(record.event, "permission_denied");
        assert_eq!(record.principal.as_deref(), Some("user:bob"));
        assert_eq!(record.name.as_deref(), Some(name));
        assert_eq!(
            (record.allowed, record.rule.as_deref()),
            (Some(false), Some("default-deny"))
        );
    }
    assert_eq!(place.calls(), calls);
    assert_eq!(alice.cache_stats().unwrap(), stats);
}

#[tokio::test]
async fn a_cache_hit_is_audited_and_says_that_it_was_one() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    for _ in 0..3 {
        alice.get::<Note>("n").await.unwrap();
    }
    let accessed: Vec<_> = place
        .records()
        .into_iter()
        .filter(|entry| entry.event == "accessed")
        .collect();
    let sources: Vec<_> = accessed.iter().map(|entry| entry.source.as_deref()).collect();
    assert_eq!(sources, [None, Some("cache"), Some("cache")]);
    assert!(
        accessed
            .iter()
            .all(|entry| entry.rule.as_deref() == Some("alice-does-all"))
    );
    assert_eq!(place.faults.count("get"), 1);
}

#[tokio::test]
async fn a_rotation_is_recorded_as_one_before_and_after() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.rotate("n", note("two")).await.unwrap();
    alice.delete("n").await.unwrap();
    let stages: Vec<_> = place
        .records()
        .iter()
        .map(|entry| format!("{} {}", entry.event, entry.stage))
        .collect();
    assert_eq!(
        stages,
        [
            "created intent",
            "created outcome",
            "rotated intent",
            "rotated outcome",
            "deleted intent",
            "deleted outcome"
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_released_and_not_changed() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.get::<Note>("n").await.unwrap();
    let log = place.directory.path().join("audit.log");
    fs::rename(&log, place.directory.path().join("away")).unwrap();
    let calls = place.faults.count("put");
    let refused =
        |error: CredentialError| assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    refused(alice.get::<Note>("n").await.err().unwrap());
    refused(alice.rotate("n", note("two")).await.err().unwrap());
    assert_eq!(place.faults.count("put"), calls);
    fs::rename(place.directory.path().join("away"), &log).unwrap();
    assert_eq!(alice.get::<Note>("n").await.unwrap().text, "one");
}

#[tokio::test]
async fn a_caller_that_gives_up_loses_no_acknowledged_write_and_leaves_nothing_behind() {
    let place = Place::new(POLICY);
    let resilience = Resilience::new(
        BreakerConfig::default(),
        Arc::new(SystemClock),
        Arc::new(NoMetrics),
    );
    let alice = place.builder().resilience(resilience.in_flight(1)).build();
    alice.store("n", note("one")).await.unwrap();
    for round in 0..10 {
        let gate = Gate::new();
        place.faults.once("put", Fault::HoldAfter(gate.clone()));
        let writer = alice.clone();
        let write = tokio::spawn(async move { writer.rotate("n", note("lost")).await });
        gate.arrival().await;
        write.abort();
        let _ = write.await;
        // The write was made, though nobody heard of it; no permit is missing, and no old value is served.
        assert_eq!(alice.get::<Note>("n").await.unwrap().text, "lost");
        assert_eq!(place.last().outcome.as_deref(), Some("ok"));
        let text = round.to_string();
        alice.rotate("n", note(&text)).await.unwrap();
        assert_eq!(alice.get::<Note>("n").await.unwrap().text, text);
    }
    let abandoned = place
        .records()
        .iter()
        .filter(|entry| entry.outcome.as_deref() == Some("abandoned"))
        .count();
    assert_eq!(abandoned, 10);
}
