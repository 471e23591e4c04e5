//! A system that has no thread to spare: what is read is passed on, not kept, and that is said.
//!
//! One test in this binary, so that nothing else runs while the process may not grow.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use nebula_credential_cache::{CacheLayer, CachedCredentialProvider};
use nebula_credential_core::{AnyCredential, Credential, CredentialError, CredentialProvider};
use nebula_credential_testkit::TraceCapture;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[path = "common/mod.rs"]
mod common;

use common::{Measured, World};

#[derive(Credential)]
struct Token {
    #[secret]
    token: String,
}

struct Issuer;

#[async_trait]
impl CredentialProvider for Issuer {
    async fn get(&self, _: &str) -> Result<AnyCredential, CredentialError> {
        let token = "hunter2-hunter2".to_owned();
        Ok(AnyCredential::new(Token { token }))
    }
}

/// Bytes of address space that the process has.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

/// While it lives, the process may grow by 1 MiB: less than the stack of a thread, and more than a test takes.
struct NoThreads(Rlimit);

impl NoThreads {
    fn begin() -> Self {
        let before = getrlimit(Resource::As);
        let current = Some(address_space() + 1024 * 1024);
        setrlimit(Resource::As, Rlimit { current, ..before }).unwrap();
        let refused = std::thread::Builder::new().spawn(|| {});
        assert!(refused.is_err(), "the limit has no effect");
        Self(before)
    }
}

impl Drop for NoThreads {
    fn drop(&mut self) {
        setrlimit(Resource::As, self.0).unwrap();
    }
}

#[tokio::test]
async fn without_a_thread_nothing_is_kept_and_that_is_said_once() {
    let metrics = Arc::new(Measured::default());
    let world = World::with(CacheLayer::builder().metrics(metrics.clone()));
    world.put("db", 1, "hunter2-hunter2").await.unwrap();
    let provider = CachedCredentialProvider::new(Issuer, 10, std::time::Duration::from_secs(60));
    let trace = TraceCapture::new();
    let captured = trace.capture_thread();

    let no_threads = NoThreads::begin();
    for _ in 0..3 {
        assert_eq!(world.get("db").await.unwrap(), "hunter2-hunter2");
        provider.get("db").await.unwrap();
    }
    drop(no_threads);

    let of = |reason: &str| {
        metrics.of(&format!(
            "nebula_credential_cache_not_kept_total{{reason={reason}}}"
        ))
    };
    let stats = world.layer.stats();
    assert_eq!((stats.misses, stats.not_kept, stats.entries), (3, 3, 0));
    assert_eq!(of("thread"), 3.0);
    assert_eq!(
        metrics.of("nebula_credential_cache_evictions_total{reason=changed}"),
        0.0,
        "never in"
    );
    let stats = provider.stats();
    assert_eq!((stats.misses, stats.not_kept, stats.entries), (3, 3, 0));

    let said = trace.take();
    assert_eq!(said.matches(" WARN ").count(), 2, "once by each cache: {said}");
    assert!(said.contains("ulimit -u"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("db"), "{said}");
    drop(captured);
}
