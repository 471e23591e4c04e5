//! Credentials rather than requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nebula_credential_core::{AnyCredential, Credential, CredentialError, CredentialProvider, SecretString};
use nebula_credential_resilience::{BreakerState, CircuitBreakerCredentialProvider, CredentialChain};
use nebula_credential_testkit::TestClock;

use crate::support::CONFIG;

#[derive(Credential)]
#[credential(type = "test_token", validate = Token::check)]
struct Token {
    #[secret]
    token: SecretString,
    #[credential(expires_at)]
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
}

impl Token {
    fn check(&self) -> Result<(), CredentialError> {
        use nebula_credential_core::ExposeSecret as _;
        match self.token.expose_secret() {
            "" => Err(CredentialError::validation("the token is empty")),
            _ => Ok(()),
        }
    }
}

fn token(text: &str, expires_at: Option<i64>) -> Token {
    Token {
        token: text.into(),
        expires_at: expires_at.and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0)),
    }
}

#[tokio::test]
async fn a_chain_gives_the_first_that_is_valid() {
    let chain = CredentialChain::new()
        .add("expired", token("a", Some(1)))
        .add("malformed", token("", None))
        .add("backup", token("b", None))
        .add("never", token("c", None));
    assert_eq!(chain.first_valid().unwrap().0, "backup");
    let active = chain.get_first_valid().await.unwrap();
    assert!(active.downcast_ref::<Token>().is_some());
    assert!(!format!("{chain:?}").contains("\"a\""));

    let none = CredentialChain::new().add("expired", token("a", Some(1)));
    assert!(none.get_first_valid().await.unwrap_err().is_not_found());
}

struct Vault {
    calls: Arc<AtomicU32>,
    up: Arc<AtomicU32>,
}

#[async_trait]
impl CredentialProvider for Vault {
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match (name, self.up.load(Ordering::SeqCst)) {
            ("absent", _) => Err(CredentialError::not_found("absent")),
            (_, 0) => Err(CredentialError::unavailable("the vault is sealed")),
            _ => Ok(AnyCredential::new(token("a", None))),
        }
    }
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_for_a_while() {
    let clock = TestClock::new();
    let (calls, up) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let vault = Vault {
        calls: Arc::clone(&calls),
        up: Arc::clone(&up),
    };
    let provider = CircuitBreakerCredentialProvider::with_clock(vault, CONFIG, Arc::new(clock.clone()));
    for _ in 0..10 {
        assert!(provider.get("absent").await.unwrap_err().is_not_found());
    }
    assert_eq!(provider.state(), BreakerState::Closed);
    for _ in 0..3 {
        assert!(matches!(
            provider.get("db").await,
            Err(CredentialError::Unavailable { .. })
        ));
    }
    assert_eq!(calls.swap(0, Ordering::SeqCst), 13);
    for _ in 0..10 {
        assert!(matches!(
            provider.get("db").await,
            Err(CredentialError::CircuitBreakerOpen(_))
        ));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    up.store(1, Ordering::SeqCst);
    clock.advance(Duration::from_secs(30));
    provider.get("db").await.unwrap();
    assert_eq!(provider.state(), BreakerState::HalfOpen);
    provider.get("db").await.unwrap();
    assert_eq!(provider.state(), BreakerState::Closed);
}

/// Answers nothing, ever.
#[derive(Clone)]
struct Silent(Arc<AtomicU32>);

#[async_trait]
impl CredentialProvider for Silent {
    async fn get(&self, _: &str) -> Result<AnyCredential, CredentialError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_opens_the_breaker_and_keeps_no_probe() {
    let clock = TestClock::new();
    let calls = Arc::new(AtomicU32::new(0));
    let silent = Silent(Arc::clone(&calls));
    let provider = CircuitBreakerCredentialProvider::with_clock(silent, CONFIG, Arc::new(clock.clone()));
    let since = tokio::time::Instant::now();
    for _ in 0..3 {
        assert!(matches!(
            provider.get("db").await,
            Err(CredentialError::Unavailable { .. })
        ));
    }
    assert_eq!(since.elapsed(), Duration::from_secs(30), "10 s each");
    assert_eq!(provider.state(), BreakerState::Open);
    for _ in 0..2 {
        clock.advance(CONFIG.open_for);
        assert!(provider.get("db").await.is_err());
        assert_eq!(provider.state(), BreakerState::Open);
    }
    // One that its caller gives up makes room for the next at once.
    clock.advance(CONFIG.open_for);
    for _ in 0..2 {
        let probe = tokio::time::timeout(Duration::from_secs(1), provider.get("db")).await;
        assert!(probe.is_err(), "it was let through, and hung");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 7);

    let impatient = provider.clone().attempt_timeout(Duration::from_millis(5));
    let since = tokio::time::Instant::now();
    assert!(impatient.get("db").await.is_err());
    assert_eq!(since.elapsed(), Duration::from_millis(5));
}

#[test]
fn without_a_runtime_nothing_is_asked_that_could_not_be_given_up() {
    let provider =
        CircuitBreakerCredentialProvider::new(Silent(Arc::default()), 1, 1, Duration::from_secs(30));
    let mut asked = std::pin::pin!(provider.get("db"));
    let waker = std::task::Waker::noop();
    let answer = asked.as_mut().poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Err(error)) = answer else {
        unreachable!("it waits for nothing")
    };
    assert!(matches!(error, CredentialError::Unsupported(_)), "{error}");
    assert_eq!(provider.state(), BreakerState::Closed);
}
