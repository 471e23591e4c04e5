//! What others do between the look at a credential and what follows from it.

use std::time::Duration;

use nebula_credential_access::{AccessLayer, OWNER_TAG, Permissions, Sharing, grants, owner};
use nebula_credential_core::{
    Capability, CredentialError, Delete, DeleteMode, Op, Permission, Plaintext, Precondition, Request,
    Restore, Tags, Update, Version,
};
use tower::{Layer as _, ServiceExt as _};

use crate::support::{World, delete, get, id, principal, put, rules, tag};

#[tokio::test(start_paused = true)]
async fn what_is_restored_meanwhile_is_not_taken_over() {
    let world = World::new(&rules(&[
        "create allow user:* write",
        "owners allow owner *",
        "guard deny user:* write; tags = { sealed = \"yes\" }",
    ]));
    let db = id("db");
    world
        .shelf
        .place(&db, &[(OWNER_TAG, "user:alice"), ("sealed", "yes")]);
    world.shelf.apply(&world.ctx("user:alice"), delete(&db)).unwrap();
    let (alice, restored) = (world.ctx("user:alice"), db.clone());
    let error = world
        .ask_while(&world.ctx("user:bob"), Op::Put(put(&db, 2, None)), move |shelf| {
            shelf
                .apply(&alice, Op::Restore(Restore { id: restored }))
                .unwrap();
        })
        .await
        .unwrap_err();
    // Whoever stores looks again after this, and finds what is there.
    assert!(
        matches!(error, CredentialError::VersionConflict { found: None, .. }),
        "{error}"
    );
    assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:alice")));
    let again = world
        .ask(&world.ctx("user:bob"), Op::Put(put(&db, 2, None)))
        .await;
    assert!(again.unwrap_err().is_access_denied());
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_meanwhile_is_stored_by_whoever_stores_it() {
    let world = World::new(&rules(&["create allow user:* write", "owners allow owner *"]));
    let db = id("db");
    world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
    let (alice, deleted) = (world.ctx("user:alice"), db.clone());
    let error = world
        .ask_while(&world.ctx("user:bob"), Op::Put(put(&db, 2, None)), move |shelf| {
            shelf.apply(&alice, delete(&deleted)).unwrap();
        })
        .await
        .unwrap_err();
    assert!(
        matches!(error, CredentialError::VersionConflict { found: None, .. }),
        "{error}"
    );
    world
        .ask(&world.ctx("user:bob"), Op::Put(put(&db, 2, None)))
        .await
        .unwrap();
    assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:bob")));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_taken_back_meanwhile_is_not_revived() {
    let world = World::new(&rules(&[
        "create allow user:* write",
        "owners allow owner *",
        "shared allow granted *",
    ]));
    let db = id("db");
    let alice = world.ctx("user:alice");
    world.ask(&alice, Op::Put(put(&db, 1, None))).await.unwrap();
    let change = Sharing::Grant {
        to: principal("service:bob"),
        permissions: Permissions::only(Permission::Read),
        until: None,
    };
    world.share("user:alice", &db, &change).await.unwrap();
    let revoked = Tags::from_pairs([(OWNER_TAG, "user:alice")]).unwrap();
    let update = Update {
        id: db.clone(),
        tags: Some(revoked),
        phase: None,
        precondition: Precondition::None,
    };
    world
        .ask_while(
            &world.ctx("user:carl"),
            Op::Put(put(&db, 2, None)),
            move |shelf| {
                shelf.apply(&alice, Op::Update(update)).unwrap();
            },
        )
        .await
        .unwrap();
    assert_eq!(grants(&world.shelf.tags(&db)).count(), 0);
    assert!(world.get("service:bob", &db).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn tags_are_not_set_on_what_took_its_place_meanwhile() {
    let world = World::new(&rules(&["create allow user:* write", "owners allow owner *"]));
    let db = id("db");
    world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
    let (bob, replaced) = (world.ctx("service:bob"), db.clone());
    world
        .ask_while(
            &world.ctx("user:carl"),
            tag(&db, &[("team", "pay")]),
            move |shelf| {
                shelf.apply(&bob, delete(&replaced)).unwrap();
                let anew = put(&replaced, 2, Some(&[(OWNER_TAG, "user:bob")]));
                shelf.apply(&bob, Op::Put(anew)).unwrap();
            },
        )
        .await
        .unwrap();
    let tags = world.shelf.tags(&db);
    assert_eq!(
        (owner(&tags), tags.get("team")),
        (Some(principal("user:bob")), Some("pay"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_took_its_place_meanwhile_is_not_deleted() {
    let world = World::new(&rules(&["owners allow owner *"]));
    let db = id("db");
    world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
    let (alice, bob, replaced) = (world.ctx("user:alice"), world.ctx("user:bob"), db.clone());
    let error = world
        .ask_while(&alice, delete(&db), move |shelf| {
            shelf.apply(&bob, delete(&replaced)).unwrap();
            let anew = put(&replaced, 2, Some(&[(OWNER_TAG, "user:bob")]));
            shelf.apply(&bob, Op::Put(anew)).unwrap();
        })
        .await
        .unwrap_err();
    assert_eq!(error, CredentialError::not_found(db.to_string()));
    assert!(!alice.report.unwrap().decision().unwrap().allowed);
    world.get("user:bob", &db).await.unwrap();

    // What is stored meanwhile and has the same owner still is deleted.
    let (alice, bob) = (world.ctx("user:alice"), world.ctx("user:bob"));
    let stored = db.clone();
    world
        .ask_while(&bob, delete(&db), move |shelf| {
            shelf.apply(&alice, Op::Put(put(&stored, 3, None))).unwrap();
        })
        .await
        .unwrap();
    assert!(bob.report.unwrap().decision().unwrap().allowed);
    assert!(world.get("user:bob", &db).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn what_takes_its_place_is_not_changed_by_whoever_asks_for_its_version_before() {
    let world = World::new(&rules(&["owners allow owner *"]));
    let next = Precondition::IfVersion(Version::new(2).unwrap());
    for what in ["delete", "update", "put"] {
        let db = id(what);
        let op = match what {
            "delete" => Op::Delete(Delete {
                id: db.clone(),
                mode: DeleteMode::Purge,
                precondition: next,
            }),
            "update" => Op::Update(Update {
                id: db.clone(),
                tags: Some(Tags::new()),
                phase: None,
                precondition: next,
            }),
            _ => {
                let mut op = put(&db, 3, Some(&[]));
                op.precondition = next;
                Op::Put(op)
            }
        };
        world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
        let (bob, replaced) = (world.ctx("user:bob"), db.clone());
        let error = world
            .ask_while(&world.ctx("user:alice"), op, move |shelf| {
                shelf.apply(&bob, delete(&replaced)).unwrap();
                let anew = put(&replaced, 2, Some(&[(OWNER_TAG, "user:bob")]));
                shelf.apply(&bob, Op::Put(anew)).unwrap();
            })
            .await
            .unwrap_err();
        assert!(
            matches!(error, CredentialError::VersionConflict { .. }),
            "{error}"
        );
        assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:bob")));
        world.get("user:bob", &db).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_restored_or_deleted_meanwhile_is_decided_on_again() {
    let world = World::new(&rules(&["owners allow owner *"]));
    let db = id("db");
    let purge = || {
        let (id, mode) = (db.clone(), DeleteMode::Purge);
        let precondition = Precondition::None;
        Op::Delete(Delete {
            id,
            mode,
            precondition,
        })
    };
    world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
    let (alice, bob) = (world.ctx("user:alice"), world.ctx("user:bob"));
    world.shelf.apply(&alice, delete(&db)).unwrap();
    let replaced = db.clone();
    let error = world
        .ask_while(&alice, purge(), move |shelf| {
            let anew = put(&replaced, 2, Some(&[(OWNER_TAG, "user:bob")]));
            shelf.apply(&bob, Op::Put(anew)).unwrap();
        })
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    world.get("user:bob", &db).await.unwrap();
    // What is deleted between is purged all the same.
    let (bob, deleted) = (world.ctx("user:bob"), db.clone());
    world
        .ask_while(&bob.clone(), purge(), move |shelf| {
            shelf.apply(&bob, delete(&deleted)).unwrap();
        })
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_is_told_also_where_the_caller_gives_up() {
    let world = World::new(&rules(&["owners allow owner *"]));
    let db = id("db");
    world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
    for op in [delete(&db), tag(&db, &[("team", "a")])] {
        let shelf = world.shelf.clone();
        let hung = tower::service_fn(move |request: Request<Plaintext>| {
            let shelf = shelf.clone();
            async move {
                match request.op {
                    Op::Head(_) => shelf.oneshot(request).await,
                    _ => std::future::pending().await,
                }
            }
        });
        let access = AccessLayer::new(world.policies.clone()).layer(hung);
        let alice = world.ctx("user:alice");
        let request = Request {
            ctx: alice.clone(),
            op,
        };
        let asked = tokio::time::timeout(Duration::from_secs(1), access.oneshot(request));
        assert!(asked.await.is_err());
        assert!(alice.report.unwrap().decision().unwrap().allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_recorded_as_one_whatever_was_decided_before() {
    let world = World::new(&rules(&["owners allow owner *", "shared allow granted *"]));
    let db = id("db");
    world.shelf.place(&db, &[(OWNER_TAG, "user:alice")]);
    let (alice, bob, replaced) = (world.ctx("user:alice"), world.ctx("user:bob"), db.clone());
    let error = world
        .ask_while(&alice, tag(&db, &[("team", "pay")]), move |shelf| {
            shelf.apply(&bob, delete(&replaced)).unwrap();
            let anew = put(&replaced, 2, Some(&[(OWNER_TAG, "user:bob")]));
            shelf.apply(&bob, Op::Put(anew)).unwrap();
        })
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(!alice.report.unwrap().decision().unwrap().allowed);

    // So is what the policy allows and the law of sharing does not.
    let mut bob = world.ctx("user:bob");
    bob.permission = Some(Permission::Share);
    let error = world
        .ask(&bob, tag(&db, &[(OWNER_TAG, "user:carl")]))
        .await
        .unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    assert!(!bob.report.unwrap().decision().unwrap().allowed);
}

#[tokio::test(start_paused = true)]
async fn what_took_its_place_meanwhile_is_not_released() {
    let world = World::new(&rules(&["owners allow owner *"]));
    let (db, absent) = (id("db"), id("absent"));
    world.shelf.place(&db, &[(OWNER_TAG, "user:bob")]);
    let (bob, replaced) = (world.ctx("user:bob"), db.clone());
    let began = tokio::time::Instant::now();
    let error = world
        .ask_while(&bob, get(&db), move |shelf| {
            shelf.place(&replaced, &[(OWNER_TAG, "user:alice")]);
        })
        .await
        .unwrap_err();
    // As if there were nothing, and recorded as what it was.
    assert_eq!(error, CredentialError::not_found(db.to_string()));
    assert_eq!(began.elapsed(), Duration::from_millis(20));
    assert!(!bob.report.unwrap().decision().unwrap().allowed);
    assert!(world.get("user:bob", &absent).await.unwrap_err().is_not_found());

    // What changed and has the same owner still is released.
    world.shelf.place(&db, &[(OWNER_TAG, "user:bob")]);
    let (bob, retagged) = (world.ctx("user:bob"), db.clone());
    world
        .ask_while(&bob, get(&db), move |shelf| {
            shelf.place(&retagged, &[(OWNER_TAG, "user:bob"), ("team", "pay")]);
        })
        .await
        .unwrap();
    assert!(bob.report.unwrap().decision().unwrap().allowed);
}

#[tokio::test(start_paused = true)]
async fn those_who_are_refused_hold_nobody_up() {
    let world = World::new(&rules(&["owners allow owner *", "create allow user:alice write"]));
    let db = id("db");
    let alice = world.ctx("user:alice");
    world.ask(&alice, Op::Put(put(&db, 1, None))).await.unwrap();
    let began = tokio::time::Instant::now();
    for number in 0..500 {
        let (world, db) = (world.clone(), db.clone());
        tokio::spawn(async move {
            let mallory = world.ctx("user:mallory");
            let op = match number % 2 {
                0 => Op::Put(put(&db, 2, None)),
                _ => tag(&db, &[("team", "pay")]),
            };
            world.ask(&mallory, op).await.unwrap_err();
        });
    }
    tokio::task::yield_now().await;
    world.ask(&alice, Op::Put(put(&db, 2, None))).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_turn_past_their_deadline() {
    let world = World::new(&rules(&["create allow user:* write"]));
    let db = id("db");
    world.shelf.place(&db, &[]);
    // One whose store never answers has its turn.
    let (told, heard) = tokio::sync::oneshot::channel::<()>();
    let hung = {
        let (world, db) = (world.clone(), db.clone());
        tokio::spawn(async move { world.ask_hung(&world.ctx("user:bob"), tag(&db, &[]), told).await })
    };
    heard.await.unwrap();
    let mut alice = world.ctx("user:alice");
    alice.deadline = Some(alice.now() + Duration::from_secs(3));
    let began = tokio::time::Instant::now();
    let error = world.ask(&alice, tag(&db, &[])).await.unwrap_err();
    assert!(matches!(error, CredentialError::DeadlineExceeded(_)), "{error}");
    // Tokio's timers count whole milliseconds.
    assert!(began.elapsed() <= Duration::from_millis(3001));
    hung.abort();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_compare_is_asked_for_nothing_else() {
    let world = World::new(&rules(&["create allow user:* write", "owners allow owner *"]));
    world.shelf.blunt();
    let blunt = AccessLayer::new(world.policies.clone()).over(Capability::default());
    let bob = world.ctx("user:bob");
    let id = id("db");
    world.shelf.place(&id, &[(OWNER_TAG, "user:alice")]);
    let error = world.ask(&bob, Op::Put(put(&id, 2, None))).await.unwrap_err();
    assert!(matches!(error, CredentialError::Unsupported(_)), "{error}");
    let ask = |op| {
        let access = blunt.layer(world.shelf.clone());
        access.oneshot(Request { ctx: bob.clone(), op })
    };
    ask(Op::Put(put(&id, 2, None))).await.unwrap();
    ask(tag(&id, &[("team", "pay")])).await.unwrap();
    assert_eq!(owner(&world.shelf.tags(&id)), Some(principal("user:alice")));
    world.shelf.apply(&bob, delete(&id)).unwrap();
    ask(Op::Put(put(&id, 3, None))).await.unwrap();
    assert_eq!(owner(&world.shelf.tags(&id)), Some(principal("user:bob")));
}
