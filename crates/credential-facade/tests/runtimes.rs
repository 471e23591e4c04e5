//! Which parts of a stack work outside of a tokio runtime, and which do not in one without time enabled.

#![cfg(all(
    feature = "access",
    feature = "audit",
    feature = "cache",
    feature = "resilience"
))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nebula_credential::access::{AccessLayer, AccessPolicy, Policies, PolicyFile};
use nebula_credential::prelude::*;
use nebula_credential::resilience::Resilience;
use nebula_credential::{Clock as _, ErrorKind, ManagerBuilder, SystemClock};
use nebula_credential_testkit::panic_text;
use tempfile::TempDir;

const POLICY: &str = r#"
version = 1

[[rules]]
id = "owners"
effect = "allow"
principals = ["owner"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "alice-begins"
effect = "allow"
principals = ["user:alice"]
permissions = ["write", "admin"]
tenants = ["*"]
"#;

const STEP: Duration = Duration::from_millis(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `work` on this thread, as the least of all runtimes would.
fn alone<T>(work: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}

/// The same in a tokio runtime without timers: what it panics with, if it does.
fn without_time<T>(work: impl Future<Output = T>) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    panic_text(|| {
        runtime.block_on(work);
    })
}

fn user(text: &str) -> Principal {
    Principal::User(CredentialName::new(text).unwrap())
}

fn value() -> BasicCredential {
    BasicCredential::new("app", "s3cret")
}

fn plain(directory: &TempDir) -> ManagerBuilder {
    CredentialManager::builder()
        .storage(LocalStorage::new(directory.path().join("secrets")))
        .keys(Keys::key_file(directory.path().join("config/key")))
        .principal(user("alice"))
}

fn governed(directory: &TempDir) -> ManagerBuilder {
    let policies = Policies::new(AccessPolicy::parse(POLICY).unwrap());
    plain(directory).access(AccessLayer::builder(policies).answer_step(STEP).build())
}

/// A manager whose requests have a deadline.
fn hurried(manager: &CredentialManager) -> CredentialManager {
    manager.with_deadline(SystemClock.now() + Duration::from_secs(30))
}

#[test]
fn access_control_audit_and_cache_work_outside_of_any_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let log = AuditLogger::new(directory.path().join("audit.log"));
    let alice = governed(&directory)
        .audit_log(log)
        .cache_ttl(Duration::from_secs(60))
        .build();
    alone(async {
        alice.store("db", value()).await.unwrap();
        alice.rotate("db", value()).await.unwrap();
        let hurried = hurried(&alice);
        for _ in 0..2 {
            hurried.get::<BasicCredential>("db").await.unwrap();
        }
        hurried.set_tags("db", Tags::default()).await.unwrap();
        assert_eq!(alice.list().await.unwrap().len(), 1);
        alice.rotate_key().await.unwrap();
        alice.rewrap(|_| ()).await.unwrap();

        // What must not be told apart takes as long as it does elsewhere.
        let bob = alice.with_principal(user("bob"));
        for name in ["db", "absent"] {
            let since = Instant::now();
            let error = bob.get::<BasicCredential>(name).await.unwrap_err();
            assert!(error.is_not_found(), "{error}");
            assert!(since.elapsed() >= STEP, "{name}: {:?}", since.elapsed());
        }

        let refused = alice.handle::<BasicCredential>("db").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        alice.revoke("db").await.unwrap();
        alice.get::<BasicCredential>("db").await.unwrap_err();
    });
    let resilient = plain(&directory).resilience(Resilience::default()).build();
    let refused = alone(resilient.get::<BasicCredential>("db").into_future()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

/// What is documented to panic there, and nothing else.
#[test]
fn without_time_enabled_what_waits_for_a_time_panics() {
    let directory = tempfile::tempdir().unwrap();
    let manager = plain(&directory).build();
    let ran = without_time(async {
        manager.store("db", value()).await.unwrap();
        hurried(&manager).rotate("db", value()).await.unwrap();
        manager.get::<BasicCredential>("db").await.unwrap();
        manager.rotate_key().await.unwrap();
    });
    assert_eq!(ran, None);

    let log = AuditLogger::new(directory.path().join("audit.log"));
    let audited = plain(&directory).audit_log(log).build();
    let bob = governed(&directory).principal(user("bob")).build();
    let cached = hurried(&plain(&directory).cache_ttl(Duration::from_secs(60)).build());
    let resilient = plain(&directory).resilience(Resilience::default()).build();
    let path = directory.path().join("policy.toml");
    fs::write(&path, POLICY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = PolicyFile::open(&path).unwrap();
    let panics = [
        (
            "a change with a log",
            without_time(audited.set_tags("db", Tags::default())),
        ),
        (
            "a refusal that hides",
            without_time(bob.get::<BasicCredential>("db")),
        ),
        ("a list", without_time(bob.list())),
        (
            "a deadline and a cache",
            without_time(cached.get::<BasicCredential>("db")),
        ),
        ("resilience", without_time(resilient.get::<BasicCredential>("db"))),
        ("a policy that is watched", without_time(file.watch(STEP, |_| ()))),
    ];
    for (what, text) in panics {
        let text = text.unwrap_or_else(|| panic!("{what} does not panic: say so in the documentation"));
        assert!(text.contains("timers"), "{what}: {text}");
    }
    // A read that is recorded does not wait for the disk.
    assert_eq!(without_time(audited.get::<BasicCredential>("db")), None);

    // The task of a live handle ends, and with it the handle.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = panic_text(|| {
        runtime.block_on(async {
            let handle: CredentialHandle<BasicCredential> = manager.handle("db").await.unwrap();
            while handle.is_driven() {
                tokio::task::yield_now().await;
            }
            let error = handle.load().unwrap_err();
            assert!(error.to_string().contains("its task failed"), "{error}");
        });
    });
    assert_eq!(text, None);
}
