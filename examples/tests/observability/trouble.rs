//! A manager that has seen everything go wrong that a metric tells of.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nebula_credential::access::{AccessLayer, PolicyFile};
use nebula_credential::audit::AuditSink;
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, RateLimit, Resilience, RetryConfig};
use nebula_credential::telemetry::MetricsCrate;
use nebula_credential::{
    Clock as _, CredentialName, MetricsEmitter, PolicyEpoch, Principal, StoreHandle, SystemClock,
};
use nebula_credential_testkit::{Fault, FaultStore};

const POLICY: &str = r#"
version = 1

[[rules]]
id = "the-app"
effect = "allow"
principals = ["service:app"]
permissions = ["*"]
tenants = ["*"]
"#;

/// Takes nothing.
#[derive(Debug)]
struct Full;

impl AuditSink for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn take(&self, _: &str) -> bool {
        false
    }
}

fn service(name: &str) -> Principal {
    Principal::Service(CredentialName::new(name).unwrap())
}

fn token() -> BearerCredential {
    BearerCredential::new("mF_9.B5f-4.1JqM")
}

pub(crate) async fn troubled(directory: &Path) -> (CredentialManager, PrometheusHandle) {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.01, 1.0])
        .unwrap()
        .build_recorder();
    let page = recorder.handle();
    let metrics: Arc<dyn MetricsEmitter> = Arc::new(MetricsCrate::new(recorder));

    let policy = directory.join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let mut policy_file =
        PolicyFile::open_with(&policy, PolicyEpoch::default(), Arc::clone(&metrics)).unwrap();
    let access = AccessLayer::builder(policy_file.policies()).metrics(Arc::clone(&metrics));
    let (log, away) = (directory.join("audit.log"), directory.join("away"));
    let audit = AuditLogger::builder(&log)
        .sink(Full)
        .metrics(Arc::clone(&metrics));
    let breaker = BreakerConfig {
        failure_threshold: 1,
        ..BreakerConfig::default()
    };
    let resilience =
        Resilience::new(breaker, Arc::new(SystemClock), Arc::clone(&metrics)).retry(RetryConfig {
            base: Duration::ZERO,
            ..RetryConfig::default()
        });
    let limit = RateLimit {
        per_second: 1,
        burst: 1,
    };
    let once = Resilience::new(
        BreakerConfig::default(),
        Arc::new(SystemClock),
        Arc::clone(&metrics),
    );
    let limited = CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
        .resilience(once.rate_limit(limit))
        .build();
    let faults = FaultStore::new(StoreHandle::new(LocalStorage::new(directory.join("secrets"))));
    let manager = CredentialManager::builder()
        .storage_handle(faults.handle())
        .keys(Keys::key_file(directory.join("config/key")))
        .access(access.build())
        .audit_log(audit.build())
        .cache_ttl(Duration::from_secs(60))
        .resilience(resilience)
        .metrics(metrics)
        .principal(service("app"))
        .build();

    // A handle has a new version; what was kept of the old one goes.
    manager.store("n", token()).await.unwrap();
    for _ in 0..2 {
        manager.get::<BearerCredential>("n").await.unwrap();
    }
    let handle: CredentialHandle<BearerCredential> = manager.handle("n").await.unwrap();
    let mut changes = handle.changes();
    manager.rotate("n", token()).await.unwrap();
    changes.next().await.unwrap();
    // It would ask for the value as well.
    drop((handle, changes));
    // Not kept: it expires too soon.
    let mut short_lived = token();
    short_lived.expires_at = Some(SystemClock.now() + Duration::from_secs(9));
    manager.store("soon", short_lived).await.unwrap();
    manager.get::<BearerCredential>("soon").await.unwrap();
    // Denied, and the policy replaced.
    let other = manager.with_principal(service("other"));
    assert!(other.get::<BearerCredential>("n").await.is_err());
    std::fs::write(&policy, format!("{POLICY}\n# The same again.\n")).unwrap();
    policy_file.reload();
    // Damaged.
    faults.always("get", Fault::FlipBit(8 * 160));
    let damaged = manager.get::<BearerCredential>("n").await.err().unwrap();
    assert!(damaged.is_tampered(), "{damaged}");
    faults.heal();
    // No record, no answer.
    std::fs::rename(&log, &away).unwrap();
    assert!(manager.get::<BearerCredential>("n").await.is_err());
    std::fs::rename(&away, &log).unwrap();
    // Too often for a limit.
    for name in ["x", "y", "z"] {
        assert!(limited.get::<BearerCredential>(name).await.is_err());
    }
    // Asked again in vain, and not at all.
    faults.always("get", Fault::Refuse(CredentialError::unavailable("away")));
    for name in ["x", "y"] {
        assert!(manager.get::<BearerCredential>(name).await.is_err());
    }
    (manager, page)
}
