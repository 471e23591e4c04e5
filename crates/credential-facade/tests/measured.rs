//! What the parts of a stack measure goes to the one emitter they share.

#![cfg(all(
    feature = "access",
    feature = "audit",
    feature = "cache",
    feature = "resilience",
    feature = "telemetry"
))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nebula_credential::access::{AccessLayer, PolicyFile};
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, Resilience, RetryConfig};
use nebula_credential::{CredentialName, Labels, MetricsEmitter, PolicyEpoch, Principal, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore, TestClock};

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
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

/// Keeps what it was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(String, f64)>>>);

impl Told {
    fn tell(&self, name: &str, labels: Labels<'_>, value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let name = name.strip_prefix("nebula_credential_").unwrap();
        let series = format!("{name}{{{}}}", labels.join(","));
        self.0.lock().unwrap().push((series, value));
    }

    /// What was told of a series, in its order.
    fn of(&self, series: &str) -> Vec<f64> {
        let told = self.0.lock().unwrap();
        let of_series = told.iter().filter(|(name, _)| name == series);
        of_series.map(|(_, value)| *value).collect()
    }
}

impl MetricsEmitter for Told {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        self.tell(name, labels, by as f64);
    }
    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.tell(name, labels, value);
    }
    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.tell(name, labels, value);
    }
}

#[tokio::test]
async fn every_part_tells_the_one_emitter() {
    let directory = tempfile::tempdir().unwrap();
    let (told, clock) = (Told::default(), TestClock::new());
    let metrics: Arc<dyn MetricsEmitter> = Arc::new(told.clone());
    let policy = directory.path().join("policy.toml");
    fs::write(&policy, POLICY).unwrap();
    let mut file = PolicyFile::open_with(&policy, PolicyEpoch::default(), Arc::clone(&metrics)).unwrap();
    let store = FaultStore::new(StoreHandle::new(LocalStorage::new(
        directory.path().join("secrets"),
    )));
    let resilience = Resilience::new(
        BreakerConfig::default(),
        Arc::new(clock.clone()),
        Arc::clone(&metrics),
    )
    .retry(RetryConfig {
        base: Duration::ZERO,
        ..RetryConfig::default()
    });
    let user = |name| Principal::User(CredentialName::new(name).unwrap());
    let alice = CredentialManager::builder()
        .storage_handle(store.handle())
        .keys(Keys::key_file(directory.path().join("config/key")))
        .clock(clock.clone())
        .access(
            AccessLayer::builder(file.policies())
                .metrics(Arc::clone(&metrics))
                .build(),
        )
        .audit_log(
            AuditLogger::builder(directory.path().join("audit.log"))
                .metrics(Arc::clone(&metrics))
                .build(),
        )
        .resilience(resilience)
        .cache_ttl(Duration::from_secs(60))
        .metrics(metrics)
        .principal(user("alice"))
        .build();

    alice.store("n", note("one")).await.unwrap();
    store.once("get", Fault::Refuse(CredentialError::unavailable("away")));
    alice.get::<Note>("n").await.unwrap();
    alice.get::<Note>("n").await.unwrap();
    assert_eq!(told.of("operations_total{operation=get,outcome=ok}"), [1.0, 1.0]);
    assert_eq!(told.of("retries_total{operation=get,outcome=retried}"), [1.0]);
    assert_eq!(told.of("cache_reads_total{result=hit}"), [1.0]);
    assert_eq!(told.of("audit_records_total{event=accessed}"), [1.0, 1.0]);
    assert_eq!(
        told.of("access_decisions_total{decision=allowed,permission=read}"),
        [1.0, 1.0]
    );

    // A policy denies, and so does an allow-list, which no policy is asked about.
    alice
        .with_principal(user("bob"))
        .get::<Note>("n")
        .await
        .unwrap_err();
    assert_eq!(told.of("denied_total{operation=get}"), [1.0]);
    alice
        .context(user("alice"))
        .get_credential::<Note>("n")
        .await
        .unwrap_err();
    assert_eq!(told.of("denied_total{operation=get}"), [1.0, 1.0]);
    assert_eq!(
        told.of("operations_total{operation=get,outcome=access_denied}"),
        [1.0, 1.0]
    );
    assert_eq!(
        told.of("access_decisions_total{decision=denied,permission=read}"),
        [1.0]
    );
    assert_eq!(told.of("audit_records_total{event=permission_denied}"), [1.0]);
    assert_eq!(told.of("audit_records_total{event=scope_violation}"), [1.0]);

    fs::write(&policy, format!("{POLICY}# as before\n")).unwrap();
    file.reload();
    assert_eq!(told.of("access_reloads_total{outcome=applied}").len(), 1);
}

#[tokio::test]
async fn a_live_handle_tells_how_late_it_was_and_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (told, clock) = (Told::default(), TestClock::new());
    let builder = || {
        CredentialManager::builder()
            .storage(LocalStorage::new(directory.path().join("secrets")))
            .keys(Keys::key_file(directory.path().join("config/key")))
    };
    let ours = builder().clock(clock.clone()).metrics(told.clone()).build();
    // Of a process whose clock is 7 seconds behind: as if the news had taken that long.
    let behind = TestClock::new();
    clock.advance(Duration::from_secs(7));
    let theirs = builder().clock(behind).build();
    theirs.store("n", note("one")).await.unwrap();
    let handle: CredentialHandle<Note> = ours.handle("n").await.unwrap();
    let mut changes = handle.changes();
    theirs.rotate("n", note("two")).await.unwrap();
    changes.next().await.unwrap();
    theirs.delete("n").await.unwrap();
    changes.next().await.unwrap();
    assert!(changes.next().await.is_none());
    assert_eq!(told.of("handle_lag_seconds{}"), [7.0]);
    assert_eq!(told.of("handle_renewals_total{outcome=rotated}"), [1.0]);
    assert_eq!(told.of("handle_renewals_total{outcome=ended}"), [1.0]);
}
