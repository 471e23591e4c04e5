//! What a health check finds, and what it emits.

#![cfg(all(
    feature = "audit",
    feature = "cache",
    feature = "resilience",
    feature = "telemetry"
))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use nebula_credential::audit::OnFailure;
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, BreakerState, Resilience};
use nebula_credential::{Clock as _, HealthStatus, Labels, ManagerBuilder, MetricsEmitter, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore, TestClock};
use tempfile::TempDir;

#[derive(Clone, Default)]
struct Gauges(Arc<Mutex<BTreeMap<String, f64>>>);

impl Gauges {
    fn of(&self, series: &str) -> Option<f64> {
        self.0.lock().unwrap().get(series).copied()
    }
}

impl MetricsEmitter for Gauges {
    fn increment(&self, _: &'static str, _: Labels<'_>, _: u64) {}
    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        let labels: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
        let series = format!(
            "{} {}",
            name.trim_start_matches("nebula_credential_"),
            labels.join(",")
        );
        self.0.lock().unwrap().insert(series.trim_end().to_owned(), value);
    }
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

struct Place {
    directory: TempDir,
    faults: FaultStore,
    clock: TestClock,
    gauges: Gauges,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(directory.path().join("secrets"));
        Self {
            faults: FaultStore::new(StoreHandle::new(store)),
            directory,
            clock: TestClock::default(),
            gauges: Gauges::default(),
        }
    }

    fn builder(&self) -> ManagerBuilder {
        CredentialManager::builder()
            .storage_handle(self.faults.handle())
            .keys(Keys::key_file(self.directory.path().join("config/key")))
            .clock(self.clock.clone())
            .metrics(self.gauges.clone())
    }

    fn log(&self) -> std::path::PathBuf {
        let folder = self.directory.path().join("log");
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("audit.log")
    }
}

fn basic() -> BasicCredential {
    BasicCredential::new("app", "s3cret")
}

#[tokio::test]
async fn what_works_is_healthy_and_what_expires_next_is_told() {
    let place = Place::new();
    let manager = place
        .builder()
        .audit_log(AuditLogger::new(place.log()))
        .cache_ttl(Duration::from_secs(60))
        .resilience(Resilience::default())
        .build();
    let empty = manager.health().await;
    assert_eq!(
        (empty.status, empty.soonest_expiry),
        (HealthStatus::Healthy, None)
    );
    assert_eq!(place.gauges.of("soonest_expiry_seconds"), Some(f64::INFINITY));

    let now = place.clock.now();
    manager.store("never", basic()).await.unwrap();
    for (name, hours) in [("later", 30), ("soon", 3), ("sooner", 1), ("latest", 90)] {
        let at = now + TimeDelta::hours(hours);
        manager.store(name, basic()).expires_at(at).await.unwrap();
    }
    place.clock.advance(Duration::from_secs(2 * 3600));
    let report = manager.health().await;
    assert_eq!(report.status.http_status(), 200);
    assert_eq!(report.soonest_expiry, Some(TimeDelta::hours(1)));
    assert_eq!((report.expired, report.breaker), (1, Some(BreakerState::Closed)));
    assert_eq!(report.audit, Some(Ok(())));
    let key = report.keys.unwrap();
    assert_eq!(
        (key.age, key.seals, key.rotation_due),
        (TimeDelta::hours(2), true, false)
    );
    // Five values and two self-tests.
    assert_eq!(key.wraps, 7);
    for (series, value) in [
        ("up all", 1.0),
        ("up store", 1.0),
        ("up keys", 1.0),
        ("up audit", 1.0),
        ("soonest_expiry_seconds", 3600.0),
        ("expired_credentials", 1.0),
        ("key_age_seconds", 7200.0),
        ("key_wraps", 7.0),
    ] {
        assert_eq!(place.gauges.of(series), Some(value), "{series}");
    }
    assert!(place.gauges.of("store_answer_seconds").unwrap() > 0.0);
}

#[tokio::test]
async fn a_store_that_is_away_is_unhealthy_and_told_apart_from_the_keys() {
    let place = Place::new();
    let manager = place.builder().build();
    manager.store("n", basic()).await.unwrap();
    let away = CredentialError::unavailable("away");
    place.faults.always("list", Fault::Refuse(away.clone()));
    let report = manager.health().await;
    assert_eq!(
        (report.status, report.status.http_status()),
        (HealthStatus::Unhealthy, 503)
    );
    assert_eq!(report.store, Err(away));
    assert!(report.keys.is_ok());
    assert_eq!(place.gauges.of("up store"), Some(0.0));
    assert_eq!(place.gauges.of("up keys"), Some(1.0));
    assert_eq!(place.gauges.of("soonest_expiry_seconds"), None, "it is not known");
}

#[tokio::test]
async fn a_key_ring_that_does_not_open_is_unhealthy() {
    let place = Place::new();
    place.builder().build().store("n", basic()).await.unwrap();
    let report = place.builder().keys(Keys::none()).build().health().await;
    assert_eq!(report.status, HealthStatus::Unhealthy);
    assert!(report.store.is_ok() && report.keys.is_err());
}

#[tokio::test]
async fn a_key_that_is_due_degrades_and_one_that_is_worn_out_says_that_it_does_not_seal() {
    let place = Place::new();
    let manager = place.builder().build();
    manager.store("n", basic()).await.unwrap();
    for (days, seals) in [(366, true), (366, false)] {
        place.clock.advance(Duration::from_secs(days * 86_400));
        let report = manager.health().await;
        assert_eq!(report.status, HealthStatus::Degraded);
        let key = report.keys.unwrap();
        assert_eq!((key.rotation_due, key.seals), (true, seals));
    }
    manager.rotate_key().await.unwrap();
    assert_eq!(manager.health().await.status, HealthStatus::Healthy);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_as_bad_as_its_policy_says() {
    for (policy, status) in [
        (OnFailure::FailClosed, HealthStatus::Unhealthy),
        (OnFailure::BestEffort, HealthStatus::Degraded),
    ] {
        let place = Place::new();
        let log = AuditLogger::builder(place.log()).on_failure(policy).build();
        let manager = place.builder().audit_log(log).build();
        assert_eq!(manager.health().await.status, HealthStatus::Healthy);
        std::fs::remove_dir_all(place.directory.path().join("log")).unwrap();
        let report = manager.health().await;
        assert_eq!(report.status, status);
        assert!(report.audit.unwrap().is_err());
        assert_eq!(place.gauges.of("up audit"), Some(0.0));
    }
}

#[cfg(feature = "access")]
#[tokio::test]
async fn a_policy_that_is_not_the_one_in_its_file_degrades() {
    use nebula_credential::access::{AccessLayer, PolicyFile, Reload};

    let place = Place::new();
    let path = place.directory.path().join("policy.toml");
    std::fs::write(&path, "version = 1").unwrap();
    let mut file = PolicyFile::open(&path).unwrap();
    let manager = place.builder().access(AccessLayer::new(file.policies())).build();
    for (text, status, up) in [
        ("version = 1", HealthStatus::Healthy, 1.0),
        ("version = 0", HealthStatus::Degraded, 0.0),
        ("version = 1", HealthStatus::Healthy, 1.0),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(matches!(file.reload(), Reload::Refused(_)), up == 0.0);
        assert_eq!(manager.health().await.status, status);
        assert_eq!(place.gauges.of("up policy"), Some(up));
    }
}

#[tokio::test]
async fn an_open_breaker_degrades() {
    let place = Place::new();
    let breaker = BreakerConfig {
        failure_threshold: 1,
        ..BreakerConfig::default()
    };
    let clock = Arc::new(place.clock.clone());
    let resilience = Resilience::new(breaker, clock, Arc::new(place.gauges.clone()));
    assert_eq!(place.gauges.of("breaker_state store"), Some(0.0));
    let manager = place.builder().resilience(resilience).build();
    manager.open().await.unwrap();
    let damaged = CredentialError::storage("damaged");
    place.faults.once("get", Fault::Refuse(damaged));
    assert!(manager.get::<BasicCredential>("n").await.is_err());
    let report = manager.health().await;
    assert_eq!(report.breaker, Some(BreakerState::Open));
    assert_eq!(report.status, HealthStatus::Degraded);
    assert_eq!(place.gauges.of("breaker_state store"), Some(2.0));
}
