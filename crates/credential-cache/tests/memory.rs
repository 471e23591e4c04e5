//! What copies of a secret lie in the memory of the process while it is cached, and when its time is over.
//!
//! One test in this binary, so that nothing else runs while memory is read.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nebula_credential_cache::{CacheLayer, CachedCredentialProvider, CredentialHandle};
use nebula_credential_core::{
    AnyCredential, BoxFuture, Clock as _, Credential, CredentialError, CredentialProvider, OpContext, Phase,
    Plaintext, Record, RecordHead, Request, Response, Selector, SystemClock, Tags, Version, VersionHead,
};
use nebula_credential_testkit::{Canary, LeakHunter};
use tower::{Layer as _, Service, ServiceExt as _};

#[path = "common/mod.rs"]
mod common;

use common::{Answer, get, id};

const TTL: Duration = Duration::from_secs(1);

#[derive(Credential)]
struct Token {
    #[secret]
    token: String,
}

/// Answers each read with the secret; keeps it masked.
#[derive(Clone)]
struct Source(Arc<Canary>);

impl Service<Request<Plaintext>> for Source {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = BoxFuture<'static, Answer<Response<Plaintext>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Plaintext>) -> Self::Future {
        let canary = Arc::clone(&self.0);
        Box::pin(async move {
            let now = SystemClock.now();
            let version = VersionHead {
                version: Version::FIRST,
                credential_type: "token".into(),
                schema_version: 1,
                created_at: now,
                expires_at: None,
            };
            let head = RecordHead {
                id: id("db"),
                version,
                latest: Version::FIRST,
                phase: Phase::Active,
                created_at: now,
                updated_at: now,
                deleted_at: None,
                tags: Tags::new(),
            };
            let payload = Plaintext::new(canary.secret_bytes());
            Ok(Response::Record(Record { head, payload }))
        })
    }
}

#[async_trait]
impl CredentialProvider for Source {
    async fn get(&self, _: &str) -> Answer<AnyCredential> {
        Ok(AnyCredential::new(Token {
            token: self.0.secret(),
        }))
    }
}

#[test]
fn a_cached_secret_rests_sealed_and_is_gone_when_its_time_is_over() {
    let canary = Arc::new(Canary::text());
    let hunter = LeakHunter::new().hunt("cached", &canary);
    let copies = || hunter.search_memory().unwrap().len();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let layer = CacheLayer::builder().ttl(TTL).build().unwrap();
    let cache = layer.layer(Source(Arc::clone(&canary)));
    let read = || {
        let request = Request {
            ctx: OpContext::default(),
            op: get("db", Selector::Latest),
        };
        runtime
            .block_on(cache.clone().oneshot(request))
            .unwrap()
            .into_record()
            .unwrap()
    };

    // The control: a value that is held is found.
    let held = read();
    assert!(copies() > 0, "the search finds a live secret");
    drop(held);
    let began = Instant::now();
    for _ in 0..10 {
        drop(read());
    }
    let cached = copies();
    assert_eq!(cached, 0, "at rest in the cache");
    assert_eq!(layer.stats().hits, 10);
    println!("cached and read 10 times: {cached} copies");

    // Idle: nobody drives the runtime.
    std::thread::sleep((TTL + Duration::from_secs(1)).saturating_sub(began.elapsed()));
    let stats = layer.stats();
    assert_eq!((stats.entries, stats.evictions), (0, 1));
    assert_eq!(copies(), 0);
    println!(
        "ttl and 1 s later: {} copies, {} entries",
        copies(),
        stats.entries
    );

    let provider = CachedCredentialProvider::new(Source(Arc::clone(&canary)), 10, TTL);
    drop(runtime.block_on(provider.get("db")).unwrap());
    let began = Instant::now();
    assert!(copies() > 0, "a provider keeps the credential itself");
    std::thread::sleep((TTL + Duration::from_secs(1)).saturating_sub(began.elapsed()));
    assert_eq!(copies(), 0, "a provider's, ttl and 1 s later");

    let (handle, mut updater) = CredentialHandle::new(
        id("db"),
        Version::FIRST,
        Token {
            token: canary.secret(),
        },
    );
    assert!(handle.with(|token| token.token.len()).unwrap() > 0 && copies() > 0);
    updater.revoked();
    assert_eq!(copies(), 0, "after a handle was revoked");

    drop(read());
    assert_eq!(layer.stats().entries, 1);
    drop((cache, layer));
    assert_eq!(copies(), 0, "after the layer was dropped");
}
