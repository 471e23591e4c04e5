//! What one may not know of cannot be told from what does not exist.

use std::time::{Duration, Instant};

use nebula_credential_core::{
    CredentialError, CredentialRef, Get, Op, Permission, Plaintext, Restore, Selector, Version,
};

use crate::support::{World, delete, get, head, id, put, rules, tag};

const STEP: Duration = Duration::from_millis(20);

fn world() -> World {
    World::new(&rules(&[
        "owners allow owner *",
        "team allow user:* use; tags = { team = \"pay\" }",
    ]))
}

fn operations(id: &CredentialRef) -> Vec<(Op<Plaintext>, Option<Permission>)> {
    let exact = || Get {
        id: id.clone(),
        version: Selector::Exact(Version::new(5).unwrap()),
    };
    vec![
        (get(id), None),
        (get(id), Some(Permission::Use)),
        (Op::Get(exact()), None),
        (head(id), None),
        (Op::Head(exact()), None),
        (Op::Versions(id.clone()), None),
        (tag(id, &[("a", "b")]), None),
        (tag(id, &[]), Some(Permission::Share)),
        (delete(id), None),
        (Op::Restore(Restore { id: id.clone() }), None),
        (Op::Put(put(id, 1, None)), None),
        (Op::Put(put(id, 2, Some(&[]))), Some(Permission::Rotate)),
    ]
}

#[tokio::test(start_paused = true)]
async fn another_ones_is_answered_as_what_is_absent() {
    let id = id("db");
    let worlds = [world(), world(), world()];
    worlds[0]
        .shelf
        .place(&id, &[("nebula.access/owner", "user:bob"), ("team", "ops")]);
    worlds[1]
        .shelf
        .place(&id, &[("nebula.access/owner", "user:alice")]);
    worlds[1]
        .ask(&worlds[1].ctx("user:alice"), delete(&id))
        .await
        .unwrap();
    worlds[1].shelf.asked();
    for (index, (op, permission)) in operations(&id).into_iter().enumerate() {
        let mut answers = Vec::new();
        for world in &worlds {
            let (op, _) = operations(&id).swap_remove(index);
            let mut ctx = world.ctx("user:carl");
            ctx.permission = permission;
            let began = tokio::time::Instant::now();
            let error = world.ask(&ctx, op).await.unwrap_err();
            assert_eq!(began.elapsed(), STEP, "{index}: {error}");
            let denied = ctx.report.unwrap().decision().cloned();
            answers.push((format!("{error:?} {error}"), denied));
            // What it took was the head, and nothing else.
            assert_eq!(world.shelf.asked(), ["head"]);
            match op_stores(index, &id) {
                true => assert!(error.is_access_denied()),
                false => assert_eq!(error, CredentialError::not_found(id.to_string())),
            }
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{}: {answers:?}",
            op.name()
        );
    }
}

fn op_stores(index: usize, id: &CredentialRef) -> bool {
    matches!(operations(id)[index].0, Op::Put(_))
}

/// The statistic of Welch's t-test for a difference of the means.
fn t(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let spread = |x: &[f64]| {
        let mean = mean(x);
        x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (x.len() - 1) as f64 / x.len() as f64
    };
    (mean(a) - mean(b)) / (spread(a) + spread(b)).sqrt()
}

/// Asks for what is there and what is not, in random order, and compares the times. The slowest hundredth of each is
/// cut to the time of its fastest: it shows what else the machine did.
async fn compare(step: Duration, count: usize) -> f64 {
    let world = World::with(&rules(&["owners allow owner *"]), |builder| {
        builder.answer_step(step)
    });
    let (hidden, absent) = (id("hidden"), id("absent"));
    world.shelf.place(&hidden, &[("nebula.access/owner", "user:bob")]);
    // A store takes longer over what it finds.
    world.shelf.lag(Duration::from_micros(200));
    let mut times = [Vec::new(), Vec::new()];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let class = usize::from(random.is_multiple_of(2));
        let asked = [&hidden, &absent][class];
        let began = Instant::now();
        world.get("user:carl", asked).await.unwrap_err();
        times[class].push(began.elapsed().as_secs_f64());
        world.shelf.asked();
    }
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let longest = all[all.len() * 99 / 100];
    let [there, absent] = times.map(|class| {
        class
            .into_iter()
            .map(|time| time.min(longest))
            .collect::<Vec<_>>()
    });
    t(&there, &absent)
}

/// At full count under `cargo xtask prove access-timing`.
#[tokio::test]
async fn existence_does_not_show_in_the_time() {
    let full = std::env::var("NEBULA_PROOF_COUNT")
        .ok()
        .and_then(|count| count.parse().ok());
    let count: usize = full.unwrap_or(1000);
    let step = Duration::from_millis(2);
    let told = compare(Duration::ZERO, count.max(5000)).await;
    let hidden = compare(step, count).await;
    println!(
        "existence in time: |t| = {:.2} over {count} answers; without a step |t| = {:.0}",
        hidden.abs(),
        told.abs()
    );
    assert!(told.abs() > 4.5, "the test would not see a difference");
    assert!(hidden.abs() < 4.5, "|t| = {}", hidden.abs());
}
