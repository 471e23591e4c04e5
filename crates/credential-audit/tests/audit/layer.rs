//! What passes the layer is recorded: before a change, and before a value is released.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_audit::{AuditLayer, AuditLogger, Entry, entries};
use nebula_credential_core::{
    CredentialError, Decision, Delete, DeleteMode, Get, List, Op, OpContext, Page, Phase, Plaintext,
    Precondition, Principal, Put, Record, RecordHead, Request, Response, Selector, Source, Tags, TenantId,
    Version, VersionHead,
};
use nebula_credential_testkit::{Canary, LeakHunter};
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

use crate::support::{Place, id};

type Answer = Result<Response<Plaintext>, CredentialError>;

pub(crate) fn get() -> Op<Plaintext> {
    Op::Get(Get {
        id: id("db"),
        version: Selector::Latest,
    })
}

fn version(number: u32, ctx: &OpContext) -> VersionHead {
    VersionHead {
        version: Version::new(number).unwrap(),
        credential_type: "test".into(),
        schema_version: 1,
        created_at: ctx.now(),
        expires_at: None,
    }
}

fn put(ctx: &OpContext, number: u32, value: &str) -> Op<Plaintext> {
    Op::Put(Put {
        id: id("db"),
        version: version(number, ctx),
        phase: Phase::Active,
        tags: None,
        payload: Plaintext::new(value.as_bytes().to_vec()),
        precondition: Precondition::None,
        token: None,
        keep_versions: 10,
    })
}

fn head(ctx: &OpContext) -> RecordHead {
    let version = version(3, ctx);
    RecordHead {
        id: id("db"),
        latest: version.version,
        version,
        phase: Phase::Active,
        created_at: ctx.now(),
        updated_at: ctx.now(),
        deleted_at: None,
        tags: Tags::new(),
    }
}

pub(crate) fn record(ctx: &OpContext, value: &str) -> Answer {
    Ok(Response::Record(Record {
        head: head(ctx),
        payload: Plaintext::new(value.as_bytes().to_vec()),
    }))
}

pub(crate) fn context(place: &Place) -> OpContext {
    let mut ctx = OpContext::new(Principal::Process, Arc::new(place.clock.clone()));
    ctx.purpose = Some("nightly report".into());
    ctx
}

/// Asks a stack whose inside is `answer`.
pub(crate) async fn ask(
    log: &AuditLogger,
    ctx: OpContext,
    op: Op<Plaintext>,
    answer: impl Fn(&OpContext) -> Answer + Clone + Send + 'static,
) -> Answer {
    let inner = service_fn(move |request: Request<Plaintext>| {
        let answer = answer(&request.ctx);
        async move { answer }
    });
    AuditLayer::new(log.clone())
        .layer(inner)
        .oneshot(Request { ctx, op })
        .await
}

/// The records behind the first, which says that the log was opened.
fn recorded(place: &Place) -> Vec<Entry> {
    entries(place.path())
        .unwrap()
        .map(Result::unwrap)
        .skip(1)
        .collect()
}

fn brief(entries: &[Entry]) -> Vec<String> {
    let brief = |entry: &Entry| {
        format!(
            "{} {} {}",
            entry.event,
            entry.stage,
            entry.outcome.as_deref().unwrap_or("-")
        )
    };
    entries.iter().map(brief).collect()
}

#[tokio::test]
async fn a_read_is_one_record_with_the_version_and_the_source() {
    let place = Place::new();
    let log = place.logger();
    let answer = ask(&log, context(&place), get(), |ctx| {
        let age = Duration::from_secs(1);
        ctx.report.as_ref().unwrap().served_by(Source::Cache { age });
        record(ctx, "secret")
    });
    answer.await.unwrap();
    let records = recorded(&place);
    assert_eq!(brief(&records), ["accessed outcome ok"]);
    let record = &records[0];
    assert_eq!(record.version, Some(3));
    assert_eq!(record.source.as_deref(), Some("cache"));
    assert_eq!(record.purpose.as_deref(), Some("nightly report"));
    assert_eq!(record.permission.as_deref(), Some("read"));
}

#[tokio::test]
async fn a_change_is_recorded_before_and_after() {
    let place = Place::new();
    let log = place.logger();
    let ctx = context(&place);
    let path = place.path();
    let stored = ask(&log, ctx.clone(), put(&ctx, 1, "one"), move |ctx| {
        // The intent is there when the change is made.
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("\"stage\":\"intent\"")
        );
        Ok(Response::Head(head(ctx)))
    });
    stored.await.unwrap();
    let deletion = Op::Delete(Delete {
        id: id("db"),
        mode: DeleteMode::Purge,
        precondition: Precondition::None,
    });
    let refused = ask(&log, ctx.clone(), deletion, |_| {
        Err(CredentialError::storage("broken"))
    });
    refused.await.unwrap_err();
    let records = recorded(&place);
    assert_eq!(
        brief(&records),
        [
            "created intent -",
            "created outcome ok",
            "purged intent -",
            "purged outcome storage"
        ]
    );
    assert_eq!(records[1].intent, Some(records[0].seq));
    assert_eq!(records[3].intent, Some(records[2].seq));
    assert!(place.verify().is_intact());
}

#[tokio::test]
async fn a_change_whose_caller_gives_up_is_recorded_as_abandoned() {
    let place = Place::new();
    let log = place.logger();
    let ctx = context(&place);
    let (begun, waiting) = tokio::sync::oneshot::channel();
    let begun = std::sync::Mutex::new(Some(begun));
    let inner = service_fn(move |_: Request<Plaintext>| {
        let begun = begun.lock().unwrap().take();
        async move {
            begun.unwrap().send(()).unwrap();
            std::future::pending::<Answer>().await
        }
    });
    let inner = tower::util::BoxCloneService::new(service_fn({
        let inner = Arc::new(tokio::sync::Mutex::new(inner));
        move |request| {
            let inner = Arc::clone(&inner);
            async move { tower::Service::call(&mut *inner.lock().await, request).await }
        }
    }));
    let service = AuditLayer::new(log).layer(inner);
    let op = put(&ctx, 2, "two");
    let change = tokio::spawn(service.oneshot(Request { ctx, op }));
    waiting.await.unwrap();
    change.abort();
    assert!(change.await.unwrap_err().is_cancelled());
    assert_eq!(
        brief(&recorded(&place)),
        ["updated intent -", "updated outcome abandoned"]
    );
}

#[tokio::test]
async fn a_change_in_an_emergency_is_recorded_as_one_also_where_its_caller_gives_up() {
    let place = Place::new();
    let ctx = context(&place);
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = Arc::clone(&begun);
    let inner = service_fn(move |request: Request<Plaintext>| {
        request.ctx.report.unwrap().decided(Decision {
            allowed: true,
            rule: "emergency:break-glass".into(),
        });
        begins.notify_one();
        std::future::pending::<Answer>()
    });
    let op = put(&ctx, 2, "two");
    let service = AuditLayer::new(place.logger()).layer(inner);
    let change = tokio::spawn(service.oneshot(Request { ctx, op }));
    begun.notified().await;
    change.abort();
    assert!(change.await.unwrap_err().is_cancelled());
    let records = recorded(&place);
    assert_eq!(
        brief(&records),
        ["updated intent -", "emergency_access outcome abandoned"]
    );
    assert_eq!(records[1].rule.as_deref(), Some("emergency:break-glass"));
}

#[tokio::test]
async fn what_was_denied_and_what_was_damaged_is_told_apart_though_the_caller_is_not_told() {
    let place = Place::new();
    let log = place.logger();
    let denied = ask(&log, context(&place), get(), |ctx| {
        ctx.report.as_ref().unwrap().decided(Decision {
            allowed: false,
            rule: "default-deny".into(),
        });
        Err(CredentialError::not_found("db"))
    });
    assert!(denied.await.unwrap_err().is_not_found());
    let damaged = ask(&log, context(&place), get(), |_| Err(CredentialError::Tampered));
    assert!(damaged.await.unwrap_err().is_tampered());
    // Looking at names is not recorded unless asked for, but for what is denied.
    let list = || Op::List(List::of(TenantId::default()));
    let listed = ask(&log, context(&place), list(), |_| {
        Ok(Response::Page(Page::default()))
    });
    listed.await.unwrap();
    let curious = place.builder().inspections(true).build();
    let listed = ask(&curious, context(&place), list(), |_| {
        Ok(Response::Page(Page::default()))
    });
    listed.await.unwrap();
    let records = recorded(&place);
    assert_eq!(
        brief(&records),
        [
            "permission_denied outcome not_found",
            "decryption_failed outcome tampered",
            "log_opened outcome -",
            "inspected outcome ok"
        ]
    );
    assert_eq!(records[0].rule.as_deref(), Some("default-deny"));
}

#[tokio::test]
async fn a_look_that_a_store_refuses_is_recorded_without_a_decision() {
    let place = Place::new();
    let log = place.logger();
    let list = Op::List(List::of(TenantId::default()));
    let refused = ask(&log, context(&place), list, |_| {
        Err(CredentialError::access_denied("not for you"))
    });
    assert!(refused.await.unwrap_err().is_access_denied());
    assert_eq!(brief(&recorded(&place)), ["inspected outcome access_denied"]);
}

#[tokio::test]
async fn no_value_reaches_the_log() {
    let place = Place::new();
    let log = place.logger();
    let canary = Canary::text();
    let secret = canary.secret();
    let ctx = context(&place);
    let written = ask(&log, ctx.clone(), put(&ctx, 1, &secret), |ctx| {
        Ok(Response::Head(head(ctx)))
    });
    written.await.unwrap();
    let value = secret.clone();
    ask(&log, ctx, get(), move |ctx| record(ctx, &value))
        .await
        .unwrap();
    let hunter = LeakHunter::new().hunt("the value", &canary);
    for file in ["", ".state", ".seed"] {
        let path = place.directory.path().join(format!("audit.log{file}"));
        hunter.check(file, std::fs::read(path).unwrap());
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_while_the_intent_is_synced_is_recorded_too() {
    let place = Place::new();
    let ctx = context(&place);
    let op = put(&ctx, 2, "two");
    let inner = service_fn(|_: Request<Plaintext>| std::future::pending::<Answer>());
    let mut change = Box::pin(
        AuditLayer::new(place.logger())
            .layer(inner)
            .oneshot(Request { ctx, op }),
    );
    let once = std::future::poll_fn(|cx| std::task::Poll::Ready(change.as_mut().poll(cx).is_pending()));
    assert!(once.await);
    drop(change);
    assert_eq!(
        brief(&recorded(&place)),
        ["updated intent -", "updated outcome abandoned"]
    );
}

#[test]
fn no_runtime_is_assumed() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let place = Place::new();
    let log = place.logger();
    let ctx = context(&place);
    let op = put(&ctx, 2, "two");
    let mut change = Box::pin(ask(&log, ctx, op, |ctx| Ok(Response::Head(head(ctx)))));
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let answer = loop {
        match change.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(answer) => break answer,
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    answer.unwrap();
    assert_eq!(
        brief(&recorded(&place)),
        ["updated intent -", "updated outcome ok"]
    );
}
