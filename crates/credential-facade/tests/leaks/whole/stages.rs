//! What is done along the whole stack, a part at a time, with everything searched that it shows.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential::access::{Inquiry, Known, Permissions, Reload, Sharing};
use nebula_credential::cache::Expiry;
use nebula_credential::crypto::{Bundle, Passphrase};
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerState, FallbackStore};
use nebula_credential::{Clock as _, CredentialRef, OpContext, Permission, Selector, StoreHandle};
use nebula_credential_testkit::{Canary, Fault};

use crate::whole::{MINUTE, POLICY, Place, user};
use crate::{Ground, Hunt};

/// A secret in one piece, hostile to whoever writes it.
pub(crate) fn secret(ground: &Ground) -> SecretTextCredential {
    SecretTextCredential::new(ground.hostile.secret())
}

fn away() -> Fault {
    Fault::Refuse(CredentialError::unavailable("away"))
}

/// Hits, what is not there, values past their time, and an open breaker.
pub(crate) async fn memory(hunt: &mut Hunt, place: &Place, ground: &Ground) {
    let manager = hunt.manager.clone();
    manager.store("cached", secret(ground)).await.unwrap();
    for _ in 0..2 {
        let read: SecretTextCredential = manager.get("cached").await.unwrap();
        hunt.debug("a read", &read);
        let absent = manager.get::<SecretTextCredential>("absent").await.unwrap_err();
        hunt.error("absent", &absent);
    }
    place.clock.advance(MINUTE + Duration::from_secs(1));
    place.faults.always("get", away());
    let stale: SecretTextCredential = manager.get("cached").await.unwrap();
    hunt.debug("a stale value", &stale);
    while manager.health().await.breaker != Some(BreakerState::Open) {
        place.clock.advance(Duration::from_secs(2));
        let error = manager.get::<SecretTextCredential>("other").await.unwrap_err();
        hunt.error("a store that is away", &error);
    }
    hunt.debug("health", &manager.health().await);
    let error = manager.get::<SecretTextCredential>("more").await.unwrap_err();
    hunt.error("an open breaker", &error);
    let stats = manager.cache_stats().unwrap();
    assert!(
        stats.hits > 0 && stats.negative_hits > 0 && stats.stale > 0,
        "{stats:?}"
    );
    place.faults.heal();
    place.clock.advance(MINUTE);
    manager.get::<SecretTextCredential>("cached").await.unwrap();
    manager.get::<SecretTextCredential>("cached").await.unwrap();
    hunt.traced("memory");
}

/// A store that answers with something else, or not at all.
pub(crate) async fn damage(hunt: &mut Hunt, place: &Place, ground: &Ground) {
    let manager = hunt.manager.clone();
    for name in ["one", "two"] {
        manager.store(name, secret(ground)).await.unwrap();
    }
    let other = CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new("two").unwrap(),
    );
    let faults = [
        Fault::FlipBit(400),
        Fault::FlipBit(5000),
        Fault::Truncate(0),
        Fault::Truncate(200),
        Fault::PayloadOf(other.clone(), Selector::Latest),
        Fault::RecordOf(other, Selector::Latest),
    ];
    for fault in faults {
        manager.forget_all();
        place.faults.once("get", fault);
        let error = manager.get::<SecretTextCredential>("one").await.unwrap_err();
        hunt.error("a store that lies", &error);
    }
    place.faults.heal();
    place.clock.advance(MINUTE);
    place.faults.always("put", Fault::LoseAnswer);
    let error = manager.rotate("one", secret(ground)).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    hunt.error("an answer that was lost", &error);
    place.faults.heal();
    place.clock.advance(MINUTE);
    let conflict = manager
        .store("one", secret(ground))
        .if_absent()
        .await
        .unwrap_err();
    hunt.error("a conflict", &conflict);
    let late = manager.with_deadline(place.clock.now());
    hunt.error("late", &late.store("one", secret(ground)).await.unwrap_err());
    hunt.traced("damage");
}

/// Whoever may not, what they are told, and what whoever keeps the policy is.
pub(crate) async fn refusals(hunt: &mut Hunt, place: &mut Place, ground: &Ground) {
    let alice = hunt.manager.clone();
    alice.store("held", secret(ground)).await.unwrap();
    let grant = |to| Sharing::Grant {
        to: user(to),
        permissions: Permissions::only(Permission::Use),
        until: None,
    };
    hunt.debug("sharing", &alice.share("held", &grant("bob")).await.unwrap());
    hunt.debug("grants", &alice.sharing("held").await.unwrap());
    let bob = alice.with_principal(user("bob")).with_purpose("INC-7");
    let using = bob.with_permission(Permission::Use);
    let used: SecretTextCredential = using.get("held").await.unwrap();
    hunt.debug("what is shared", &used);
    let oncall = alice.with_principal(user("oncall")).with_purpose("INC-7");
    let broken: SecretTextCredential = oncall.get("held").await.unwrap();
    hunt.debug("what an emergency gives", &broken);
    let refused = [
        bob.get::<SecretTextCredential>("held").await.map(drop),
        bob.get::<SecretTextCredential>("cached").await.map(drop),
        bob.store("held", secret(ground)).await.map(drop),
        bob.store("new", secret(ground)).await.map(drop),
        bob.rotate("held", secret(ground)).await.map(drop),
        bob.share("held", &grant("eve")).await.map(drop),
        bob.revoke("held").await.map(drop),
        bob.delete("held").await,
        bob.export(["held"]).await.map(drop),
        bob.rotate_key().await.map(drop),
    ];
    for refused in refused {
        hunt.error("a refusal", &refused.unwrap_err());
    }
    let context = alice.context(user("alice")).allow("held").unwrap();
    hunt.debug("a context", &context);
    let undeclared = context.get_credential::<SecretTextCredential>("one").await;
    hunt.error("an allow-list", &undeclared.map(drop).unwrap_err());

    let policies = place.policy.policies();
    let metadata = alice.get_raw("held").await.unwrap();
    for (who, known) in [("alice", Known::Nothing), ("bob", Known::Head(metadata.head()))] {
        let ctx = OpContext {
            principal: user(who),
            ..OpContext::default()
        };
        let inquiry = Inquiry {
            ctx: &ctx,
            id: &metadata.head().id,
            permission: Some(Permission::Read),
            known,
        };
        hunt.debug("an inquiry", &inquiry);
        let explained = policies.current().explain(inquiry);
        hunt.debug("an explanation", &explained);
        hunt.hunter.check_display("an explanation", &explained);
    }
    hunt.debug("the policy", &*policies.current());
    hunt.debug("the policies", &policies);
    fs::write(place.path("policy.toml"), "version = 2").unwrap();
    let reload = place.policy.reload();
    assert!(matches!(reload, Reload::Refused(_)));
    alice.record_reload(&reload).unwrap();
    hunt.debug("a reload", &reload);
    hunt.debug("health", &alice.health().await);
    fs::write(place.path("policy.toml"), POLICY).unwrap();
    alice.record_reload(&place.policy.reload()).unwrap();
    hunt.debug("a policy file", &place.policy);
    hunt.traced("refusals");
}

/// A live handle, from the first value to the last.
pub(crate) async fn handles(hunt: &mut Hunt, place: &Place, ground: &Ground) {
    let manager = hunt.manager.clone();
    manager.store("live", secret(ground)).await.unwrap();
    let handle: CredentialHandle<SecretTextCredential> = manager.handle("live").await.unwrap();
    let mut changes = handle.changes();
    hunt.debug("a handle", &handle);
    hunt.debug("what it loads", &handle.load().unwrap());
    hunt.debug("a stream of changes", &changes);
    manager.rotate("live", secret(ground)).await.unwrap();
    hunt.debug("a change", &changes.next().await.unwrap());
    hunt.debug("what it loads then", &handle.load().unwrap());
    manager.revoke("live").await.unwrap();
    hunt.debug("the last change", &changes.next().await.unwrap());
    hunt.error("a handle that ended", &handle.load().map(drop).unwrap_err());
    hunt.debug("a handle that ended", &handle);

    // One that is driven by hand.
    let (handle, mut updater) = CredentialHandle::new(handle.id().clone(), Version::FIRST, secret(ground));
    let expiry = Expiry::new(place.clock.now(), Arc::new(place.clock.clone()));
    hunt.debug("an expiry", &expiry);
    let late = updater.refreshed(Version::FIRST, secret(ground), Some(expiry));
    hunt.debug("a refresh", &late);
    hunt.error("a value that expired", &handle.load().map(drop).unwrap_err());
    let conflict = updater.rotated(Version::FIRST, secret(ground), None).unwrap_err();
    hunt.error("news that came too late", &conflict);
    hunt.debug("an updater", &updater);
    hunt.traced("handles");
}

/// Whatever hands out values without a manager: what stands before it, and chains of values.
pub(crate) async fn providers(hunt: &mut Hunt, ground: &Ground) {
    let inner = hunt.manager.provider::<SecretTextCredential>();
    hunt.debug("a provider", &inner);
    let cached = CachedCredentialProvider::new(inner, 10, MINUTE);
    let provider = CircuitBreakerCredentialProvider::new(cached, 5, 1, MINUTE);
    let first = provider.get("cached").await.unwrap();
    let second = provider.get("cached").await.unwrap();
    hunt.debug("any credential", &first);
    hunt.debug("its copy", &second.clone());
    hunt.debug("providers", &provider);
    hunt.error("a provider", &provider.get("absent").await.unwrap_err());
    hunt.error("a provider", &provider.get("live").await.unwrap_err());
    let chain = CredentialChain::new()
        .add("invalid", JwtCredential::new(ground.plain.secret()))
        .add_any("valid", second);
    assert_eq!(chain.first_valid().unwrap().0, "valid");
    hunt.debug("a chain", &chain);
    let invalid = CredentialChain::new().add("invalid", JwtCredential::new(ground.plain.secret()));
    hunt.error("a chain", &invalid.get_first_valid().await.map(drop).unwrap_err());
    hunt.traced("providers");
}

/// Stores behind one another.
pub(crate) async fn chain(hunt: &mut Hunt, place: &Place, ground: &Ground) {
    let backup = StoreHandle::new(LocalStorage::new(place.path("backup")));
    let store = FallbackStore::new("main", place.faults.handle())
        .then("backup", backup)
        .past_unreachable();
    hunt.debug("a chain of stores", &store);
    let store = StoreHandle::new(store);
    hunt.debug("a handle on stores", &store);
    let manager = place.over(store).build();
    manager.store("chained", secret(ground)).await.unwrap();
    manager.get::<SecretTextCredential>("chained").await.unwrap();
    manager.forget_all();
    place.faults.always("get", away());
    let error = manager.get::<SecretTextCredential>("chained").await.unwrap_err();
    hunt.error("a chain past a store that is away", &error);
    place.faults.heal();
    let error = manager.get::<SecretTextCredential>("nowhere").await.unwrap_err();
    hunt.error("a chain that has it not", &error);
    let unsupported = manager.rewrap(|_| ()).await.unwrap_err();
    hunt.error("a chain of stores", &unsupported);
    hunt.debug("health", &manager.health().await);
    hunt.traced("a chain of stores");
}

/// Work on keys, and what leaves for another store.
pub(crate) async fn keys(hunt: &mut Hunt) {
    let manager = hunt.manager.clone();
    hunt.debug("the key ring", &manager.key_ring().await.unwrap());
    hunt.debug("an epoch", &manager.rotate_key().await.unwrap());
    hunt.debug("rewrap", &manager.rewrap(|_| ()).await.unwrap());
    hunt.debug("all anew", &manager.re_encrypt_all(|_| ()).await.unwrap());
    let passphrase = Passphrase::new("correct horse battery staple");
    let bundle = manager.export(["cached", "basic"]).await.unwrap();
    hunt.debug("a bundle", &bundle);
    let sealed = bundle.seal(&passphrase).unwrap();
    hunt.hunter.check("a sealed bundle", &sealed);
    let opened = Bundle::open(&sealed, &passphrase).unwrap();
    let wrong = Bundle::open(&sealed, &Passphrase::new("battery staple")).map(drop);
    hunt.error("a bundle", &wrong.unwrap_err());
    for credential in opened.credentials() {
        hunt.debug("what is in a bundle", credential);
        let imported = manager.import(format!("imported/{}", credential.name), credential);
        hunt.debug("an import", &imported.await.unwrap());
    }
    hunt.debug("a list", &manager.list_page(manager.list_query()).await.unwrap());
    hunt.debug("health", &manager.health().await);
    hunt.traced("keys");
}

/// Something under a name that is found nowhere by chance, often enough for a checkpoint of the log.
pub(crate) async fn named(hunt: &mut Hunt, ground: &Ground) -> Canary {
    let name = Canary::of(Canary::text().secret().to_lowercase().as_bytes());
    let manager = hunt.manager.clone();
    let text = name.secret();
    manager.store(&text, secret(ground)).await.unwrap();
    for _ in 0..1000 {
        manager.get::<SecretTextCredential>(&text).await.unwrap();
    }
    manager.delete(&text).await.unwrap();
    manager.get::<SecretTextCredential>(&text).await.unwrap_err();
    name
}
