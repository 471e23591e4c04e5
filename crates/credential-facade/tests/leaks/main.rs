//! A canary in every secret field of every type, through every operation, with everything traced: it shows up
//! nowhere. Neither does it along the whole stack.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::fmt::Debug;
use std::path::Path;
use std::sync::LazyLock;

use nebula_credential::prelude::*;
use nebula_credential::{REDACTED, SecretField as _};
use nebula_credential_testkit::{Canary, LeakHunter, TraceCapture};
use tokio::sync::Mutex;

mod lives;
#[cfg(all(
    feature = "access",
    feature = "audit",
    feature = "cache",
    feature = "metrics",
    feature = "opentelemetry",
    feature = "resilience"
))]
mod whole;

/// What the tests of a process share: it has one subscriber.
struct Ground {
    plain: Canary,
    hostile: Canary,
    trace: TraceCapture,
}

/// Held by a test for as long as it runs, so that what is traced is its own.
static GROUND: LazyLock<Mutex<Ground>> = LazyLock::new(|| {
    let trace = TraceCapture::new();
    trace.capture_process().unwrap();
    Mutex::new(Ground {
        plain: Canary::text(),
        hostile: Canary::hostile(),
        trace,
    })
});

struct Hunt {
    hunter: LeakHunter,
    trace: TraceCapture,
    manager: CredentialManager,
    checks: usize,
}

impl Hunt {
    fn new(ground: &Ground, manager: CredentialManager) -> Self {
        let hunter = LeakHunter::new()
            .hunt("plain", &ground.plain)
            .hunt("hostile", &ground.hostile);
        Self {
            hunter,
            trace: ground.trace.clone(),
            manager,
            checks: 0,
        }
    }

    fn debug(&mut self, what: &str, value: &(impl Debug + ?Sized)) {
        self.hunter.check_debug(what, value);
        self.checks += 1;
    }

    fn error(&mut self, what: &str, error: &CredentialError) {
        self.hunter.check_error(what, error);
        self.checks += 1;
    }

    fn traced(&mut self, what: &str) {
        self.hunter.check(what, self.trace.take());
        self.checks += 1;
    }
}

fn builder(directory: &Path) -> nebula_credential::ManagerBuilder {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
}

#[tokio::test]
async fn no_canary_shows_up_anywhere() {
    let ground = GROUND.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let mut hunt = Hunt::new(&ground, builder(directory.path()).build());
    let (a, b) = (ground.plain.secret(), ground.hostile.secret());
    lives::all(&mut hunt, &ground).await;
    lives::refused(&mut hunt, &ground);

    // Keys and managers.
    let keys = Keys::passphrase(a.clone());
    hunt.debug("keys", &keys);
    hunt.debug("manager", &hunt.manager.clone());
    let other = tempfile::tempdir().unwrap();
    let locked = |keys| {
        CredentialManager::builder()
            .storage(LocalStorage::new(other.path().join("s")))
            .keys(keys)
    };
    locked(keys).build().open().await.unwrap();
    let error = locked(Keys::passphrase(b.clone()))
        .build()
        .open()
        .await
        .unwrap_err();
    hunt.error("wrong passphrase", &error);
    hunt.error(
        "short passphrase",
        &locked(Keys::passphrase("")).build().open().await.unwrap_err(),
    );

    hunt.manager.rotate_key().await.unwrap();
    let report = hunt.manager.rewrap(|_| ()).await.unwrap();
    hunt.debug("rewrap", &report);
    hunt.traced("the end");
    hunt.hunter.check_files("the store", directory.path());
    hunt.hunter.check_files("the other store", other.path());
    println!("{} places searched, 0 leaks", hunt.checks);
}

/// The hunter catches what it is for.
#[test]
fn a_leaking_debug_is_caught() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug alone")]
    struct Leaky {
        password: String,
    }

    let canary = Canary::hostile();
    let hunter = LeakHunter::new().hunt("password", &canary);
    let leaky = Leaky {
        password: canary.secret(),
    };
    assert!(!hunter.search(format!("{leaky:?}")).is_empty());
    assert!(
        hunter
            .search(format!("{:?}", canary.secret().redacted()))
            .is_empty()
    );
    assert_eq!(canary.secret().redacted(), REDACTED);
}
