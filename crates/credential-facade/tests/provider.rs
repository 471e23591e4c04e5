//! A manager as a provider: what stands before any provider of credentials stands before a manager.

#![cfg(all(feature = "cache", feature = "local", feature = "resilience"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, BreakerState};
use nebula_credential::{Clock as _, ManagerProvider, StoreHandle, SystemClock};
use nebula_credential_testkit::{Fault, FaultStore, TestClock};
use tempfile::TempDir;

fn store(directory: &TempDir, name: &str) -> FaultStore {
    FaultStore::new(StoreHandle::new(LocalStorage::new(directory.path().join(name))))
}

fn manager(directory: &TempDir, store: &FaultStore, clock: &TestClock) -> CredentialManager {
    CredentialManager::builder()
        .storage_handle(store.handle())
        .keys(Keys::key_file(directory.path().join("config/key")))
        .clock(clock.clone())
        .build()
}

fn api_key(key: &str) -> ApiKeyCredential {
    ApiKeyCredential {
        api_key: key.into(),
        endpoint: "https://api.example.com".into(),
    }
}

fn key(credential: &AnyCredential) -> &str {
    let credential: &ApiKeyCredential = credential.downcast_ref().unwrap();
    &credential.api_key
}

#[tokio::test]
async fn a_cache_stands_before_a_manager() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = store(&directory, "one");
    let manager = manager(&directory, &store, &clock);
    manager.store("api", api_key("one")).await.unwrap();
    let ttl = Duration::from_secs(300);
    let cached = CachedCredentialProvider::new(manager.provider::<ApiKeyCredential>(), 100, ttl)
        .clock(Arc::new(clock.clone()));
    for _ in 0..10 {
        assert_eq!(key(&cached.get("api").await.unwrap()), "one");
    }
    assert_eq!(store.count("get"), 1);
    manager.rotate("api", api_key("two")).await.unwrap();
    cached.forget("api");
    assert_eq!(key(&cached.get("api").await.unwrap()), "two");
    assert!(cached.get("absent").await.unwrap_err().is_not_found());
    let error = cached.get("no name").await.unwrap_err();
    assert!(matches!(error, CredentialError::InvalidName(_)), "{error}");

    // Whoever stored it said when it expires; the type does not know.
    let end = clock.now() + Duration::from_secs(60);
    manager
        .store("short", api_key("three"))
        .expires_at(end)
        .await
        .unwrap();
    assert_eq!(cached.get("short").await.unwrap().expires_at(), Some(end));
    clock.set(end);
    assert!(cached.get("short").await.unwrap_err().is_expired());

    manager
        .store("other", BearerCredential::new("mF_9.B5f-4.1JqM"))
        .await
        .unwrap();
    let error = cached.get("other").await.unwrap_err();
    assert!(matches!(error, CredentialError::TypeMismatch(_)), "{error}");
}

#[tokio::test]
async fn a_chain_takes_its_links_from_two_managers() {
    let directory = tempfile::tempdir().unwrap();
    let clock = TestClock::at(SystemClock.now() - Duration::from_secs(3600));
    let (first, second) = (store(&directory, "first"), store(&directory, "second"));
    let managers = [
        manager(&directory, &first, &clock),
        manager(&directory, &second, &clock),
    ];
    // By the clock of the operating system, which a chain goes by, it expired half an hour ago.
    let end = clock.now() + Duration::from_secs(1800);
    let [of_team, of_company] = &managers;
    let (team, company) = (api_key("of-the-team"), api_key("of-the-company"));
    of_team.store("api", team).expires_at(end).await.unwrap();
    of_company.store("api", company).await.unwrap();

    let providers: Vec<ManagerProvider<ApiKeyCredential>> =
        managers.iter().map(CredentialManager::provider).collect();
    let mut chain = CredentialChain::new();
    for (name, provider) in ["team", "company"].into_iter().zip(&providers) {
        chain = chain.add_any(name, provider.get("api").await.unwrap());
    }
    let (name, active) = chain.first_valid().unwrap();
    assert_eq!((name, key(active)), ("company", "of-the-company"));
    assert!(!format!("{chain:?} {providers:?}").contains("of-the-"));
}

#[tokio::test]
async fn a_breaker_stands_before_a_manager() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let store = store(&directory, "one");
    let manager = manager(&directory, &store, &clock);
    manager.store("api", api_key("one")).await.unwrap();
    let config = BreakerConfig {
        failure_threshold: 2,
        ..BreakerConfig::default()
    };
    let provider = manager.provider::<ApiKeyCredential>();
    let provider = CircuitBreakerCredentialProvider::with_clock(provider, config, Arc::new(clock));
    assert_eq!(key(&provider.get("api").await.unwrap()), "one");
    store.always("get", Fault::Refuse(CredentialError::unavailable("away")));
    for _ in 0..10 {
        provider.get("api").await.unwrap_err();
    }
    assert_eq!(provider.state(), BreakerState::Open);
    assert_eq!(store.count("get"), 3);
}
