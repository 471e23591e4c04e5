//! A store that cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::TimeDelta;
use nebula_credential_cache::CacheLayer;
use nebula_credential_core::{
    BoxFuture, Clock as _, CredentialError, ErrorKind, Op, Plaintext, Request, Response, Selector, Source,
};
use nebula_credential_testkit::Fault;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::common::{Answer, Bare, World, get};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn down() -> Fault {
    Fault::Refuse(CredentialError::unavailable("the store is down; start it"))
}

fn world(stale: u64) -> World {
    World::with(CacheLayer::builder().stale_if_error(seconds(stale)))
}

/// Another process with the same clock, of which this one is not told.
fn other(world: &World) -> World {
    World {
        clock: world.clock.clone(),
        ..World::over(world.store.clone(), CacheLayer::builder())
    }
}

fn unavailable(error: &CredentialError) -> bool {
    error.kind() == ErrorKind::Unavailable
}

#[tokio::test]
async fn nothing_stale_is_served_unless_told() {
    let world = world(0);
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.store.always("get", down());
    world.clock.advance(seconds(60));
    world.get("db").await.unwrap_err();
}

#[tokio::test]
async fn a_stale_value_is_served_within_its_bound_and_says_so() {
    let world = world(30);
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.store.always("get", down());
    world.clock.advance(seconds(60));
    let (value, source) = world.get_and_source("db").await;
    assert_eq!(value.unwrap(), "one");
    assert_eq!(source, Some(Source::Stale { age: seconds(60) }));

    // The store is left alone for a second, then asked again.
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 2);
    world.clock.advance(seconds(1));
    world.get("db").await.unwrap();
    assert_eq!(world.store.count("get"), 3);
    assert_eq!(world.layer.stats().stale, 3);

    world.clock.advance(seconds(28));
    world.get("db").await.unwrap();
    world.clock.advance(seconds(1));
    world.get("db").await.unwrap_err();

    world.store.heal();
    world.clock.advance(seconds(1));
    assert_eq!(world.get("db").await.unwrap(), "one");
}

#[tokio::test]
async fn a_stale_value_is_never_served_past_its_expiry_nor_after_a_write_or_a_rejection() {
    let world = world(300);
    world.put_expiring("short", 1, "one", 65).await;
    world.put("written", 1, "one").await.unwrap();
    world.put("rejected", 1, "one").await.unwrap();
    for name in ["short", "written", "rejected"] {
        world.get(name).await.unwrap();
    }
    world.put("written", 2, "two").await.unwrap();
    world
        .layer
        .rejected(&crate::common::id("rejected"), crate::common::version(1));
    world.store.always("get", down());
    world.clock.advance(seconds(64));
    assert_eq!(world.get("short").await.unwrap(), "one");
    world.get("written").await.unwrap_err();
    world.get("rejected").await.unwrap_err();
    world.clock.advance(seconds(1));
    world.get("short").await.unwrap_err();
}

#[tokio::test]
async fn absence_is_an_answer_and_no_reason_to_serve_what_was() {
    let world = world(300);
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.clock.advance(seconds(61));
    let gone = CredentialError::not_found("default:global:db");
    world.store.once("get", Fault::Refuse(gone));
    assert!(world.get("db").await.unwrap_err().is_not_found());
    world.store.always("get", down());
    assert!(world.get("db").await.unwrap_err().is_not_found());
    world.clock.advance(seconds(6));
    assert!(!world.get("db").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_the_store_says_instead_of_a_value_ends_the_value() {
    let not_remembered = CacheLayer::builder()
        .stale_if_error(seconds(300))
        .negative_ttl(Duration::ZERO);
    let denied = CredentialError::access_denied("the token was withdrawn; ask for another");
    for said in [CredentialError::not_found("default:global:db"), denied] {
        let world = World::with(not_remembered.clone());
        world.put("db", 1, "one").await.unwrap();
        world.get("db").await.unwrap();
        world.clock.advance(seconds(61));
        world.store.once("get", Fault::Refuse(said.clone()));
        assert_eq!(world.get("db").await.unwrap_err(), said);
        assert_eq!(world.layer.stats().entries, 0);
        world.store.always("get", down());
        assert!(unavailable(&world.get("db").await.unwrap_err()));
    }
}

#[tokio::test]
async fn a_value_that_may_not_be_kept_ends_the_one_before_it() {
    let here = world(300);
    let there = other(&here);
    here.put("db", 1, "old").await.unwrap();
    here.get("db").await.unwrap();
    here.clock.advance(seconds(61));
    // Within the time before its expiry in which it is not served from memory.
    there.put_expiring("db", 2, "new", 9).await;
    assert_eq!(here.get("db").await.unwrap(), "new");
    here.store.always("get", down());
    assert!(unavailable(&here.get("db").await.unwrap_err()));
}

#[tokio::test]
async fn a_caller_without_time_is_told_so_and_spares_no_store() {
    let here = World::with(
        CacheLayer::builder()
            .stale_if_error(seconds(300))
            .error_ttl(seconds(30)),
    );
    let there = other(&here);
    here.put("db", 1, "one").await.unwrap();
    here.get("db").await.unwrap();
    there.put("db", 2, "two").await.unwrap();
    here.clock.advance(seconds(61));
    let mut late = here.ctx();
    late.deadline = Some(here.clock.now());
    let error = here.get_version("db", Selector::Latest, late).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let (value, source) = here.get_and_source("db").await;
    assert_eq!((value.unwrap().as_str(), source), ("two", None));
}

#[tokio::test(start_paused = true)]
async fn time_that_is_up_during_a_read_is_no_reason_to_serve_what_was() {
    let world = world(300);
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    world.clock.advance(seconds(61));
    world.store.once("get", Fault::Hang);
    let mut hasty = world.ctx();
    hasty.deadline = Some(world.clock.now() + seconds(1));
    let error = world
        .get_version("db", Selector::Latest, hasty)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let (value, source) = world.get_and_source("db").await;
    assert_eq!((value.unwrap().as_str(), source), ("one", None));
}

#[tokio::test]
async fn nothing_in_memory_is_an_answer_after_the_deadline() {
    let world = world(0);
    world.put("db", 1, "one").await.unwrap();
    world.get("db").await.unwrap();
    assert!(world.get("absent").await.unwrap_err().is_not_found());
    for name in ["db", "absent"] {
        let mut late = world.ctx();
        late.deadline = Some(world.clock.now());
        let error = world.get_version(name, Selector::Latest, late).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{name}");
    }
    assert_eq!(world.layer.stats().hits, 0);
}

#[tokio::test]
async fn a_store_that_is_down_is_spared_for_a_second() {
    let world = world(0);
    world.put("db", 1, "one").await.unwrap();
    world.store.script("get", 0, 1, down());
    world.get("db").await.unwrap_err();
    world.get("db").await.unwrap_err();
    assert_eq!(world.store.count("get"), 1);
    world.clock.advance(seconds(1));
    assert_eq!(world.get("db").await.unwrap(), "one");
}

#[tokio::test]
async fn other_errors_are_not_remembered() {
    let world = world(300);
    world.put("db", 1, "one").await.unwrap();
    let errors = [
        CredentialError::circuit_breaker_open("wait"),
        CredentialError::Tampered,
        CredentialError::storage("the disk failed; replace it"),
        CredentialError::access_denied("ask for it"),
    ];
    for error in errors {
        world.store.once("get", Fault::Refuse(error.clone()));
        assert_eq!(world.get("db").await.unwrap_err(), error);
        assert_eq!(world.get("db").await.unwrap(), "one");
        world.clock.advance(seconds(400));
    }
}

/// Says of the first read that time is up, after a while.
#[derive(Clone)]
struct LateOnce(Bare, Arc<AtomicBool>);

impl Service<Request<Plaintext>> for LateOnce {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer<Response<Plaintext>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Answer<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        if self.1.swap(true, Ordering::SeqCst) {
            return self.0.call(request);
        }
        Box::pin(async {
            tokio::task::yield_now().await;
            Err(CredentialError::deadline_exceeded("too slow"))
        })
    }
}

#[tokio::test]
async fn one_callers_lack_of_time_is_no_answer_for_those_who_wait_with_it() {
    let world = World::new();
    world.put("db", 1, "hunter2").await.unwrap();
    let service = world
        .layer
        .layer(LateOnce(Bare(world.store.handle()), Arc::default()));
    let ask = |ctx| {
        let op = get("db", Selector::Latest);
        service.clone().oneshot(Request { ctx, op })
    };
    // By the clock of its request, the one in a hurry has a moment left: timers go by another clock.
    let mut hurried = world.ctx();
    hurried.deadline = Some(hurried.now() + TimeDelta::seconds(60));
    let (hurried, patient) = tokio::join!(ask(hurried), ask(world.ctx()));
    assert_eq!(hurried.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    patient.unwrap();
}

/// Asks again after a second what could not be reached, as a layer of retries below does, if the caller has a second.
#[derive(Clone)]
struct OnceMore(Bare);

impl Service<Request<Plaintext>> for OnceMore {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer<Response<Plaintext>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Answer<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, Request { ctx, op }: Request<Plaintext>) -> Self::Future {
        let Op::Get(read) = op else {
            return self.0.call(Request { ctx, op });
        };
        let (mut inner, wait) = (self.0.clone(), seconds(1));
        Box::pin(async move {
            // Nobody is answered before all have asked.
            tokio::task::yield_now().await;
            let mut attempt = || {
                inner.call(Request {
                    ctx: ctx.clone(),
                    op: Op::Get(read.clone()),
                })
            };
            let answer = attempt().await;
            if !matches!(answer, Err(CredentialError::Unavailable { .. })) {
                return answer;
            }
            let left = ctx.deadline.map(|deadline| deadline - ctx.now());
            if left.is_some_and(|left| left.to_std().unwrap() <= wait) {
                ctx.report.as_ref().unwrap().cut_short_of(wait);
                return answer;
            }
            tokio::time::sleep(wait).await;
            attempt().await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_for_want_of_time_is_for_those_who_have_no_more() {
    let world = World::new();
    world.put("db", 1, "hunter2").await.unwrap();
    let service = world.layer.layer(OnceMore(Bare(world.store.handle())));
    let ask = |ctx| {
        let op = get("db", Selector::Latest);
        service.clone().oneshot(Request { ctx, op })
    };
    let within = |millis| {
        let mut ctx = world.ctx();
        ctx.deadline = Some(ctx.now() + TimeDelta::milliseconds(millis));
        ctx
    };
    world.store.once("get", down());
    let (first, hurried, patient, other) = tokio::join!(
        ask(within(500)),
        ask(within(900)),
        ask(within(1100)),
        ask(world.ctx()),
    );
    for hurried in [first, hurried] {
        assert_eq!(
            hurried.unwrap_err(),
            CredentialError::unavailable("the store is down; start it")
        );
    }
    patient.unwrap();
    other.unwrap();
    // One for those in a hurry, and one for those who are not.
    assert_eq!(world.store.count("get"), 2);

    // Nor is it, for a while, for those who come later.
    world.clock.advance(seconds(400));
    world.store.once("get", down());
    for _ in 0..3 {
        assert_eq!(
            ask(within(800)).await.unwrap_err(),
            CredentialError::unavailable("the store is down; start it")
        );
    }
    assert_eq!(world.store.count("get"), 3);
    ask(within(1200)).await.unwrap();
    ask(within(100)).await.unwrap();
    assert_eq!(world.store.count("get"), 4);
}
