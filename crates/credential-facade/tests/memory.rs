//! What a dropped credential leaves in the memory of the process: nothing.
//!
//! One test in this binary, so that nothing else runs while memory is read.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use nebula_credential::prelude::*;
use nebula_credential_testkit::{Canary, LeakHunter, TestClock};

#[derive(Credential)]
struct Token {
    #[secret]
    token: String,
    name: String,
}

/// The same stored type, read by a program that expects one more field.
#[derive(Credential)]
#[credential(type = "token")]
struct TokenWithOwner {
    #[secret]
    token: String,
    name: String,
    owner: String,
}

/// A later version of it, which reads what the first wrote.
#[derive(Credential)]
#[credential(type = "token", version = 2, migrate = with_owner)]
struct TokenV2 {
    #[secret]
    token: String,
    name: String,
    owner: String,
}

fn with_owner(_: u32, mut stored: serde_json::Value) -> Result<serde_json::Value, CredentialError> {
    if let Some(fields) = stored.as_object_mut() {
        fields.insert("owner".into(), "nobody".into());
    }
    Ok(stored)
}

fn token(canary: &Canary) -> Token {
    Token {
        token: canary.secret(),
        name: "n".into(),
    }
}

fn builder(directory: &Path) -> nebula_credential::ManagerBuilder {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.join("secrets")))
        .keys(Keys::key_file(directory.join("config/key")))
}

struct Scan {
    hunter: LeakHunter,
    scenarios: usize,
}

impl Scan {
    fn finds_nothing(&mut self, after: &str) {
        let found = self.hunter.search_memory().unwrap();
        assert!(found.is_empty(), "after {after}: {found:?}");
        self.scenarios += 1;
    }
}

#[test]
fn nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (plain, hostile, passphrase) = (Canary::text(), Canary::hostile(), Canary::text());
    let hunter = LeakHunter::new()
        .hunt("plain", &plain)
        .hunt("hostile", &hostile)
        .hunt("passphrase", &passphrase);

    // The control: a live copy is found, and is gone once it is wiped.
    let live = SecretString::from(plain.secret());
    assert!(
        !hunter.search_memory().unwrap().is_empty(),
        "the search finds a live secret"
    );
    drop(live);
    let mut scan = Scan { hunter, scenarios: 0 };
    scan.finds_nothing("a wiped string");

    for canary in [&plain, &hostile] {
        let clock = Arc::new(TestClock::new());
        let manager = builder(directory.path()).clock(Arc::clone(&clock)).build();

        runtime
            .block_on(async { manager.store("token", token(canary)).await })
            .unwrap();
        scan.finds_nothing("store");

        drop(runtime.block_on(manager.get::<Token>("token")).unwrap());
        scan.finds_nothing("get and drop");

        runtime
            .block_on(async { manager.rotate("token", token(canary)).await })
            .unwrap();
        runtime.block_on(manager.rollback("token")).unwrap();
        scan.finds_nothing("rotate and rollback");

        drop(runtime.block_on(manager.get_raw("token")).unwrap());
        scan.finds_nothing("get_raw and drop");

        runtime
            .block_on(manager.get::<SecretTextCredential>("token"))
            .map(drop)
            .unwrap_err();
        scan.finds_nothing("a read as another type");

        let error = runtime
            .block_on(manager.get::<TokenWithOwner>("token"))
            .map(drop)
            .unwrap_err();
        assert_eq!(error.kind().as_str(), "codec");
        scan.finds_nothing("a failed decode");

        let mut shortened = token(canary);
        shortened.token.truncate(3);
        drop(shortened);
        scan.finds_nothing("a secret that was made shorter");

        let migrated = runtime.block_on(manager.get::<TokenV2>("token")).unwrap();
        assert_eq!(migrated.owner, "nobody");
        drop(migrated);
        scan.finds_nothing("a migration");

        {
            let mut get = pin!(manager.get::<Token>("token"));
            let _ = get.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        scan.finds_nothing("a cancelled get");

        {
            let mut store = pin!(manager.store("cancelled", token(canary)).into_future());
            let _ = store.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        // The write that began may go on; it ends before another one is answered.
        runtime
            .block_on(async { manager.store("after", SecretTextCredential::new("x")).await })
            .unwrap();
        scan.finds_nothing("a cancelled store");

        let small = builder(directory.path()).secret_limit(20).build();
        runtime
            .block_on(async { small.store("token", token(canary)).await })
            .unwrap_err();
        scan.finds_nothing("a value over the limit");

        let conflict = runtime.block_on(async { manager.store("token", token(canary)).if_absent().await });
        assert!(conflict.unwrap_err().is_conflict());
        scan.finds_nothing("a refused write");

        let redacted = token(canary).redact();
        runtime
            .block_on(async { manager.store("token", redacted).await })
            .unwrap_err();
        scan.finds_nothing("a redacted value");

        let end = nebula_credential::Clock::now(&*clock) + Duration::from_secs(1);
        runtime
            .block_on(async { manager.store("short", token(canary)).expires_at(end).await })
            .unwrap();
        clock.advance(Duration::from_secs(2));
        assert!(
            runtime
                .block_on(manager.get::<Token>("short"))
                .map(drop)
                .unwrap_err()
                .is_expired()
        );
        scan.finds_nothing("an expired read");

        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let held = runtime.block_on(manager.get::<Token>("token")).unwrap();
            std::panic::panic_any(held.name.len());
        }));
        drop(panicked);
        scan.finds_nothing("a panic while it was held");

        let composite = CompositeCredential::new().add("inner", token(canary));
        runtime
            .block_on(async { manager.store("composite", composite).await })
            .unwrap();
        let composite = runtime
            .block_on(manager.get::<CompositeCredential>("composite"))
            .unwrap();
        assert_eq!(composite.get::<Token>("inner").unwrap().name, "n");
        drop(composite);
        scan.finds_nothing("a composite");
    }

    let locked = tempfile::tempdir().unwrap();
    let manager = CredentialManager::builder()
        .storage(LocalStorage::new(locked.path().join("secrets")))
        .keys(Keys::passphrase(passphrase.secret()))
        .build();
    runtime.block_on(manager.open()).unwrap();
    drop(manager);
    scan.finds_nothing("unlocking with a passphrase");

    #[cfg(all(feature = "cache", feature = "access", feature = "audit"))]
    whole_stack(&runtime, &plain, &mut scan);

    println!("{} scenarios, 0 copies", scan.scenarios);
}

/// Cached, decided on and recorded: at rest in memory, and when its time there is over, while nobody drives the runtime.
#[cfg(all(feature = "cache", feature = "access", feature = "audit"))]
fn whole_stack(runtime: &tokio::runtime::Runtime, canary: &Canary, scan: &mut Scan) {
    use nebula_credential::access::{AccessLayer, AccessPolicy, Policies};
    use nebula_credential::audit::AuditLogger;

    const TTL: Duration = Duration::from_secs(1);
    let policy = "version = 1\n[[rules]]\nid = \"all\"\neffect = \"allow\"\nprincipals = [\"process\"]\n\
                  permissions = [\"*\"]\ntenants = [\"*\"]\n";
    let policies = Policies::new(AccessPolicy::parse(policy).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let manager = builder(directory.path())
        .cache_ttl(TTL)
        .access(AccessLayer::new(policies))
        .audit_log(AuditLogger::new(directory.path().join("log.jsonl")))
        .build();
    runtime
        .block_on(async { manager.store("token", token(canary)).await })
        .unwrap();
    for _ in 0..10 {
        drop(runtime.block_on(manager.get::<Token>("token")).unwrap());
    }
    let stats = manager.cache_stats().unwrap();
    assert_eq!((stats.hits, stats.entries), (9, 1));
    scan.finds_nothing("ten gets through cache, access control and audit log");
    std::thread::sleep(TTL + Duration::from_secs(1));
    assert_eq!(manager.cache_stats().unwrap().entries, 0);
    scan.finds_nothing("its time in the cache and a second");
}
