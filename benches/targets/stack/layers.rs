//! Layer by layer.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use nebula_credential_access::{AccessLayer, AccessPolicy, Policies};
use nebula_credential_benches::{Bench, Result};
use nebula_credential_core::{
    CredentialName, Get, NoMetrics, OpContext, Principal, SecretStore as _, Selector, SystemClock,
};
use nebula_credential_manager::ManagerBuilder;
use nebula_credential_resilience::Resilience;
use tower::layer::layer_fn;

use super::Bed;

/// The longest there is: nothing becomes due while this runs.
pub(crate) const TTL: Duration = Duration::from_secs(900);

/// By names and roles, for one of several principals: it need not ask the store whose a credential is.
const POLICY: &str = r#"
    version = 1

    [groups]
    services = ["service:billing", "service:payments"]

    [[rules]]
    id = "services-read-databases"
    effect = "allow"
    principals = ["group:services"]
    permissions = ["read", "use"]
    tenants = ["default"]
    names = ["production-database-*"]

    [[rules]]
    id = "nothing-for-tests"
    effect = "deny"
    principals = ["service:test-*"]
    permissions = ["*"]
    tenants = ["*"]
"#;

/// Gets that memory answers.
pub(crate) fn cached(bench: &mut Bench, bed: &Bed) -> Result<()> {
    let moka: Cache<String, Arc<[u8]>> = Cache::builder().max_capacity(1000).build();
    bed.runtime.block_on(async {
        for name in &bed.names {
            moka.insert(name.clone(), Arc::from([0x70; 256])).await;
        }
    });
    let with =
        |layers: fn(ManagerBuilder) -> ManagerBuilder| bed.manager(|builder| layers(builder.cache_ttl(TTL)));
    let policies = Policies::new(AccessPolicy::parse(POLICY)?);
    let service = Principal::Service(CredentialName::new("payments")?);
    let guarded = bed.manager(|builder| {
        builder
            .cache_ttl(TTL)
            .principal(service)
            .access(AccessLayer::new(policies))
    });
    let managers = [
        ("a typed get from the cache", with(|builder| builder)),
        (
            "the same through a layer of the program's own",
            with(|builder| builder.layer(layer_fn(|inner| inner))),
        ),
        (
            "the same with telemetry",
            with(|builder| builder.metrics(NoMetrics)),
        ),
        ("the same with access control", guarded),
        (
            "the same with resilience, which a hit does not reach",
            with(|builder| builder.resilience(Resilience::default())),
        ),
    ];

    let mut race = bench.race("what memory answers, 256 B");
    let raw = race.lane("moka, asynchronous get", |times| {
        bed.runtime.block_on(async {
            for name in bed.picks(times) {
                let value = moka.get(name).await.ok_or("moka has lost a value")?;
                std::hint::black_box(value.len());
            }
            Ok(())
        })
    });
    let mut plain = None;
    for (name, manager) in &managers {
        let lane = race.lane(*name, |times| bed.gets(manager, times));
        match plain {
            None => {
                plain = Some(lane);
                race.at_most(6.0, lane, raw);
            }
            Some(plain) => race.compare(lane, plain),
        }
    }
    race.run()?;
    managers
        .iter()
        .try_for_each(|(_, manager)| bed.was_cached(manager))
}

/// Gets that go down to the store.
pub(crate) fn uncached(bench: &mut Bench, bed: &Bed) -> Result<()> {
    let managers = [
        (
            "a typed get through the sealing layer",
            bed.manager(|builder| builder),
        ),
        (
            "the same with a layer of the program's own below it",
            bed.manager(|builder| builder.sealed_layer(layer_fn(|inner| inner))),
        ),
        (
            "the same with resilience",
            bed.manager(|builder| builder.resilience(Resilience::default())),
        ),
        (
            "the same with a cache that keeps nothing",
            bed.manager(|builder| builder.cache_ttl(Duration::ZERO)),
        ),
    ];
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    let ids: Vec<_> = (0..bed.names.len())
        .map(nebula_credential_benches::fixture::address)
        .collect::<Result<_>>()?;

    let mut race = bench.race("what the store answers, 256 B");
    let store = race.lane("a sealed get from the local store", |times| {
        bed.runtime.block_on(async {
            for (_, id) in (0..times).zip(ids.iter().cycle()) {
                let get = Get {
                    id: id.clone(),
                    version: Selector::Latest,
                };
                std::hint::black_box(bed.storage.get(&ctx, get).await?);
            }
            Ok(())
        })
    });
    let mut plain = None;
    for (name, manager) in &managers {
        let lane = race.lane(*name, |times| bed.gets(manager, times));
        race.compare(lane, plain.unwrap_or(store));
        plain = plain.or(Some(lane));
    }
    race.run()
}
