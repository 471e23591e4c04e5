//! What a manager makes of a store that fails for a moment, hangs, loses an answer, and is down.
//!
//! ```console
//! cargo run -p nebula-credential-examples --example resilience
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, BreakerState, Resilience, RetryConfig};
use nebula_credential::{NoMetrics, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore, TestClock};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    resilience().await
}

async fn resilience() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    // The embedded store, which fails only when it is told to.
    let store = FaultStore::new(StoreHandle::new(LocalStorage::new(
        directory.path().join("secrets"),
    )));
    let down = || Fault::Refuse(CredentialError::unavailable("the store does not answer"));

    // The clock decides when an open breaker asks again: here it moves when it is told to.
    let clock = TestClock::new();
    let breaker = BreakerConfig {
        failure_threshold: 3,
        success_threshold: 1,
        open_for: Duration::from_secs(30),
    };
    let resilience = Resilience::new(breaker, Arc::new(clock.clone()), Arc::new(NoMetrics))
        .timeout(Duration::from_millis(250))
        .retry(RetryConfig {
            attempts: 3,
            base: Duration::from_millis(5),
            ..RetryConfig::default()
        });
    let breaker = resilience.breaker().clone();
    let manager = CredentialManager::builder()
        .storage_handle(store.handle())
        .keys(Keys::key_file(directory.path().join("config/key")))
        .resilience(resilience)
        .build();
    manager.store("db", BasicCredential::new("app", "one")).await?;

    // It fails twice: the third attempt succeeds, and the caller sees nothing of it.
    store.script("get", 0, 2, down());
    manager.get::<BasicCredential>("db").await?;
    println!("refused twice: {} attempts", store.count("get"));
    assert_eq!(store.count("get"), 3);

    // It hangs: after 250 ms the attempt is given up, and another is made.
    store.once("get", Fault::Hang);
    manager.get::<BasicCredential>("db").await?;
    println!("hung once: {} attempts", store.count("get") - 3);
    assert_eq!(store.count("get"), 5);

    // It makes the change, and its answer is lost. The change carries a token, so that asking again makes it no second time.
    store.once("put", Fault::LoseAnswer);
    let rotated = manager.rotate("db", BasicCredential::new("app", "two")).await?;
    println!("lost an answer: version {}", rotated.version);
    assert_eq!(
        (rotated.version.get(), manager.versions("db").await?.len()),
        (2, 2)
    );

    // It is down. Three operations in a row have failed, with all their attempts: it is left alone for 30 seconds.
    store.always("get", down());
    for _ in 0..3 {
        assert!(manager.get::<BasicCredential>("db").await.is_err());
    }
    let attempts = store.count("get");
    let Err(refused) = manager.get::<BasicCredential>("db").await else {
        return Err("the breaker let a request through".into());
    };
    println!("down: {refused}");
    assert!(matches!(refused, CredentialError::CircuitBreakerOpen(_)));
    assert_eq!(
        (breaker.state(), store.count("get")),
        (BreakerState::Open, attempts)
    );

    // It is back. After the 30 seconds one request is let through, to see; it succeeds, and the breaker closes.
    store.heal();
    clock.advance(Duration::from_secs(30));
    let db: BasicCredential = manager.get("db").await?;
    println!("back: the breaker is {}", breaker.state().as_str());
    assert_eq!(
        (db.password.expose_secret(), breaker.state()),
        ("two", BreakerState::Closed)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn it_runs() {
        super::resilience().await.unwrap();
    }
}
