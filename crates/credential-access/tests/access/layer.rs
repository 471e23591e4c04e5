//! What is let through, and what is touched for it.

use std::sync::{Arc, Mutex};

use nebula_credential_core::{Get, Labels, MetricsEmitter, Op, Permission, Restore, Scan, Selector, Version};

use crate::support::{World, circumstances, delete, get, head, id, list, policy_of, put, rules, scoped, tag};

#[tokio::test]
async fn what_is_denied_without_the_record_touches_nothing_below() {
    let world = World::new(&rules(&["readers allow user:alice use"]));
    let db = id("db");
    world.shelf.place(&db, &[]);
    let bob = world.ctx("user:bob");
    let operations = [
        get(&db),
        head(&db),
        delete(&db),
        tag(&db, &[]),
        Op::Put(put(&db, 2, None)),
        Op::Versions(db.clone()),
        Op::List(list()),
        Op::Restore(Restore { id: db.clone() }),
        Op::Scan(Scan::default()),
    ];
    for op in operations {
        let name = op.name();
        let error = world.ask(&bob, op).await.unwrap_err();
        assert!(error.is_access_denied() || name == "scan", "{name}: {error}");
    }
    // Whether it is there or not, alice is told what is lacking.
    for id in [&db, &id("absent")] {
        let error = world.get("user:alice", id).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "access denied: user:alice may not read {id}; ask its owner, or whoever keeps the access policy"
            )
        );
    }
    assert_eq!(world.shelf.asked(), [""; 0]);
}

#[tokio::test]
async fn what_is_allowed_without_the_record_asks_once() {
    let world = World::new(&rules(&["all allow user:alice *"]));
    let db = id("db");
    world.shelf.place(&db, &[]);
    let alice = world.ctx("user:alice");
    for op in [
        get(&db),
        head(&db),
        Op::Versions(db.clone()),
        Op::List(list()),
        delete(&db),
    ] {
        let name = op.name();
        world.ask(&alice, op).await.unwrap();
        assert_eq!(world.shelf.asked(), [name]);
    }
}

#[tokio::test]
async fn a_permission_is_what_it_says_and_no_other() {
    let world = World::new(&rules(&[
        "users allow user:ann use",
        "readers allow user:bob read",
        "testers allow user:cleo test",
        "admins allow user:dan admin",
    ]));
    let db = id("db");
    world.shelf.place(&db, &[]);
    let asked = [Permission::Use, Permission::Read, Permission::Test];
    for (who, may) in [("user:ann", 0), ("user:bob", 1), ("user:cleo", 2)] {
        for (index, permission) in asked.into_iter().enumerate() {
            let (allowed, _) = world.get_for(who, permission, &db).await;
            assert_eq!(allowed, index == may, "{who} {permission:?}");
        }
    }
    for permission in asked {
        assert!(world.get_for("user:dan", permission, &db).await.0);
    }
}

#[tokio::test]
async fn the_rule_that_decided_is_reported() {
    let world = World::new(&rules(&[
        "readers allow user:alice,user:bob read",
        "not-bob deny user:bob read",
        "break-glass allow user:carl read; emergency = true",
    ]));
    let db = id("db");
    world.shelf.place(&db, &[]);
    let asked = |who| world.get_for(who, Permission::Read, &db);
    assert_eq!(asked("user:alice").await, (true, "readers".to_owned()));
    assert_eq!(asked("user:bob").await, (false, "not-bob".to_owned()));
    assert_eq!(asked("user:carl").await, (false, "default-deny".to_owned()));
    for nothing_said in ["  ", "\u{200b}", "\u{3164}\u{2060}", "--"] {
        let mut carl = world.ctx("user:carl");
        carl.purpose = Some(nothing_said.into());
        assert!(world.ask(&carl, get(&db)).await.is_err(), "{nothing_said:?}");
    }
    let mut carl = world.ctx("user:carl");
    carl.purpose = Some("incident 7".into());
    world.ask(&carl, get(&db)).await.unwrap();
    let decision = carl.report.unwrap().decision().cloned().unwrap();
    assert_eq!(
        (decision.allowed, &*decision.rule),
        (true, "emergency:break-glass")
    );
}

#[tokio::test]
async fn a_scope_is_bound_to_the_workflow_that_runs() {
    let world = World::new(&rules(&[
        "own allow workflow:* read; scopes = [\"workflow/{workflow}\"]",
    ]));
    let billing = scoped("workflow/billing", "db");
    world.shelf.place(&billing, &[]);
    let as_workflow = |name: Option<&str>| {
        let mut ctx = world.ctx("workflow:w1");
        let name = name.map(|name| name.parse().unwrap());
        ctx.circumstances = circumstances(|told| told.workflow = name);
        ctx
    };
    world
        .ask(&as_workflow(Some("billing")), get(&billing))
        .await
        .unwrap();
    world.shelf.place(&scoped("workflow/billing/x", "db"), &[]);
    for other in [Some("bill"), Some("billing/x"), None] {
        let error = world.ask(&as_workflow(other), get(&billing)).await.unwrap_err();
        assert!(error.is_access_denied(), "{other:?}");
    }
    assert!(world.get("workflow:w1", &billing).await.is_err());
}

#[tokio::test]
async fn a_revoked_principal_gets_nothing_from_the_next_request_on() {
    let world = World::new(&rules(&["readers allow user:alice read"]));
    let db = id("db");
    world.shelf.place(&db, &[]);
    let epoch = world.policies.epoch();
    world.get("user:alice", &db).await.unwrap();
    let before = epoch.current();
    world.shelf.asked();
    world.policies.replace(policy_of("version = 1"));
    assert_eq!(epoch.current(), before + 1);
    assert!(world.get("user:alice", &db).await.unwrap_err().is_access_denied());
    assert_eq!(world.shelf.asked(), [""; 0]);
}

#[tokio::test]
async fn rules_on_tags_read_the_head_and_never_the_value_first() {
    let world = World::new(&rules(&["team allow user:alice read; tags = { team = \"pay\" }"]));
    let (ours, theirs) = (id("ours"), id("theirs"));
    world.shelf.place(&ours, &[("team", "pay")]);
    world.shelf.place(&theirs, &[("team", "ops")]);
    world.get("user:alice", &ours).await.unwrap();
    assert_eq!(world.shelf.asked(), ["head", "get"]);
    assert!(world.get("user:alice", &theirs).await.unwrap_err().is_not_found());
    assert_eq!(world.shelf.asked(), ["head"]);
    // A head that was read for the decision is the answer.
    world.ask(&world.ctx("user:alice"), head(&ours)).await.unwrap();
    assert_eq!(world.shelf.asked(), ["head"]);
    // Which versions there are is not told either.
    let exact = Op::Head(Get {
        id: theirs.clone(),
        version: Selector::Exact(Version::new(7).unwrap()),
    });
    let error = world.ask(&world.ctx("user:alice"), exact).await.unwrap_err();
    assert_eq!(
        error,
        nebula_credential_core::CredentialError::not_found(theirs.to_string())
    );
}

#[tokio::test]
async fn nobody_tags_a_credential_out_of_reach_of_the_rules() {
    let world = World::new(&rules(&[
        "writers allow user:alice write,read",
        "sealed deny user:alice *; tags = { sealed = \"*\" }",
    ]));
    let db = id("db");
    let alice = world.ctx("user:alice");
    world.ask(&alice, Op::Put(put(&db, 1, None))).await.unwrap();
    let refused = world
        .ask(&alice, tag(&db, &[("sealed", "yes")]))
        .await
        .unwrap_err();
    assert!(refused.is_access_denied());
    let refused = world
        .ask(&alice, Op::Put(put(&db, 2, Some(&[("sealed", "yes")]))))
        .await;
    assert!(refused.unwrap_err().is_access_denied());
    let refused = world
        .ask(&alice, Op::Put(put(&id("new"), 1, Some(&[("sealed", "yes")]))))
        .await;
    assert!(refused.unwrap_err().is_access_denied());
    world.ask(&alice, tag(&db, &[("team", "pay")])).await.unwrap();
}

#[derive(Default)]
struct Counted(Mutex<Vec<String>>);

impl MetricsEmitter for Counted {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        self.0.lock().unwrap().push(format!("{name} {labels:?} {by}"));
    }

    fn gauge(&self, _: &'static str, _: Labels<'_>, _: f64) {}

    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

#[tokio::test]
async fn each_request_is_counted_once() {
    let metrics = Arc::new(Counted::default());
    let policy = rules(&["team allow user:alice read; tags = { team = \"pay\" }"]);
    let world = World::with(&policy, |builder| builder.metrics(Arc::clone(&metrics) as _));
    let (ours, theirs) = (id("ours"), id("theirs"));
    world.shelf.place(&ours, &[("team", "pay")]);
    world.get("user:alice", &ours).await.unwrap();
    world.get("user:alice", &theirs).await.unwrap_err();
    world.get("user:bob", &ours).await.unwrap_err();
    world.ask(&world.ctx("user:alice"), head(&ours)).await.unwrap();
    let of = |decision, permission| {
        format!(
            "nebula_credential_access_decisions_total [(\"decision\", {decision:?}), (\"permission\", {permission:?})] 1"
        )
    };
    let expected = [
        of("allowed", "read"),
        of("denied", "read"),
        of("denied", "read"),
        of("allowed", "know"),
    ];
    assert_eq!(*metrics.0.lock().unwrap(), expected);
}
