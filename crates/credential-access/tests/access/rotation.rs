//! What may be done who may rotate and nothing else.

use nebula_credential_access::owner;
use nebula_credential_core::{Op, OpContext, Permission};

use crate::support::{World, delete, id, principal, put, rules, tag};

fn world() -> World {
    World::new(&rules(&[
        "create allow user:alice write",
        "owners allow owner *",
        "ops allow user:ops rotate",
        "open allow user:ops read; tags = { shown = \"yes\" }",
        "both allow user:lead rotate,write",
    ]))
}

fn rotating(world: &World, who: &str) -> OpContext {
    let mut ctx = world.ctx(who);
    ctx.permission = Some(Permission::Rotate);
    ctx
}

#[tokio::test(start_paused = true)]
async fn a_rotation_sets_no_tags() {
    let world = world();
    let db = id("db");
    world
        .ask(
            &world.ctx("user:alice"),
            Op::Put(put(&db, 1, Some(&[("team", "pay")]))),
        )
        .await
        .unwrap();
    let ops = rotating(&world, "user:ops");
    for op in [
        tag(&db, &[("shown", "yes")]),
        tag(&db, &[]),
        Op::Put(put(&db, 2, Some(&[("team", "pay"), ("shown", "yes")]))),
    ] {
        let error = world.ask(&ops, op).await.unwrap_err();
        assert!(error.to_string().contains("user:ops may not write"), "{error}");
    }
    assert!(world.get("user:ops", &db).await.is_err());
    // What is there already may be said again, and a value replaced.
    world.ask(&ops, tag(&db, &[("team", "pay")])).await.unwrap();
    world
        .ask(&ops, Op::Put(put(&db, 2, Some(&[("team", "pay")]))))
        .await
        .unwrap();
    world.ask(&ops, Op::Put(put(&db, 3, None))).await.unwrap();
    // Who may do both, may.
    let lead = rotating(&world, "user:lead");
    world
        .ask(&lead, Op::Put(put(&db, 4, Some(&[("shown", "yes")]))))
        .await
        .unwrap();
    world.ask(&lead, tag(&db, &[("shown", "no")])).await.unwrap();
    assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:alice")));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_needs_something_to_rotate() {
    let world = world();
    let ops = rotating(&world, "user:ops");
    let (fresh, db) = (id("fresh"), id("db"));
    let error = world.ask(&ops, Op::Put(put(&fresh, 1, None))).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(world.ask(&ops, Op::Put(put(&fresh, 2, None))).await.is_err());

    // What is deleted stays whose it was.
    let alice = world.ctx("user:alice");
    world.ask(&alice, Op::Put(put(&db, 1, None))).await.unwrap();
    world.ask(&alice, delete(&db)).await.unwrap();
    let error = world.ask(&ops, Op::Put(put(&db, 2, None))).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(owner(&world.shelf.tags(&db)), Some(principal("user:alice")));
    // Without the claim it is no rotation, and that is not allowed.
    let plain = world.ctx("user:ops");
    let error = world.ask(&plain, Op::Put(put(&db, 2, None))).await.unwrap_err();
    assert!(error.is_access_denied(), "{error}");
}
