//! Owners and grants.

use std::time::Duration;

use chrono::TimeDelta;
use nebula_credential_access::{GRANTS_MAX, OWNER_TAG, Permissions, Sharing, grants, owner};
use nebula_credential_core::{
    Clock as _, CredentialRef, Op, Permission, Precondition, Restore, Tags, Update,
};

use crate::support::{World, delete, get, id, principal, put, rules, tag};

/// Everyone may store; an owner does everything, and shares.
fn world() -> World {
    World::new(&rules(&[
        "create allow user:* write",
        "owners allow owner *",
        "shared allow granted *",
        "admins allow user:root admin",
    ]))
}

async fn stored(world: &World, who: &str, name: &str) -> CredentialRef {
    let id = id(name);
    world
        .ask(&world.ctx(who), Op::Put(put(&id, 1, None)))
        .await
        .unwrap();
    id
}

fn grant(to: &str, permissions: &[Permission]) -> Sharing {
    Sharing::Grant {
        to: principal(to),
        permissions: permissions.iter().copied().collect(),
        until: None,
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_stores_a_credential_owns_it_for_good() {
    let world = world();
    let db = stored(&world, "user:alice", "db").await;
    let owned = |world: &World| owner(&world.shelf.tags(&db));
    assert_eq!(owned(&world), Some(principal("user:alice")));
    world.get("user:alice", &db).await.unwrap();

    // Others may write, and change nothing about whose it is.
    let bob = world.ctx("user:bob");
    world.ask(&bob, Op::Put(put(&db, 2, None))).await.unwrap();
    world
        .ask(&bob, Op::Put(put(&db, 3, Some(&[("team", "pay")]))))
        .await
        .unwrap();
    world.ask(&bob, tag(&db, &[("team", "ops")])).await.unwrap();
    assert_eq!(owned(&world), Some(principal("user:alice")));
    assert_eq!(world.shelf.tags(&db).get("team"), Some("ops"));
    for tags in [
        &[(OWNER_TAG, "user:bob")][..],
        &[("nebula.access/other", "x")],
        &[(
            "nebula.access/grant-1",
            "user:bob read by=user:alice at=2026-01-01T00:00:00Z",
        )],
    ] {
        for op in [
            tag(&db, tags),
            Op::Put(put(&db, 4, Some(tags))),
            Op::Put(put(&id("new"), 1, Some(tags))),
        ] {
            assert!(
                world.ask(&bob, op).await.unwrap_err().is_access_denied(),
                "{tags:?}"
            );
        }
    }
    // What was read may be written back.
    let kept: Vec<(String, String)> = pairs(&world.shelf.tags(&db));
    let kept: Vec<(&str, &str)> = kept
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    world.ask(&bob, tag(&db, &kept)).await.unwrap();
    // With and without a precondition.
    let mut next = put(&db, 4, None);
    next.precondition = Precondition::IfVersion(nebula_credential_core::Version::new(3).unwrap());
    world.ask(&bob, Op::Put(next)).await.unwrap();
    assert_eq!(owned(&world), Some(principal("user:alice")));
    assert!(world.get("user:bob", &db).await.is_err());
}

fn pairs(tags: &Tags) -> Vec<(String, String)> {
    tags.iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_restored_has_its_owner_and_one_stored_anew_a_new_one() {
    let world = world();
    let db = stored(&world, "user:alice", "db").await;
    world.ask(&world.ctx("user:alice"), delete(&db)).await.unwrap();
    let restore = || Op::Restore(Restore { id: db.clone() });
    assert!(world.ask(&world.ctx("user:bob"), restore()).await.is_err());
    world.ask(&world.ctx("user:alice"), restore()).await.unwrap();
    assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:alice")));
    world.ask(&world.ctx("user:alice"), delete(&db)).await.unwrap();
    world
        .ask(&world.ctx("user:bob"), Op::Put(put(&db, 2, None)))
        .await
        .unwrap();
    assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:bob")));
    world.get("user:bob", &db).await.unwrap();
    assert!(world.get("user:alice", &db).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_shared_holds_until_it_ends() {
    let world = world();
    let db = stored(&world, "user:alice", "db").await;
    let until = world.clock.now() + TimeDelta::hours(1);
    let change = Sharing::Grant {
        to: principal("service:bob"),
        permissions: Permissions::only(Permission::Use),
        until: Some(until),
    };
    world.share("user:alice", &db, &change).await.unwrap();
    let found: Vec<_> = grants(&world.shelf.tags(&db)).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].to, &found[0].by),
        (&principal("service:bob"), &principal("user:alice"))
    );
    assert_eq!((found[0].at, found[0].until), (world.clock.now(), Some(until)));
    let bob = |permission| world.get_for("service:bob", permission, &db);
    assert_eq!(bob(Permission::Use).await, (true, "shared".to_owned()));
    assert!(!bob(Permission::Read).await.0);
    // Bob knows it is there, and is told what is lacking.
    assert!(
        world
            .get("service:bob", &db)
            .await
            .unwrap_err()
            .is_access_denied()
    );
    world.clock.advance(Duration::from_secs(3600));
    assert!(!bob(Permission::Use).await.0);
    assert!(world.get("service:bob", &db).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_gone_at_once() {
    let world = world();
    let db = stored(&world, "user:alice", "db").await;
    world
        .share("user:alice", &db, &grant("service:bob", &[Permission::Read]))
        .await
        .unwrap();
    world.get("service:bob", &db).await.unwrap();
    let end = Sharing::Revoke {
        from: principal("service:bob"),
    };
    world.share("user:alice", &db, &end).await.unwrap();
    assert!(world.get("service:bob", &db).await.unwrap_err().is_not_found());
    assert!(world.share("user:alice", &db, &end).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nobody_shares_what_they_lack() {
    let world = world();
    let db = stored(&world, "user:alice", "db").await;
    let shared = [Permission::Share, Permission::Use];
    world
        .share("user:alice", &db, &grant("user:bob", &shared))
        .await
        .unwrap();
    // Bob passes on what was given to bob, and no more.
    world
        .share("user:bob", &db, &grant("user:carl", &[Permission::Use]))
        .await
        .unwrap();
    for more in [
        &[Permission::Read][..],
        &[Permission::Admin],
        &[Permission::Use, Permission::Delete],
    ] {
        let error = world
            .share("user:bob", &db, &grant("user:dan", more))
            .await
            .unwrap_err();
        assert!(error.is_access_denied(), "{more:?}");
    }
    // Carl has no share of it, and bob cannot end what alice gave.
    assert!(
        world
            .share("user:carl", &db, &grant("user:dan", &[Permission::Use]))
            .await
            .is_err()
    );
    let end = |from: &str| Sharing::Revoke {
        from: principal(from),
    };
    world
        .share("user:alice", &db, &grant("user:erin", &[Permission::Use]))
        .await
        .unwrap();
    assert!(
        world
            .share("user:bob", &db, &end("user:erin"))
            .await
            .unwrap_err()
            .is_access_denied()
    );
    world.share("user:bob", &db, &end("user:carl")).await.unwrap();
    world.share("user:alice", &db, &end("user:bob")).await.unwrap();
    world.share("user:root", &db, &end("user:erin")).await.unwrap();
    assert_eq!(grants(&world.shelf.tags(&db)).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_forged_request_to_share_is_refused() {
    let world = world();
    let db = stored(&world, "user:alice", "db").await;
    world
        .share(
            "user:alice",
            &db,
            &grant("user:bob", &[Permission::Share, Permission::Use]),
        )
        .await
        .unwrap();
    let mut bob = world.ctx("user:bob");
    bob.permission = Some(Permission::Share);
    let before = pairs(&world.shelf.tags(&db));
    let forged = [
        (
            "nebula.access/grant-2",
            "user:dan use by=user:alice at=2026-01-01T00:00:00Z",
        ),
        (
            "nebula.access/grant-2",
            "user:dan use by=user:bob at=2099-01-01T00:00:00Z",
        ),
        ("nebula.access/grant-2", "user:dan everything"),
        (
            "nebula.access/grant-02",
            "user:dan use by=user:bob at=2026-01-01T00:00:00Z",
        ),
        (
            "nebula.access/grant-33",
            "user:dan use by=user:bob at=2026-01-01T00:00:00Z",
        ),
        (
            "nebula.access/grant-1",
            "user:bob use by=user:bob at=2026-01-01T00:00:00Z",
        ),
        ("nebula.access/other", "x"),
        (OWNER_TAG, "user:bob"),
        ("team", "pay"),
    ];
    for (key, value) in forged {
        let kept = before.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut tags = Tags::from_pairs(kept).unwrap();
        tags.insert(key, value).unwrap();
        let op = Op::Update(Update {
            id: db.clone(),
            tags: Some(tags),
            phase: None,
            precondition: Precondition::None,
        });
        world.ask(&bob, op).await.expect_err(key);
    }
    for left_out in [OWNER_TAG, "nebula.access/grant-1"] {
        let kept = before.iter().filter(|(key, _)| key != left_out);
        let kept: Vec<(&str, &str)> = kept.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        world.ask(&bob, tag(&db, &kept)).await.expect_err(left_out);
    }
    assert_eq!(pairs(&world.shelf.tags(&db)), before);
}

#[tokio::test(start_paused = true)]
async fn grants_are_limited_and_an_administrator_finds_owners_for_what_has_none() {
    let world = world();
    let db = id("db");
    world.shelf.place(&db, &[]);
    let adopt = |owner: &str| Sharing::Adopt {
        owner: principal(owner),
    };
    world
        .share("user:alice", &db, &adopt("user:alice"))
        .await
        .unwrap_err();
    world.share("user:root", &db, &adopt("user:alice")).await.unwrap();
    world
        .share("user:root", &db, &adopt("user:bob"))
        .await
        .unwrap_err();
    world.get("user:alice", &db).await.unwrap();
    for number in 0..GRANTS_MAX {
        let to = format!("user:u{number}");
        world
            .share("user:alice", &db, &grant(&to, &[Permission::Use]))
            .await
            .unwrap();
    }
    // The same again takes the place of what was.
    world
        .share("user:alice", &db, &grant("user:u0", &[Permission::Read]))
        .await
        .unwrap();
    assert!(!world.get_for("user:u0", Permission::Use, &db).await.0);
    world
        .share("user:alice", &db, &grant("user:more", &[Permission::Use]))
        .await
        .unwrap_err();
    assert_eq!(grants(&world.shelf.tags(&db)).count(), GRANTS_MAX);
    assert!(world.ask(&world.ctx("user:u1"), get(&db)).await.is_err());
}
