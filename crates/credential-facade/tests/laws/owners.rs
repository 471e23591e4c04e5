//! Owners: who becomes one, who does not, and that nobody gets what another owns.

use std::time::Duration;

use nebula_credential::access::{AccessLayer, AccessPolicy, Policies, Sharing};
use nebula_credential::prelude::*;
use nebula_credential::resilience::FallbackStore;
use nebula_credential::{CredentialName, Permission, Principal, StoreHandle};
use tempfile::TempDir;

use crate::place::{POLICY, Place, note, rule, user};
use crate::shelf;

fn text(answer: Result<crate::place::Note, CredentialError>) -> Result<String, CredentialError> {
    answer.map(|note| note.text.clone())
}

#[tokio::test]
async fn an_administrator_finds_an_owner_for_what_has_none() {
    let everywhere = "tenants = [\"*\"]";
    let owners = rule("owners", "allow", "owner", "*", everywhere);
    let place = Place::new(&format!("{POLICY}{owners}"));
    let ungoverned = place.ungoverned().build();
    ungoverned.store("n", note("one")).await.unwrap();
    let alice = place.builder().build();
    let bob = alice.with_principal(user("bob"));
    let adopt = Sharing::Adopt { owner: user("bob") };
    bob.share("n", &adopt).await.unwrap_err();
    alice.share("n", &adopt).await.unwrap();
    assert_eq!(bob.sharing("n").await.unwrap().0, Some(user("bob")));
    assert_eq!(text(bob.get("n").await).unwrap(), "one");
}

#[tokio::test]
async fn who_may_rotate_takes_nothing_over() {
    let ops = rule("ops", "allow", "service:ops", "rotate", "tenants = [\"*\"]");
    let place = Place::new(&format!("{POLICY}{ops}"));
    let alice = place.builder().build();
    let ops = alice
        .with_principal(Principal::Service(CredentialName::new("ops").unwrap()))
        .with_permission(Permission::Rotate);
    alice.store("n", note("one")).await.unwrap();
    ops.rotate("n", note("two")).await.unwrap();
    let tags = Tags::from_pairs([("team", "ops")]).unwrap();
    let tagged = ops.rotate("n", note("three")).tags(tags).await;
    assert!(tagged.unwrap_err().is_access_denied());
    alice.delete("n").await.unwrap();
    for name in ["n", "absent"] {
        let error = ops.store(name, note("evil")).await.unwrap_err();
        assert!(error.is_not_found(), "{name}: {error}");
        let error = ops.rotate(name, note("evil")).await.unwrap_err();
        assert!(error.is_not_found(), "{name}: {error}");
    }
    alice.restore("n").await.unwrap();
    assert_eq!(text(alice.get("n").await).unwrap(), "two");
    assert_eq!(alice.sharing("n").await.unwrap().0, Some(user("alice")));
}

/// A store that tells nobody of changes, so that a cache learns of them only in time; owners do as they like.
struct Quiet {
    directory: TempDir,
    access: AccessLayer,
}

impl Quiet {
    fn new() -> Self {
        let everywhere = "tenants = [\"*\"]";
        let policy = [
            "version = 1".to_owned(),
            rule("create", "allow", "user:*", "write", everywhere),
            rule("owners", "allow", "owner", "*", everywhere),
        ];
        let policy = AccessPolicy::parse(&policy.concat()).unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            access: AccessLayer::new(Policies::new(policy)),
        }
    }

    fn manager(&self, who: &str) -> nebula_credential::ManagerBuilder {
        let store = LocalStorage::new(self.directory.path().join("secrets"));
        // A chain tells of changes if each of its stores does.
        let silent = StoreHandle::new(shelf::ShelfStore::default());
        let quiet = FallbackStore::new("main", StoreHandle::new(store)).then("silent", silent);
        CredentialManager::builder()
            .storage(quiet)
            .key_ring_dir(self.directory.path().join("ring"))
            .keys(Keys::key_file(self.directory.path().join("config/key")))
            .access(self.access.clone())
            .principal(user(who))
    }
}

#[tokio::test]
async fn what_a_cache_kept_of_one_owner_the_next_does_not_get() {
    let place = Quiet::new();
    let here = place.manager("alice").cache_ttl(Duration::from_secs(60)).build();
    here.store("n", note("of alice")).await.unwrap();
    assert_eq!(text(here.get("n").await).unwrap(), "of alice");
    let there = place.manager("alice").build();
    there.purge("n").await.unwrap();
    let bob = there.with_principal(user("bob"));
    bob.store("n", note("of bob")).await.unwrap();
    // The cache has the value before, and the head that was decided on is that of the value after.
    let error = text(here.with_principal(user("bob")).get("n").await).unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    assert_eq!(text(bob.get("n").await).unwrap(), "of bob");
}

#[tokio::test]
async fn the_record_says_where_the_value_came_from() {
    let place = Quiet::new();
    let log = place.directory.path().join("audit.log");
    let alice = place
        .manager("alice")
        .cache_ttl(Duration::from_secs(60))
        .audit_log(AuditLogger::new(&log))
        .build();
    alice.store("n", note("one")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(text(alice.get("n").await).unwrap(), "one");
    }
    let sources: Vec<String> = nebula_credential::audit::entries(&log)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.event == "accessed")
        .filter_map(|entry| entry.source)
        .collect();
    let [first, second] = sources.as_slice() else {
        panic!("{sources:?}")
    };
    assert_eq!(first, "link:main");
    assert!(second.starts_with("cache"), "{second}");
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_is_answered_when_what_is_absent_is() {
    let place = Quiet::new();
    let alice = place.manager("alice").build();
    alice.store("n", note("one")).await.unwrap();
    let service = Principal::Service(CredentialName::new("curious").unwrap());
    let curious = alice.with_principal(service);
    for name in ["n", "absent"] {
        let began = tokio::time::Instant::now();
        let error = text(curious.get(name).await).unwrap_err();
        assert!(error.is_not_found(), "{name}: {error}");
        assert_eq!(began.elapsed(), Duration::from_millis(20), "{name}");
    }
}
