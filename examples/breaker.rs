//! Stops asking a provider that fails, and finds out when it works again.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example breaker
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use async_trait::async_trait;
use nebula_credential::Clock;
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, BreakerState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    breaker().await
}

/// Somewhere else, and away at times.
#[derive(Default)]
struct Vault {
    away: AtomicBool,
    asked: AtomicU32,
}

#[async_trait]
impl CredentialProvider for Vault {
    async fn get(&self, _name: &str) -> Result<AnyCredential, CredentialError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) {
            return Err(CredentialError::unavailable(
                "the vault does not answer; check its address",
            ));
        }
        Ok(AnyCredential::new(BasicCredential::new("app", "s3cret")))
    }
}

/// Time comes from wherever you say, so that nobody has to wait in a test.
#[derive(Clone, Default)]
struct Seconds(Arc<AtomicI64>);

impl Clock for Seconds {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap_or_default()
    }
}

async fn breaker() -> Result<(), Box<dyn Error>> {
    let (vault, clock) = (Arc::new(Vault::default()), Seconds::default());
    let config = BreakerConfig {
        failure_threshold: 3,
        ..BreakerConfig::default()
    };
    let provider =
        CircuitBreakerCredentialProvider::with_clock(Arc::clone(&vault), config, Arc::new(clock.clone()));
    provider.get("db").await?;

    vault.away.store(true, Ordering::Relaxed);
    let mut refused = 0;
    for _ in 0..100 {
        let is_open = provider.state() == BreakerState::Open;
        if let Err(error) = provider.get("db").await
            && is_open
        {
            if refused == 0 {
                println!("the first to be refused: {error}");
            }
            refused += 1;
        }
    }
    println!("refused without asking: {refused} of 100");
    // Once before it was away, three times until the breaker opened.
    assert_eq!(
        (vault.asked.load(Ordering::Relaxed), provider.state()),
        (4, BreakerState::Open)
    );

    vault.away.store(false, Ordering::Relaxed);
    clock.0.fetch_add(30, Ordering::Relaxed);
    println!("30 s later: {}", provider.state().as_str());
    provider.get("db").await?;
    println!("after a probe: {}", provider.state().as_str());
    assert_eq!(provider.state(), BreakerState::Closed);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::breaker().await.unwrap();
    }
}
