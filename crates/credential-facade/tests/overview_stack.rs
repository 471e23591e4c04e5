//! What the overview shows of caching, audit, chains and breakers, as a program that takes only the facade would write it.

#![cfg(all(feature = "audit", feature = "cache", feature = "resilience"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nebula_credential::audit::{AuditSeed, VerifyWith, entries, verify};
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, BreakerState};
use nebula_credential::{Clock, CredentialName, ManagerBuilder, Principal};
use nebula_credential_testkit::TestClock;
use tempfile::TempDir;

fn builder(directory: &TempDir) -> ManagerBuilder {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config").join("key")))
}

fn api_key(key: &str) -> ApiKeyCredential {
    ApiKeyCredential {
        api_key: key.into(),
        endpoint: "https://api.example.com".into(),
    }
}

fn aws(region: &str, expires_at: Option<DateTime<Utc>>) -> AwsCredential {
    AwsCredential {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: "not-a-key".into(),
        session_token: None,
        region: region.into(),
        role_arn: None,
        external_id: None,
        expires_at,
    }
}

#[tokio::test]
async fn the_first_call_reads_the_store_and_the_second_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let manager = builder(&directory).cache_ttl(Duration::from_secs(300)).build();
    manager.store("api_key", api_key("one")).await.unwrap();
    let cred1: ApiKeyCredential = manager.get("api_key").await.unwrap();
    let cred2: ApiKeyCredential = manager.get("api_key").await.unwrap();
    assert_eq!(cred1.api_key, cred2.api_key);
    let stats = manager.cache_stats().unwrap();
    assert_eq!((stats.misses, stats.hits), (1, 1));
}

#[tokio::test]
async fn the_log_says_who_when_what_and_how_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let clock = TestClock::new();
    let manager = builder(&directory)
        .clock(clock.clone())
        .audit_log(AuditLogger::new(&path))
        .build();
    manager.store("api_key", api_key("sk_live_1")).await.unwrap();
    clock.advance(Duration::from_secs(60));
    let workflow = manager.with_principal(Principal::Workflow(CredentialName::new("billing").unwrap()));
    workflow.get::<ApiKeyCredential>("api_key").await.unwrap();
    workflow.get::<ApiKeyCredential>("missing").await.unwrap_err();

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("sk_live_1"));
    let reads: Vec<_> = entries(&path)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.event == "accessed")
        .collect();
    let [found, missing] = reads.as_slice() else {
        panic!("{reads:?}")
    };
    assert_eq!(found.principal.as_deref(), Some("workflow:billing"));
    assert_eq!(found.time, clock.now());
    assert_eq!((found.name.as_deref(), found.version), (Some("api_key"), Some(1)));
    assert_eq!(found.outcome.as_deref(), Some("ok"));
    assert_eq!(missing.outcome.as_deref(), Some("not_found"));

    let seed = std::fs::read_to_string(directory.path().join("audit.log.seed")).unwrap();
    let seed = AuditSeed::parse(&seed).unwrap();
    assert!(verify(&path, VerifyWith::Seed(&seed), None).unwrap().is_intact());
}

#[tokio::test]
async fn a_chain_hands_out_the_first_that_is_valid_and_not_expired() {
    let chain = CredentialChain::new()
        .add("primary", aws("eu-central-1", Some(DateTime::UNIX_EPOCH)))
        .add("backup", aws("", None))
        .add("fallback", aws("eu-west-1", None))
        .add("last", api_key("never asked"));
    let active = chain.get_first_valid().await.unwrap();
    assert_eq!(active.credential_type(), "aws");
    assert_eq!(
        active.downcast_ref::<AwsCredential>().unwrap().region,
        "eu-west-1"
    );
    assert!(active.downcast_ref::<ApiKeyCredential>().is_none());
    assert!(
        CredentialChain::new()
            .get_first_valid()
            .await
            .unwrap_err()
            .is_not_found()
    );
}

/// A store elsewhere: it counts how often it was asked, and is away for the first `failures` times.
struct Vault {
    failures: u32,
    expires_at: Option<DateTime<Utc>>,
    asked: AtomicU32,
}

impl Vault {
    fn new(failures: u32, expires_at: Option<DateTime<Utc>>) -> Arc<Self> {
        Arc::new(Self {
            failures,
            expires_at,
            asked: AtomicU32::new(0),
        })
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Vault {
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        match name {
            _ if before < self.failures => Err(CredentialError::unavailable("away")),
            "aws" => Ok(AnyCredential::new(aws("eu-central-1", self.expires_at))),
            _ => Err(CredentialError::not_found(name.to_owned())),
        }
    }
}

#[tokio::test]
async fn a_breaker_opens_says_when_to_come_back_and_closes_after_enough_successes() {
    let (vault, clock) = (Vault::new(3, None), TestClock::new());
    let config = BreakerConfig {
        failure_threshold: 3,
        success_threshold: 2,
        open_for: Duration::from_secs(30),
    };
    let provider =
        CircuitBreakerCredentialProvider::with_clock(Arc::clone(&vault), config, Arc::new(clock.clone()));
    for _ in 0..3 {
        assert!(provider.get("aws").await.is_err());
    }
    clock.advance(Duration::from_secs(10));
    let error = provider.get("aws").await.unwrap_err();
    assert!(matches!(error, CredentialError::CircuitBreakerOpen(_)));
    assert!(error.to_string().contains("again in 20s"), "{error}");
    assert_eq!(vault.asked(), 3);
    clock.advance(Duration::from_secs(20));
    provider.get("aws").await.unwrap();
    assert_eq!(provider.state(), BreakerState::HalfOpen);
    // That there is no such credential is an answer of a vault that works.
    provider.get("missing").await.unwrap_err();
    assert_eq!(provider.state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_cached_provider_asks_when_the_ttl_is_over_and_before_a_credential_expires() {
    let clock = TestClock::new();
    let vault = Vault::new(0, None);
    let ttl = Duration::from_secs(300);
    let provider = CachedCredentialProvider::new(Arc::clone(&vault), 100, ttl).clock(Arc::new(clock.clone()));
    for _ in 0..10 {
        provider.get("aws").await.unwrap();
    }
    assert_eq!(vault.asked(), 1);
    clock.advance(ttl);
    provider.get("aws").await.unwrap();
    assert_eq!(vault.asked(), 2);

    let expiring = Vault::new(0, Some(clock.now() + Duration::from_secs(6 * 60)));
    let ttl = Duration::from_secs(900);
    let provider =
        CachedCredentialProvider::new(Arc::clone(&expiring), 100, ttl).clock(Arc::new(clock.clone()));
    provider.get("aws").await.unwrap();
    clock.advance(Duration::from_secs(50));
    provider.get("aws").await.unwrap();
    assert_eq!(expiring.asked(), 1);
    clock.advance(Duration::from_secs(11));
    provider.get("aws").await.unwrap();
    assert_eq!(expiring.asked(), 2, "less than five minutes are left");
}
