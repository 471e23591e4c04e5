use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, ENVELOPE_MAGIC, Get, IdempotencyToken, NoMetrics, Op,
    OpContext, Phase, Precondition, Principal, Put, Request, Response, Scope, Sealed, Selector, StoreHandle,
    TenantId, Version, VersionHead,
};
use nebula_credential_resilience::{BreakerConfig, Resilience, RetryConfig};
use nebula_credential_testkit::{FaultStore, TestClock};
use tower::{Service, ServiceExt as _};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is written as the crate of a third party would be"
)]
#[path = "../../../credential-testkit/examples/third_party_store/store.rs"]
mod shelf;

pub(crate) type Answer = Result<Response<Sealed>, CredentialError>;

pub(crate) fn shelf() -> StoreHandle {
    StoreHandle::new(shelf::ShelfStore::default())
}

pub(crate) fn faulty() -> FaultStore {
    FaultStore::new(shelf())
}

pub(crate) fn id(name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new(name).unwrap(),
    )
}

pub(crate) fn get(name: &str) -> Op<Sealed> {
    Op::Get(read(name))
}

pub(crate) fn read(name: &str) -> Get {
    Get {
        id: id(name),
        version: Selector::Latest,
    }
}

pub(crate) fn put(name: &str, version: u32, value: &str, token: Option<[u8; 16]>) -> Op<Sealed> {
    Op::Put(Put {
        id: id(name),
        version: VersionHead {
            version: Version::new(version).unwrap(),
            credential_type: "test".into(),
            schema_version: 1,
            created_at: OpContext::default().now(),
            expires_at: None,
        },
        phase: Phase::Active,
        tags: None,
        payload: Sealed::envelope([&ENVELOPE_MAGIC[..], value.as_bytes()].concat()).unwrap(),
        precondition: Precondition::None,
        token: token.map(IdempotencyToken),
        keep_versions: 10,
    })
}

pub(crate) fn context(clock: &TestClock) -> OpContext {
    OpContext::new(Principal::Process, Arc::new(clock.clone()))
}

pub(crate) async fn call<S>(service: &S, ctx: &OpContext, op: Op<Sealed>) -> Answer
where
    S: Service<Request<Sealed>, Response = Response<Sealed>, Error = CredentialError> + Clone,
{
    let request = Request { ctx: ctx.clone(), op };
    service.clone().oneshot(request).await
}

pub(crate) fn value(answer: Answer) -> String {
    let payload = answer.unwrap().into_record().unwrap().payload;
    let bytes = payload.require_envelope().unwrap();
    String::from_utf8(bytes.strip_prefix(&ENVELOPE_MAGIC[..]).unwrap().to_vec()).unwrap()
}

pub(crate) const CONFIG: BreakerConfig = BreakerConfig {
    failure_threshold: 3,
    success_threshold: 2,
    open_for: Duration::from_secs(30),
};

/// 1 s an attempt, 3 attempts, a budget that never runs out.
pub(crate) fn resilience(clock: &TestClock) -> Resilience {
    Resilience::new(CONFIG, Arc::new(clock.clone()), Arc::new(NoMetrics))
        .timeout(Duration::from_secs(1))
        .retry(RetryConfig {
            budget_percent: 1000,
            budget_reserve: 10_000,
            ..RetryConfig::default()
        })
}

pub(crate) fn unavailable(retry_after: Option<Duration>) -> CredentialError {
    CredentialError::Unavailable {
        message: "the test store is away".into(),
        retry_after,
    }
}
