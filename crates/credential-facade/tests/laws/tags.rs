//! The tags of access control: nobody sets or drops them but who shares, with a policy and without one.

use nebula_credential::access::{AccessPolicy, OWNER_TAG, Permissions, Sharing};
use nebula_credential::prelude::*;
use nebula_credential::{Permission, Scope};

use crate::place::{POLICY, Place, note, user};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    Tags::from_pairs(pairs.iter().copied()).unwrap()
}

/// `n`, owned by alice and shared with bob, as two managers see it: one under the policy, and one under none.
async fn shared() -> (Place, [CredentialManager; 2]) {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let grant = Sharing::Grant {
        to: user("bob"),
        permissions: Permissions::only(Permission::Read),
        until: None,
    };
    alice.share("n", &grant).await.unwrap();
    let ungoverned = place.ungoverned().build();
    (place, [alice, ungoverned])
}

#[tokio::test]
async fn who_sets_tags_leaves_owner_and_grants_as_they_are() {
    let (_place, managers) = shared().await;
    for manager in managers {
        let before = manager.sharing("n").await.unwrap();
        assert_eq!((before.0.as_ref(), before.1.len()), (Some(&user("alice")), 1));
        for given in [tags(&[]), tags(&[("team", "web")])] {
            let known = manager.set_tags("n", given.clone()).await.unwrap();
            assert_eq!(known.tags.get("team").map(String::as_str), given.get("team"));
            assert_eq!(manager.sharing("n").await.unwrap(), before);
            manager.store("n", note("two")).tags(given.clone()).await.unwrap();
            assert_eq!(manager.sharing("n").await.unwrap(), before);
            manager.rotate("n", note("three")).tags(given).await.unwrap();
            assert_eq!(manager.sharing("n").await.unwrap(), before);
        }
        // To name them as they are is no change.
        let known = manager.metadata("n").await.unwrap();
        let pairs = known
            .tags
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        manager
            .set_tags("n", Tags::from_pairs(pairs).unwrap())
            .await
            .unwrap();
        assert_eq!(manager.sharing("n").await.unwrap(), before);
    }
}

#[tokio::test]
async fn nobody_gives_themselves_what_they_lack_by_tags() {
    let (_place, managers) = shared().await;
    let forged = [
        tags(&[(OWNER_TAG, "user:bob")]),
        tags(&[(
            "nebula.access/grant-2",
            "user:eve read by=user:alice at=2026-01-01T00:00:00Z",
        )]),
        tags(&[("nebula.access/other", "x")]),
    ];
    for manager in managers {
        let before = manager.metadata("n").await.unwrap();
        for forged in &forged {
            for error in [
                manager.set_tags("n", forged.clone()).await.unwrap_err(),
                manager
                    .store("n", note("two"))
                    .tags(forged.clone())
                    .await
                    .unwrap_err(),
                manager
                    .store("new", note("two"))
                    .tags(forged.clone())
                    .await
                    .unwrap_err(),
            ] {
                assert!(error.is_access_denied(), "{error}");
                assert!(error.to_string().contains("share the credential"), "{error}");
            }
        }
        assert_eq!(manager.metadata("n").await.unwrap(), before);
        assert!(!manager.exists("new").await.unwrap());
    }
}

#[tokio::test]
async fn owner_and_grants_do_not_come_along_in_a_bundle() {
    let (place, [alice, ungoverned]) = shared().await;
    alice.set_tags("n", tags(&[("team", "web")])).await.unwrap();
    let bundle = alice.export(["n"]).await.unwrap();
    let credential = &bundle.credentials()[0];
    let elsewhere = Scope::new("elsewhere").unwrap();
    for (manager, name, owner) in [
        (&alice, "governed", Some(user("alice"))),
        (&ungoverned, "free", None),
    ] {
        let there = manager.with_scope(elsewhere.clone());
        let known = there.import(name, credential).await.unwrap();
        assert_eq!(known.tags.get("team").map(String::as_str), Some("web"));
        assert_eq!(there.sharing(name).await.unwrap(), (owner, vec![]));
    }
    // Over what somebody owns, the owner stays.
    place
        .policies
        .replace(AccessPolicy::parse(&POLICY.replace("user:alice", "user:bob")).unwrap());
    let bob = alice.with_principal(user("bob"));
    bob.import("n", credential).await.unwrap();
    assert_eq!(bob.sharing("n").await.unwrap().0, Some(user("alice")));
}
