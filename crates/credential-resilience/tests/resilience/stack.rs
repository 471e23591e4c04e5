//! The whole of [`Resilience`] around a store that goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use nebula_credential_core::{CredentialError, ErrorKind, Labels, MetricsEmitter, Report};
use nebula_credential_resilience::{
    BreakerConfig, BreakerState, ConcurrencyLayer, RateLimit, Resilience, RetryConfig, RetryLayer,
};
use nebula_credential_testkit::{Fault, Gate, TestClock};
use tokio::time::Instant;
use tower_layer::Layer as _;

use crate::support::{call, context, faulty, get, put, resilience, unavailable, value};

#[tokio::test(start_paused = true)]
async fn what_passes_is_asked_again_and_what_does_not_is_not() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let stack = resilience(&clock).layer(store.handle());
    call(&stack, &ctx, put("db", 1, "one", None)).await.unwrap();

    for passing in [
        Fault::Refuse(unavailable(None)),
        Fault::Refuse(CredentialError::connection_failed("a reset")),
        Fault::LoseAnswer,
        Fault::Hang,
    ] {
        let before = store.count("get");
        store.once("get", passing.clone());
        assert_eq!(value(call(&stack, &ctx, get("db")).await), "one", "{passing:?}");
        assert_eq!(store.count("get") - before, 2, "{passing:?}");
    }
    for lasting in [
        CredentialError::access_denied("no"),
        CredentialError::Tampered,
        CredentialError::storage("the disk is full"),
        CredentialError::outcome_unknown("the answer was lost"),
        CredentialError::not_found("db"),
    ] {
        let before = store.count("get");
        store.once("get", Fault::Refuse(lasting.clone()));
        assert_eq!(call(&stack, &ctx, get("db")).await.unwrap_err(), lasting);
        assert_eq!(store.count("get") - before, 1, "{lasting}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_end_and_the_last_error_is_told() {
    let (clock, store) = (TestClock::new(), faulty());
    let stack = resilience(&clock).layer(store.handle());
    store.always("get", Fault::Refuse(unavailable(None)));
    let error = call(&stack, &context(&clock), get("db")).await.unwrap_err();
    assert_eq!(error, unavailable(None));
    assert_eq!(store.count("get"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_when_to_come_back_is_not_asked_sooner() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let stack = resilience(&clock).layer(store.handle());
    call(&stack, &ctx, put("db", 1, "one", None)).await.unwrap();
    store.once("get", Fault::Refuse(unavailable(Some(Duration::from_secs(7)))));
    let since = Instant::now();
    call(&stack, &ctx, get("db")).await.unwrap();
    let waited = since.elapsed();
    assert!(
        waited >= Duration::from_secs(7) && waited < Duration::from_secs(8),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_followed_by_another_but_not_past_the_deadline() {
    let (clock, store) = (TestClock::new(), faulty());
    let stack = resilience(&clock).layer(store.handle());
    call(&stack, &context(&clock), put("db", 1, "one", None))
        .await
        .unwrap();

    store.once("get", Fault::Hang);
    let mut ctx = context(&clock);
    ctx.deadline = Some(ctx.now() + TimeDelta::seconds(5));
    assert_eq!(value(call(&stack, &ctx, get("db")).await), "one");

    // One attempt takes all there is.
    store.once("get", Fault::Hang);
    ctx.deadline = Some(ctx.now() + TimeDelta::milliseconds(400));
    let (since, before) = (Instant::now(), store.count("get"));
    let error = call(&stack, &ctx, get("db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(since.elapsed().as_millis(), 400);
    assert_eq!(store.count("get") - before, 1);

    // The store wants more time than there is: no wait, and its own words.
    let later = unavailable(Some(Duration::from_secs(1)));
    store.once("get", Fault::Refuse(later.clone()));
    let (since, report) = (Instant::now(), Arc::<Report>::default());
    ctx.report = Some(Arc::clone(&report));
    assert_eq!(call(&stack, &ctx, get("db")).await.unwrap_err(), later);
    assert!(since.elapsed().is_zero());
    // With more time it would have been asked again, and those who have it are told.
    assert!(report.cut_short().unwrap() >= Duration::from_secs(1));
    ctx.report = None;

    // None is left: the store is not asked.
    ctx.deadline = Some(ctx.now());
    let before = store.count("get");
    let error = call(&stack, &ctx, get("db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(store.count("get"), before);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_took_too_long_may_have_been_made_and_is_not_made_twice() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let stack = resilience(&clock).layer(store.handle());
    for fault in [Fault::Hang, Fault::LoseAnswer] {
        let before = store.count("put");
        store.once("put", fault);
        let error = call(&stack, &ctx, put("db", 1, "one", None)).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
        assert_eq!(store.count("put") - before, 1);
    }
    // What was refused before anything happened is asked again.
    store.once("put", Fault::Refuse(unavailable(None)));
    let before = store.count("put");
    call(&stack, &ctx, put("db", 2, "two", None)).await.unwrap();
    assert_eq!(store.count("put") - before, 2);
}

/// In real time, for the store works on a thread of its own; nothing is waited for but its answers.
#[tokio::test]
async fn a_change_with_a_token_is_asked_again_and_made_once() {
    let clock = TestClock::new();
    let dir = tempfile::tempdir().unwrap();
    let local = nebula_credential_provider_local::LocalStorage::new(dir.path().join("store"));
    let store = nebula_credential_testkit::FaultStore::new(nebula_credential_core::StoreHandle::new(local));
    let ctx = context(&clock);
    let quick = RetryConfig {
        base: Duration::ZERO,
        ..RetryConfig::default()
    };
    let patient = resilience(&clock).timeout(Duration::from_secs(600)).retry(quick);
    let stack = patient.layer(store.handle());
    store.once("put", Fault::LoseAnswer);
    let head = call(&stack, &ctx, put("db", 1, "one", Some([7; 16])))
        .await
        .unwrap();
    assert_eq!(head.into_head().unwrap().latest.get(), 1);
    assert_eq!(store.count("put"), 2);
    assert_eq!(value(call(&stack, &ctx, get("db")).await), "one");
}

#[tokio::test(start_paused = true)]
async fn retries_keep_to_their_budget() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let frugal = RetryConfig {
        attempts: 2,
        budget_percent: 10,
        budget_reserve: 0,
        ..RetryConfig::default()
    };
    let stack = resilience(&clock).retry(frugal).layer(store.handle());
    call(&stack, &ctx, put("db", 1, "one", None)).await.unwrap();
    for _ in 0..99 {
        call(&stack, &ctx, get("db")).await.unwrap();
    }
    let before = store.count("get");
    store.script("get", 0, 100, Fault::Refuse(unavailable(None)));
    let mut asked = 0;
    while store.count("get") - before < 100 {
        let _ = call(&stack, &ctx, get("db")).await;
        asked += 1;
        // The breaker is not what is tested here.
        clock.advance(Duration::from_secs(31));
    }
    let retries = store.count("get") - before - asked;
    assert!(
        (8..=12).contains(&retries),
        "{retries} retries after 100 requests"
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_costs_no_attempt_and_an_operation_is_one_sample() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let resilience = resilience(&clock);
    let stack = resilience.layer(store.handle());
    call(&stack, &ctx, put("db", 1, "one", None)).await.unwrap();
    store.always("get", Fault::Refuse(unavailable(None)));
    for operation in 1..=3 {
        assert_eq!(resilience.breaker().state(), BreakerState::Closed);
        call(&stack, &ctx, get("db")).await.unwrap_err();
        assert_eq!(store.count("get"), operation * 3);
    }
    assert_eq!(resilience.breaker().state(), BreakerState::Open);
    let error = call(&stack, &ctx, get("db")).await.unwrap_err();
    assert!(matches!(error, CredentialError::CircuitBreakerOpen(_)), "{error}");
    assert_eq!(store.count("get"), 9);

    store.heal();
    clock.advance(Duration::from_secs(30));
    for _ in 0..2 {
        assert_eq!(resilience.breaker().state(), BreakerState::HalfOpen);
        call(&stack, &ctx, get("db")).await.unwrap();
    }
    assert_eq!(resilience.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn absent_and_denied_do_not_open_the_breaker() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let resilience = resilience(&clock);
    let stack = resilience.layer(store.handle());
    for _ in 0..10 {
        assert!(
            call(&stack, &ctx, get("nothing"))
                .await
                .unwrap_err()
                .is_not_found()
        );
        store.once("get", Fault::Refuse(CredentialError::access_denied("no")));
        assert!(
            call(&stack, &ctx, get("db"))
                .await
                .unwrap_err()
                .is_access_denied()
        );
    }
    assert_eq!(resilience.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_takes_no_permit_with_it() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let resilience = resilience(&clock).in_flight(2);
    let stack = resilience.layer(store.handle());
    let gate = Gate::new();
    for _ in 0..20 {
        store.once("get", Fault::HoldBefore(gate.clone()));
        let waiting = tokio::spawn({
            let (stack, ctx) = (stack.clone(), ctx.clone());
            async move { call(&stack, &ctx, get("nothing")).await }
        });
        gate.arrival().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
    }
    // Both places are free, and the breaker has seen nothing.
    store.script("get", 0, 2, Fault::HoldBefore(gate.clone()));
    let (one, other) = (
        call(&stack, &ctx, get("nothing")),
        call(&stack, &ctx, get("nothing")),
    );
    let released = async {
        gate.arrival().await;
        gate.arrival().await;
        let third = call(&stack, &ctx, get("nothing")).await.unwrap_err();
        assert_eq!(third.kind(), ErrorKind::Unavailable);
        gate.release(2);
    };
    let (one, other, ()) = tokio::join!(one, other, released);
    assert!(one.unwrap_err().is_not_found() && other.unwrap_err().is_not_found());
    assert_eq!(resilience.breaker().state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_its_caller_gives_up_makes_room_for_the_next() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let resilience = resilience(&clock);
    let stack = resilience.layer(store.handle());
    store.script("get", 0, 9, Fault::Refuse(unavailable(None)));
    for _ in 0..3 {
        call(&stack, &ctx, get("db")).await.unwrap_err();
    }
    clock.advance(Duration::from_secs(30));
    let gate = Gate::new();
    store.once("get", Fault::HoldBefore(gate.clone()));
    let probe = tokio::spawn({
        let (stack, ctx) = (stack.clone(), ctx.clone());
        async move { call(&stack, &ctx, get("db")).await }
    });
    gate.arrival().await;
    let beside = call(&stack, &ctx, get("db")).await.unwrap_err();
    assert!(matches!(beside, CredentialError::CircuitBreakerOpen(_)));
    probe.abort();
    let _ = probe.await;
    assert!(call(&stack, &ctx, get("db")).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_says_when_to_come_back() {
    let (clock, store) = (TestClock::new(), faulty());
    let ctx = context(&clock);
    let limit = RateLimit {
        per_second: 2,
        burst: 3,
    };
    let stack = resilience(&clock).rate_limit(limit).layer(store.handle());
    for _ in 0..3 {
        assert!(call(&stack, &ctx, get("db")).await.unwrap_err().is_not_found());
    }
    let CredentialError::Unavailable { retry_after, .. } = call(&stack, &ctx, get("db")).await.unwrap_err()
    else {
        unreachable!("the limit refuses with `Unavailable`")
    };
    assert_eq!(retry_after, Some(Duration::from_millis(500)));
    clock.advance(Duration::from_millis(500));
    assert!(call(&stack, &ctx, get("db")).await.unwrap_err().is_not_found());
    assert_eq!(store.count("get"), 4);
}

#[tokio::test]
async fn what_a_store_says_passes_the_limits_unchanged() {
    let clock = TestClock::new();
    let limited = ConcurrencyLayer::new(0).layer(faulty().handle());
    let error = call(&limited, &context(&clock), get("db")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let _: Arc<dyn Send + Sync> = Arc::new(limited);
}

#[test]
fn without_a_runtime_requests_are_refused() {
    let (clock, store) = (TestClock::new(), faulty());
    store.always("get", Fault::Refuse(unavailable(None)));
    let stack = resilience(&clock).layer(store.handle());
    let ctx = context(&clock);
    let mut asked = std::pin::pin!(call(&stack, &ctx, get("db")));
    let waker = std::task::Waker::noop();
    let answer = asked.as_mut().poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Err(error)) = answer else {
        unreachable!("it waits for nothing")
    };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // Nor is there anything to wait by between attempts.
    let retrying = RetryLayer::new(RetryConfig::default()).layer(store.handle());
    let mut asked = std::pin::pin!(call(&retrying, &ctx, get("db")));
    let answer = asked.as_mut().poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(answer, std::task::Poll::Ready(Err(error)) if error == unavailable(None)));
    assert_eq!(store.count("get"), 1);
}

/// How many requests a limit refused, by which.
#[derive(Default)]
struct Refusals {
    rate: AtomicU64,
    concurrency: AtomicU64,
}

impl Refusals {
    fn counted(&self) -> (u64, u64) {
        (
            self.rate.load(Ordering::SeqCst),
            self.concurrency.load(Ordering::SeqCst),
        )
    }
}

impl MetricsEmitter for Refusals {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        if name == "nebula_credential_refused_total" {
            let counter = match labels {
                [("by", "rate")] => &self.rate,
                [("by", "concurrency")] => &self.concurrency,
                other => unreachable!("labels that are not documented: {other:?}"),
            };
            counter.fetch_add(by, Ordering::SeqCst);
        }
    }

    fn gauge(&self, _: &'static str, _: Labels<'_>, _: f64) {}
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_refuses_is_counted() {
    let (clock, store, refusals) = (TestClock::new(), faulty(), Arc::new(Refusals::default()));
    let ctx = context(&clock);
    let limit = RateLimit {
        per_second: 1,
        burst: 3,
    };
    let metrics = Arc::clone(&refusals) as Arc<dyn MetricsEmitter>;
    let stack = Resilience::new(BreakerConfig::default(), Arc::new(clock.clone()), metrics)
        .in_flight(1)
        .rate_limit(limit)
        .layer(store.handle());
    let gate = Gate::new();
    store.once("get", Fault::HoldBefore(gate.clone()));
    let second = async {
        gate.arrival().await;
        let answer = call(&stack, &ctx, get("db")).await;
        gate.release(1);
        answer
    };
    let (first, second) = tokio::join!(call(&stack, &ctx, get("db")), second);
    assert!(first.unwrap_err().is_not_found());
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(refusals.counted(), (0, 1));
    assert!(call(&stack, &ctx, get("db")).await.unwrap_err().is_not_found());
    assert_eq!(refusals.counted(), (0, 1), "what a store says is no refusal");
    call(&stack, &ctx, get("db")).await.unwrap_err();
    assert_eq!(refusals.counted(), (1, 1));
}
