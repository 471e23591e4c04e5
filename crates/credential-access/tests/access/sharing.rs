//! Grants that depend on grants, and owners that cannot be read.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential_access::{OWNER_TAG, Sharing, grants, owner};
use nebula_credential_core::{
    Clock as _, CredentialError, CredentialRef, Op, Permission, Precondition, Tags, Update,
};

use crate::support::{Answer, World, id, principal, put, rules};

const SHARED: [Permission; 2] = [Permission::Read, Permission::Share];

async fn world() -> (World, CredentialRef) {
    let world = World::new(&rules(&[
        "create allow user:alice write",
        "owners allow owner *",
        "shared allow granted *",
        "admins allow user:root admin",
    ]));
    let db = id("db");
    let alice = world.ctx("user:alice");
    world.ask(&alice, Op::Put(put(&db, 1, None))).await.unwrap();
    (world, db)
}

async fn share(
    world: &World,
    db: &CredentialRef,
    by: &str,
    to: &str,
    until: Option<DateTime<Utc>>,
) -> Answer<()> {
    let change = Sharing::Grant {
        to: principal(to),
        permissions: SHARED.into_iter().collect(),
        until,
    };
    world.share(by, db, &change).await
}

async fn end(world: &World, db: &CredentialRef, by: &str, from: &str) -> Answer<()> {
    let from = principal(from);
    world.share(by, db, &Sharing::Revoke { from }).await
}

fn shared_with(world: &World, db: &CredentialRef) -> Vec<String> {
    let mut all: Vec<String> = grants(&world.shelf.tags(db))
        .map(|grant| grant.to.to_string())
        .collect();
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn what_one_has_for_a_time_is_granted_for_no_longer() {
    let (world, db) = world().await;
    let hour = world.clock.now() + TimeDelta::hours(1);
    share(&world, &db, "user:alice", "user:bob", Some(hour))
        .await
        .unwrap();
    let longer = hour + TimeDelta::microseconds(1);
    for until in [None, Some(longer)] {
        let error = share(&world, &db, "user:bob", "user:carl", until)
            .await
            .unwrap_err();
        assert!(error.is_access_denied(), "{until:?}: {error}");
    }
    share(&world, &db, "user:bob", "user:carl", Some(hour))
        .await
        .unwrap();
    // Nor does bob make it longer for bob, alone or by a friend.
    let error = share(&world, &db, "user:bob", "user:bob", None)
        .await
        .unwrap_err();
    assert!(matches!(error, CredentialError::Validation(_)), "{error}");
    for until in [None, Some(longer)] {
        let answer = share(&world, &db, "user:carl", "user:bob", until).await;
        assert!(answer.unwrap_err().is_access_denied());
    }
    // What bob has for longer from someone else can be granted for longer.
    share(&world, &db, "user:root", "user:bob", Some(longer))
        .await
        .unwrap();
    share(&world, &db, "user:bob", "user:dan", Some(longer))
        .await
        .unwrap();
    world.clock.advance(Duration::from_secs(3600 + 1));
    for who in ["user:bob", "user:carl", "user:dan"] {
        assert!(world.get(who, &db).await.unwrap_err().is_not_found(), "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_grant_to_oneself_is_refused() {
    let (world, db) = world().await;
    share(&world, &db, "user:alice", "user:bob", None).await.unwrap();
    let mut bob = world.ctx("user:bob");
    bob.permission = Some(Permission::Share);
    let mut tags = world.shelf.tags(&db);
    let forged = "user:bob read by=user:bob at=2026-01-01T00:00:00Z";
    tags.insert("nebula.access/grant-2", forged).unwrap();
    let update = Update {
        id: db.clone(),
        tags: Some(tags),
        phase: None,
        precondition: Precondition::None,
    };
    let error = world.ask(&bob, Op::Update(update)).await.unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    assert_eq!(shared_with(&world, &db), ["user:bob"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_passed_on_ends_with_what_it_came_from() {
    let (world, db) = world().await;
    for (by, to) in [
        ("user:alice", "user:bob"),
        ("user:bob", "user:carl"),
        ("user:carl", "user:dan"),
        // In a circle, too.
        ("user:dan", "user:bob"),
        ("user:dan", "user:carl"),
        ("user:carl", "user:erin"),
        ("user:alice", "user:erin"),
        ("user:erin", "user:fred"),
    ] {
        share(&world, &db, by, to, None).await.unwrap();
    }
    // Who passed it on may end what hangs on that, and nothing else.
    let error = end(&world, &db, "user:fred", "user:erin").await.unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    end(&world, &db, "user:alice", "user:bob").await.unwrap();
    // What carl and dan granted each other keeps it for neither; erin has it from alice still.
    assert_eq!(shared_with(&world, &db), ["user:erin", "user:fred"]);
    assert!(world.get("user:dan", &db).await.unwrap_err().is_not_found());
    world.get("user:fred", &db).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_passed_it_on_ends_what_hangs_on_it() {
    let (world, db) = world().await;
    for (by, to) in [
        ("user:alice", "user:bob"),
        ("user:bob", "user:carl"),
        ("user:carl", "user:dan"),
        ("user:alice", "user:erin"),
    ] {
        share(&world, &db, by, to, None).await.unwrap();
    }
    end(&world, &db, "user:bob", "user:carl").await.unwrap();
    assert_eq!(shared_with(&world, &db), ["user:bob", "user:erin"]);
    let error = end(&world, &db, "user:bob", "user:erin").await.unwrap_err();
    assert!(error.is_access_denied(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_passed_it_on_ends_a_circle_that_hangs_on_it() {
    let (world, db) = world().await;
    for (by, to) in [
        ("user:alice", "user:bob"),
        ("user:bob", "user:carl"),
        ("user:carl", "user:dan"),
        ("user:dan", "user:carl"),
        ("user:dan", "user:bob"),
    ] {
        share(&world, &db, by, to, None).await.unwrap();
    }
    end(&world, &db, "user:bob", "user:carl").await.unwrap();
    assert_eq!(shared_with(&world, &db), ["user:bob"]);
    world.get("user:bob", &db).await.unwrap();
    assert!(world.get("user:carl", &db).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_has_ended_keeps_nothing_alive() {
    let (world, db) = world().await;
    let hour = world.clock.now() + TimeDelta::hours(1);
    for (by, to, until) in [
        ("user:alice", "user:carl", None),
        ("user:carl", "user:bob", None),
        ("user:alice", "user:bob", Some(hour)),
        ("user:bob", "user:dan", None),
    ] {
        share(&world, &db, by, to, until).await.unwrap();
    }
    world.clock.advance(Duration::from_secs(3600));
    end(&world, &db, "user:alice", "user:carl").await.unwrap();
    for who in ["user:carl", "user:bob", "user:dan"] {
        assert!(world.get(who, &db).await.unwrap_err().is_not_found(), "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_passed_it_on_takes_it_back_beside_what_others_shared() {
    let (world, db) = world().await;
    for (by, to) in [
        ("user:alice", "user:carl"),
        ("user:carl", "user:bob"),
        ("user:alice", "user:bob"),
        ("user:root", "user:bob"),
        ("user:bob", "user:dan"),
    ] {
        share(&world, &db, by, to, None).await.unwrap();
    }
    let by = || -> Vec<String> {
        let tags = world.shelf.tags(&db);
        let to_bob = grants(&tags).filter(|grant| grant.to == principal("user:bob"));
        to_bob.map(|grant| grant.by.to_string()).collect()
    };
    end(&world, &db, "user:carl", "user:bob").await.unwrap();
    assert_eq!(by(), ["user:alice", "user:root"]);
    world.get("user:dan", &db).await.unwrap();
    let error = end(&world, &db, "user:carl", "user:bob").await.unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    assert!(
        error.to_string().ends_with("ask who granted it, or the owner"),
        "{error}"
    );
    // Who administers it ends what others shared, too.
    end(&world, &db, "user:root", "user:bob").await.unwrap();
    assert_eq!(shared_with(&world, &db), ["user:carl"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_cannot_be_read_is_repaired_by_an_administrator() {
    let (world, db) = world().await;
    let adopt = Sharing::Adopt {
        owner: principal("user:bob"),
    };
    let error = world.share("user:root", &db, &adopt).await.unwrap_err();
    assert!(matches!(error, CredentialError::InvalidState(_)), "{error}");
    world
        .shelf
        .place(&db, &[(OWNER_TAG, "user:Alice the First"), ("team", "pay")]);
    world.share("user:alice", &db, &adopt).await.unwrap_err();
    world.share("user:root", &db, &adopt).await.unwrap();
    let tags: Tags = world.shelf.tags(&db);
    assert_eq!(owner(&tags), Some(principal("user:bob")));
    assert_eq!(tags.get("team"), Some("pay"));
    world.get("user:bob", &db).await.unwrap();
}
