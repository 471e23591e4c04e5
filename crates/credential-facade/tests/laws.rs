//! What holds between access control, audit, cache and store, whoever asks: the laws of the stack's order.

#![cfg(all(
    feature = "access",
    feature = "audit",
    feature = "cache",
    feature = "resilience"
))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential::access::{AccessLayer, AccessPolicy, Permissions, Policies, Sharing};
use nebula_credential::audit::{Entry, entries};
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, Resilience, RetryConfig};
use nebula_credential::{
    Builder, Clock as _, CredentialName, NoMetrics, Permission, Principal, StoreHandle, SystemClock,
};
use nebula_credential_testkit::{Fault, FaultStore, Gate};
use tempfile::TempDir;

#[derive(Credential)]
struct Note {
    #[secret]
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.into() }
}

fn user(name: &str) -> Principal {
    Principal::User(CredentialName::new(name).unwrap())
}

fn action(name: &str) -> Principal {
    Principal::Action(CredentialName::new(name).unwrap())
}

const POLICY: &str = r#"
version = 1

[[rules]]
id = "alice-does-all"
effect = "allow"
principals = ["user:alice"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "actions-use"
effect = "allow"
principals = ["action:*"]
permissions = ["use"]
tenants = ["*"]
"#;

const SHARED: &str = r#"
[[rules]]
id = "as-shared"
effect = "allow"
principals = ["granted"]
permissions = ["read", "use"]
tenants = ["*"]
"#;

struct Place {
    directory: TempDir,
    faults: FaultStore,
    policies: Policies,
}

impl Place {
    fn new(policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(directory.path().join("secrets"));
        let policy = AccessPolicy::parse(policy).unwrap();
        Self {
            faults: FaultStore::new(StoreHandle::new(store)),
            policies: Policies::new(policy),
            directory,
        }
    }

    fn builder(&self) -> Builder {
        CredentialManager::builder()
            .storage_handle(self.faults.handle())
            .keys(Keys::key_file(self.directory.path().join("config/key")))
            .cache_ttl(Duration::from_secs(300))
            .audit_log(AuditLogger::new(self.directory.path().join("audit.log")))
            .access(
                AccessLayer::builder(self.policies.clone())
                    .answer_step(Duration::from_millis(1))
                    .build(),
            )
            .principal(user("alice"))
    }

    /// The records of operations on credentials.
    fn records(&self) -> Vec<Entry> {
        let all = entries(self.directory.path().join("audit.log"))
            .unwrap()
            .map(Result::unwrap);
        all.filter(|entry| entry.name.is_some()).collect()
    }

    fn last(&self) -> Entry {
        self.records().pop().unwrap()
    }

    fn calls(&self) -> usize {
        self.faults.calls().len()
    }
}

#[tokio::test]
async fn a_denied_read_is_audited_and_touches_neither_cache_nor_store() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.get::<Note>("n").await.unwrap();
    let (calls, stats) = (place.calls(), alice.cache_stats().unwrap());

    let bob = alice.with_principal(user("bob"));
    for name in ["n", "absent"] {
        let error = bob.get::<Note>(name).await.unwrap_err();
        // What is denied whether it is there or not says so.
        assert!(error.is_access_denied(), "{error}");
        let record = place.last();
        assert_eq!(record.event, "permission_denied");
        assert_eq!(record.principal.as_deref(), Some("user:bob"));
        assert_eq!(record.name.as_deref(), Some(name));
        assert_eq!(
            (record.allowed, record.rule.as_deref()),
            (Some(false), Some("default-deny"))
        );
    }
    assert_eq!(place.calls(), calls);
    assert_eq!(alice.cache_stats().unwrap(), stats);
}

const OWNED: &str = r#"
version = 1

[[rules]]
id = "owners"
effect = "allow"
principals = ["owner"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "everybody-stores"
effect = "allow"
principals = ["user:*"]
permissions = ["write"]
tenants = ["*"]
scopes = ["open"]
"#;

#[tokio::test]
async fn what_belongs_to_someone_else_and_what_is_absent_look_the_same() {
    let place = Place::new(OWNED);
    let open = nebula_credential::Scope::new("open").unwrap();
    let alice = place.builder().scope(open).build();
    alice.store("theirs", note("one")).await.unwrap();
    alice.get::<Note>("theirs").await.unwrap();
    let closed = alice.with_scope(nebula_credential::Scope::default());
    let bob = closed.with_principal(user("bob"));
    let text = |error: CredentialError, name: &str| format!("{error:?} {error}").replace(name, "X");
    place
        .policies
        .replace(AccessPolicy::parse(&OWNED.replace("[\"open\"]", "[\"shut\"]")).unwrap());
    let (theirs, absent) = (alice.with_principal(user("bob")), bob);
    let denied = text(theirs.get::<Note>("theirs").await.unwrap_err(), "open:theirs");
    let missing = text(absent.get::<Note>("absent").await.unwrap_err(), "global:absent");
    assert_eq!(denied, missing);
    assert!(denied.contains("NotFound"), "{denied}");
    assert!(!theirs.exists("theirs").await.unwrap());
    assert!(theirs.list().await.unwrap().is_empty());
    assert_eq!(alice.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn to_use_is_not_to_read() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let context = alice.context(action("send")).allow("n").unwrap();
    assert_eq!(context.get_credential::<Note>("n").await.unwrap().text, "one");
    assert_eq!(place.last().permission.as_deref(), Some("use"));
    let shown = alice.with_principal(action("send")).get::<Note>("n").await;
    assert!(
        shown.unwrap_err().is_access_denied(),
        "what may be used may be known of"
    );
    // What was not declared is not given, whatever the policy says.
    let undeclared = alice.context(action("send"));
    assert!(
        undeclared
            .get_credential::<Note>("n")
            .await
            .unwrap_err()
            .is_access_denied()
    );
}

#[tokio::test]
async fn a_cache_hit_is_audited_and_says_that_it_was_one() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    for _ in 0..3 {
        alice.get::<Note>("n").await.unwrap();
    }
    let accessed: Vec<_> = place
        .records()
        .into_iter()
        .filter(|entry| entry.event == "accessed")
        .collect();
    let sources: Vec<_> = accessed.iter().map(|entry| entry.source.as_deref()).collect();
    assert_eq!(sources, [None, Some("cache"), Some("cache")]);
    assert!(
        accessed
            .iter()
            .all(|entry| entry.rule.as_deref() == Some("alice-does-all"))
    );
    assert_eq!(place.faults.count("get"), 1);
}

#[tokio::test]
async fn a_principal_whose_permission_is_revoked_gets_no_cached_value() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    assert!(bob.get::<Note>("n").await.unwrap_err().is_not_found());

    let grant = Sharing::Grant {
        to: user("bob"),
        permissions: Permissions::only(Permission::Read),
        until: None,
    };
    alice.share("n", &grant).await.unwrap();
    assert_eq!(bob.get::<Note>("n").await.unwrap().text, "one");
    assert_eq!(bob.get::<Note>("n").await.unwrap().text, "one");
    alice
        .share("n", &Sharing::Revoke { from: user("bob") })
        .await
        .unwrap();
    assert!(bob.get::<Note>("n").await.unwrap_err().is_not_found());

    // A new policy empties the cache for everybody.
    alice.get::<Note>("n").await.unwrap();
    let reads = place.faults.count("get");
    place.policies.replace(AccessPolicy::parse(POLICY).unwrap());
    alice.get::<Note>("n").await.unwrap();
    assert_eq!(place.faults.count("get"), reads + 1);
}

#[tokio::test]
async fn nobody_grants_what_he_lacks_and_the_owner_stays() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    assert_eq!(alice.sharing("n").await.unwrap().0, Some(user("alice")));
    let grant = |to: &str, permissions: &[Permission]| Sharing::Grant {
        to: user(to),
        permissions: permissions.iter().copied().collect(),
        until: None,
    };
    alice
        .share("n", &grant("bob", &[Permission::Read]))
        .await
        .unwrap();
    let bob = alice.with_principal(user("bob"));
    let error = bob
        .share("n", &grant("carol", &[Permission::Delete]))
        .await
        .unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    let tags = Tags::from_pairs([("nebula.access/owner", "user:bob")]).unwrap();
    assert!(alice.set_tags("n", tags).await.unwrap_err().is_access_denied());
    assert_eq!(alice.sharing("n").await.unwrap().0, Some(user("alice")));
}

#[tokio::test]
async fn a_rotation_is_recorded_as_one_before_and_after() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.rotate("n", note("two")).await.unwrap();
    alice.delete("n").await.unwrap();
    let stages: Vec<_> = place
        .records()
        .iter()
        .map(|entry| format!("{} {}", entry.event, entry.stage))
        .collect();
    assert_eq!(
        stages,
        [
            "created intent",
            "created outcome",
            "rotated intent",
            "rotated outcome",
            "deleted intent",
            "deleted outcome"
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_released_and_not_changed() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.get::<Note>("n").await.unwrap();
    let log = place.directory.path().join("audit.log");
    fs::rename(&log, place.directory.path().join("away")).unwrap();
    let calls = place.faults.count("put");
    let refused =
        |error: CredentialError| assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    refused(alice.get::<Note>("n").await.err().unwrap());
    refused(alice.rotate("n", note("two")).await.err().unwrap());
    assert_eq!(place.faults.count("put"), calls);
    fs::rename(place.directory.path().join("away"), &log).unwrap();
    assert_eq!(alice.get::<Note>("n").await.unwrap().text, "one");
}

#[tokio::test]
async fn a_caller_that_gives_up_loses_no_acknowledged_write_and_leaves_nothing_behind() {
    let place = Place::new(POLICY);
    let resilience = Resilience::new(
        BreakerConfig::default(),
        Arc::new(SystemClock),
        Arc::new(NoMetrics),
    );
    let alice = place.builder().resilience(resilience.in_flight(1)).build();
    alice.store("n", note("one")).await.unwrap();
    for round in 0..10 {
        let gate = Gate::new();
        place.faults.once("put", Fault::HoldAfter(gate.clone()));
        let writer = alice.clone();
        let write = tokio::spawn(async move { writer.rotate("n", note("lost")).await });
        gate.arrival().await;
        write.abort();
        let _ = write.await;
        // The write was made, though nobody heard of it; no permit is missing, and no old value is served.
        assert_eq!(alice.get::<Note>("n").await.unwrap().text, "lost");
        assert_eq!(place.last().outcome.as_deref(), Some("ok"));
        let text = round.to_string();
        alice.rotate("n", note(&text)).await.unwrap();
        assert_eq!(alice.get::<Note>("n").await.unwrap().text, text);
    }
    let abandoned = place
        .records()
        .iter()
        .filter(|entry| entry.outcome.as_deref() == Some("abandoned"))
        .count();
    assert_eq!(abandoned, 10);
}

#[tokio::test]
async fn an_attempt_that_hangs_is_followed_by_another_within_the_deadline() {
    let place = Place::new(POLICY);
    let resilience = Resilience::new(
        BreakerConfig::default(),
        Arc::new(SystemClock),
        Arc::new(NoMetrics),
    )
    .timeout(Duration::from_millis(50))
    .retry(RetryConfig {
        base: Duration::ZERO,
        ..RetryConfig::default()
    });
    let alice = place.builder().resilience(resilience).build();
    // Not in real time but for what hangs.
    let patient = alice.clone();
    patient.store("n", note("one")).await.unwrap();
    place.faults.once("get", Fault::Hang);
    let deadline = SystemClock.now() + chrono::TimeDelta::seconds(60);
    assert_eq!(
        alice.with_deadline(deadline).get::<Note>("n").await.unwrap().text,
        "one"
    );
    assert_eq!(place.faults.count("get"), 2);
    let past = SystemClock.now() - chrono::TimeDelta::seconds(1);
    let late = alice.with_deadline(past);
    let error = late.metadata("n").await.unwrap_err();
    assert!(matches!(error, CredentialError::DeadlineExceeded(_)), "{error}");
}

#[tokio::test]
async fn work_on_the_keys_is_recorded_before_and_after_and_not_done_without_a_record() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.rotate_key().await.unwrap();
    alice.rewrap(|_| {}).await.unwrap();
    alice.re_encrypt_all(|_| {}).await.unwrap();
    let log = place.directory.path().join("audit.log");
    let records: Vec<_> = entries(&log)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.event == "key_rotated")
        .map(|entry| (entry.operation.unwrap(), entry.stage, entry.outcome))
        .collect();
    let told: Vec<_> = ["rotate_key", "rewrap", "re_encrypt_all"]
        .into_iter()
        .flat_map(|operation| {
            [
                (operation.to_owned(), "intent".to_owned(), None),
                (operation.to_owned(), "outcome".to_owned(), Some("ok".to_owned())),
            ]
        })
        .collect();
    assert_eq!(records, told);

    fs::rename(&log, place.directory.path().join("elsewhere")).unwrap();
    let before = alice.key_ring().await.unwrap().ring().status();
    let error = alice.rotate_key().await.unwrap_err();
    assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    assert_eq!(alice.key_ring().await.unwrap().ring().status(), before);
}
