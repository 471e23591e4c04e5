//! What is emitted for each outcome, and that nothing of a value is.

#![allow(
    clippy::unwrap_used,
    reason = "what a test asks of its own services must not fail"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nebula_credential_core::{Clock as _, Principal};
use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, Decision, Get, Labels, List, MetricsEmitter, Op,
    OpContext, Page, Phase, Plaintext, Record, RecordHead, Request, Response, Scope, Selector, Source,
    SystemClock, Tags, TenantId, Version, VersionHead,
};
use nebula_credential_telemetry::TelemetryLayer;
use nebula_credential_testkit::{Canary, LeakHunter, TraceCapture};
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<String>>>);

impl Ledger {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn counters(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl MetricsEmitter for Ledger {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        self.add(format!("{name}{{{}}} {by}", labels.join(",")));
    }
    fn gauge(&self, name: &'static str, _: Labels<'_>, _: f64) {
        self.add(name.to_owned());
    }
    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        assert!((0.0..60.0).contains(&value));
        self.add(format!("{name} {labels:?}"));
    }
}

fn id() -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new("db").unwrap(),
    )
}

fn get() -> Op<Plaintext> {
    Op::Get(Get {
        id: id(),
        version: Selector::Latest,
    })
}

fn record(payload: &[u8]) -> Response<Plaintext> {
    let now = SystemClock.now();
    let version = VersionHead {
        version: Version::FIRST,
        credential_type: "test".into(),
        schema_version: 1,
        created_at: now,
        expires_at: None,
    };
    Response::Record(Record {
        head: RecordHead {
            id: id(),
            latest: version.version,
            version,
            phase: Phase::Active,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            tags: Tags::new(),
        },
        payload: Plaintext::new(payload.to_vec()),
    })
}

/// Asks a stack whose inside is `answer`, and what was counted.
async fn counted(
    op: Op<Plaintext>,
    answer: impl Fn(&OpContext) -> Result<Response<Plaintext>, CredentialError> + Clone,
) -> Vec<String> {
    let ledger = Ledger::default();
    let inner = service_fn(move |request: Request<Plaintext>| {
        let answer = answer(&request.ctx);
        async move { answer }
    });
    let mut ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    ctx.trace_id = Some([0xAB; 16]);
    let service = TelemetryLayer::new(Arc::new(ledger.clone())).layer(inner);
    let _ = service.oneshot(Request { ctx, op }).await;
    ledger.counters()
}

#[tokio::test]
async fn every_outcome_is_counted_once() {
    let served = |source: &str| format!("nebula_credential_values_served_total{{source={source}}} 1");
    let duration = |operation: &str, result: &str| {
        format!(
            "nebula_credential_operation_duration_seconds [(\"operation\", \"{operation}\"), (\"result\", \"{result}\")]"
        )
    };
    let operations = |operation: &str, outcome: &str| {
        format!("nebula_credential_operations_total{{operation={operation},outcome={outcome}}} 1")
    };

    let got = counted(get(), |_| Ok(record(b"x"))).await;
    assert_eq!(
        got,
        [operations("get", "ok"), duration("get", "ok"), served("store")]
    );

    let cached = counted(get(), |ctx| {
        let age = Duration::from_secs(1);
        ctx.report.as_ref().unwrap().served_by(Source::Cache { age });
        Ok(record(b"x"))
    });
    assert_eq!(
        cached.await,
        [operations("get", "ok"), duration("get", "ok"), served("cache")]
    );

    let listed = counted(Op::List(List::of(TenantId::default())), |_| {
        Ok(Response::Page(Page::default()))
    });
    assert_eq!(listed.await, [operations("list", "ok"), duration("list", "ok")]);

    let tampered = counted(get(), |_| Err(CredentialError::Tampered)).await;
    let detected = "nebula_credential_tamper_detections_total{operation=get} 1".to_owned();
    assert_eq!(
        tampered,
        [operations("get", "tampered"), duration("get", "error"), detected]
    );

    // What the caller is told may be less than what was decided.
    let denied = counted(get(), |ctx| {
        ctx.report.as_ref().unwrap().decided(Decision {
            allowed: false,
            rule: "default-deny".into(),
        });
        Err(CredentialError::not_found("db"))
    });
    let counted_as_denied = "nebula_credential_denied_total{operation=get} 1".to_owned();
    assert_eq!(
        denied.await,
        [
            operations("get", "not_found"),
            duration("get", "error"),
            counted_as_denied
        ]
    );
}

#[test]
fn spans_tell_the_circumstances_and_no_value() {
    let canary = Canary::text();
    let secret = canary.secret();
    let capture = TraceCapture::new();
    let guard = capture.capture_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(counted(get(), move |ctx| {
        ctx.report.as_ref().unwrap().decided(Decision {
            allowed: true,
            rule: "owner".into(),
        });
        Ok(record(secret.as_bytes()))
    }));
    drop(guard);
    let text = capture.text();
    let trace_id = "ab".repeat(16);
    for expected in [
        "credential",
        "operation",
        "default",
        "db",
        "process",
        &trace_id,
        "owner",
        "ok",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    LeakHunter::new().hunt("the value", &canary).check("spans", &text);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_its_caller_gives_up_is_counted_as_abandoned() {
    let ledger = Ledger::default();
    let silent = service_fn(|_: Request<Plaintext>| {
        std::future::pending::<Result<Response<Plaintext>, CredentialError>>()
    });
    let service = TelemetryLayer::new(Arc::new(ledger.clone())).layer(silent);
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    let asked = service.oneshot(Request { ctx, op: get() });
    assert!(
        tokio::time::timeout(Duration::from_secs(60), asked)
            .await
            .is_err()
    );
    let expected = "nebula_credential_operations_total{operation=get,outcome=abandoned} 1";
    assert_eq!(ledger.counters(), [expected]);
}
