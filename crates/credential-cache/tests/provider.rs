//! A cache before any provider: one fetch for all who ask, anew before it expires, and nothing past its time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential_cache::CachedCredentialProvider;
use nebula_credential_core::{AnyCredential, Clock as _, Credential, CredentialError, CredentialProvider};
use nebula_credential_testkit::TestClock;
use tokio::sync::Semaphore;

#[derive(Credential)]
struct Token {
    #[secret]
    token: String,
    expires_at: Option<DateTime<Utc>>,
}

/// Numbers its tokens.
#[derive(Clone)]
struct Vault {
    clock: TestClock,
    life: Option<TimeDelta>,
    fetches: Arc<AtomicUsize>,
    error: Arc<Mutex<Option<CredentialError>>>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl CredentialProvider for Vault {
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        drop(self.gate.acquire().await);
        match self.error.lock().unwrap().clone() {
            Some(error) => Err(error),
            None => Ok(AnyCredential::new(Token {
                token: format!("{name} {number}"),
                expires_at: self.life.map(|life| self.clock.now() + life),
            })),
        }
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cache of 10 for `ttl` seconds before a vault whose tokens live for `life` seconds.
fn cached(ttl: u64, life: Option<i64>) -> (CachedCredentialProvider<Vault>, Vault) {
    let clock = TestClock::new();
    let vault = Vault {
        clock: clock.clone(),
        life: life.map(TimeDelta::seconds),
        fetches: Arc::default(),
        error: Arc::default(),
        gate: Arc::new(Semaphore::new(1)),
    };
    let provider = CachedCredentialProvider::new(vault.clone(), 10, seconds(ttl)).clock(Arc::new(clock));
    (provider, vault)
}

async fn text(provider: &impl CredentialProvider, name: &str) -> String {
    let credential = provider.get(name).await.unwrap();
    credential.downcast_ref::<Token>().unwrap().token.clone()
}

#[tokio::test]
async fn a_credential_is_served_for_its_ttl() {
    let (provider, vault) = cached(300, None);
    assert_eq!(text(&provider, "a").await, "a 1");
    vault.clock.advance(seconds(299));
    assert_eq!(text(&provider, "a").await, "a 1");
    assert_eq!(text(&provider, "b").await, "b 2");
    vault.clock.advance(seconds(1));
    assert_eq!(text(&provider, "a").await, "a 3");
}

#[tokio::test]
async fn what_it_did_is_counted() {
    let (provider, vault) = cached(300, Some(400));
    let counted = || {
        let stats = provider.stats();
        (stats.hits, stats.misses, stats.shared, stats.stale)
    };
    vault.gate.forget_permits(1);
    let ((), _, _) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            vault.gate.add_permits(1);
        },
        text(&provider, "a"),
        text(&provider, "a"),
    );
    assert_eq!(counted(), (0, 1, 1, 0));
    text(&provider, "a").await;
    assert_eq!(counted(), (1, 1, 1, 0));
    vault.clock.advance(seconds(200));
    *vault.error.lock().unwrap() = Some(CredentialError::unavailable("away"));
    text(&provider, "a").await;
    assert_eq!(
        counted(),
        (1, 2, 1, 1),
        "it works, and should have been fetched anew"
    );
    provider.forget("a");
    let stats = provider.stats();
    assert_eq!((stats.entries, stats.evictions, stats.not_kept), (0, 1, 0));
}

#[tokio::test]
async fn what_is_not_kept_is_counted() {
    let (off, _) = cached(0, None);
    let (expired, _) = cached(60, Some(0));
    let (works, _) = cached(60, None);
    let long = "n".repeat(129);
    for (provider, name) in [(&off, "a"), (&expired, "a"), (&works, long.as_str())] {
        text(provider, name).await;
        text(provider, name).await;
        let stats = provider.stats();
        assert_eq!((stats.misses, stats.not_kept, stats.entries), (2, 2, 0), "{name}");
    }
}

#[tokio::test]
async fn no_ttl_is_beyond_a_quarter_of_an_hour() {
    let (provider, vault) = cached(86_400, None);
    text(&provider, "a").await;
    vault.clock.advance(seconds(899));
    assert_eq!(text(&provider, "a").await, "a 1");
    vault.clock.advance(seconds(1));
    assert_eq!(text(&provider, "a").await, "a 2");
}

#[tokio::test]
async fn a_credential_is_fetched_anew_five_minutes_before_it_expires() {
    let (provider, vault) = cached(900, Some(600));
    assert_eq!(text(&provider, "a").await, "a 1");
    vault.clock.advance(seconds(299));
    assert_eq!(text(&provider, "a").await, "a 1");
    vault.clock.advance(seconds(1));
    assert_eq!(text(&provider, "a").await, "a 2");
    assert_eq!(text(&provider, "a").await, "a 2");
}

#[tokio::test]
async fn one_that_still_works_is_served_while_the_provider_cannot_be_reached() {
    let (provider, vault) = cached(900, Some(600));
    text(&provider, "a").await;
    *vault.error.lock().unwrap() = Some(CredentialError::unavailable("the vault is sealed; unseal it"));
    vault.clock.advance(seconds(300));
    assert_eq!(text(&provider, "a").await, "a 1");
    // It is asked once in ten seconds.
    vault.clock.advance(seconds(9));
    assert_eq!(text(&provider, "a").await, "a 1");
    assert_eq!(vault.fetches.load(Ordering::SeqCst), 2);
    vault.clock.advance(seconds(1));
    assert_eq!(text(&provider, "a").await, "a 1");
    assert_eq!(vault.fetches.load(Ordering::SeqCst), 3);
    // Never past its expiry.
    vault.clock.advance(seconds(290));
    provider.get("a").await.unwrap_err();
    *vault.error.lock().unwrap() = None;
    assert_eq!(text(&provider, "a").await, "a 5");
}

#[tokio::test]
async fn a_refusal_ends_the_use_of_the_one_at_hand() {
    let (provider, vault) = cached(900, Some(600));
    text(&provider, "a").await;
    vault.clock.advance(seconds(300));
    *vault.error.lock().unwrap() = Some(CredentialError::not_found("a"));
    assert!(provider.get("a").await.unwrap_err().is_not_found());
    assert!(provider.get("a").await.unwrap_err().is_not_found());
    assert_eq!(vault.fetches.load(Ordering::SeqCst), 3, "no error is kept");
}

#[tokio::test]
async fn short_lived_credentials_are_not_fetched_for_every_use() {
    let (provider, vault) = cached(900, Some(60));
    for _ in 0..10 {
        assert_eq!(text(&provider, "a").await, "a 1");
    }
    vault.clock.advance(seconds(10));
    assert_eq!(text(&provider, "a").await, "a 2");
}

#[tokio::test]
async fn who_asks_at_the_same_time_waits_for_one_fetch_also_if_its_leader_leaves() {
    let (provider, vault) = cached(300, None);
    let provider = Arc::new(provider);
    let hold = vault.gate.clone().acquire_owned().await.unwrap();
    let spawn = || {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { text(&provider, "a").await })
    };
    let leader = spawn();
    tokio::task::yield_now().await;
    let followers: Vec<_> = (0..1000).map(|_| spawn()).collect();
    tokio::task::yield_now().await;
    assert_eq!(vault.fetches.load(Ordering::SeqCst), 1);
    leader.abort();
    leader.await.unwrap_err();
    drop(hold);
    for follower in followers {
        assert_eq!(follower.await.unwrap(), "a 2");
    }
    assert_eq!(text(&*provider, "a").await, "a 2");
}

#[tokio::test]
async fn what_was_forgotten_while_it_was_fetched_is_not_kept() {
    let (provider, vault) = cached(300, None);
    let provider = Arc::new(provider);
    text(&*provider, "a").await;
    provider.forget("a");
    let hold = vault.gate.clone().acquire_owned().await.unwrap();
    let fetch = {
        let provider = Arc::clone(&provider);
        tokio::spawn(async move { text(&provider, "a").await })
    };
    tokio::task::yield_now().await;
    provider.forget("a");
    drop(hold);
    assert_eq!(fetch.await.unwrap(), "a 2");
    assert_eq!(text(&*provider, "a").await, "a 3");
    assert_eq!(provider.stats().not_kept, 1);
}

#[tokio::test]
async fn no_more_are_kept_than_there_is_room_for() {
    let (provider, vault) = cached(300, None);
    for name in 0..100 {
        text(&provider, &format!("n{name}")).await;
    }
    let before = vault.fetches.load(Ordering::SeqCst);
    for name in 0..100 {
        text(&provider, &format!("n{name}")).await;
    }
    assert!(vault.fetches.load(Ordering::SeqCst) - before >= 90);
}

#[tokio::test]
async fn no_debug_shows_a_value() {
    let (provider, _) = cached(300, None);
    text(&provider, "hunter2").await;
    let shown = format!("{provider:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
