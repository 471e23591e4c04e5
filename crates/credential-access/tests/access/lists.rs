//! Lists hold what one may know of, in pages as full as if there were nothing else.

use nebula_credential_core::{List, Op, Page};

use crate::support::{World, id, list, rules};

async fn page(world: &World, who: &str, list: List) -> Page {
    let answer = world.ask(&world.ctx(who), Op::List(list)).await;
    answer.unwrap().into_page().unwrap()
}

fn names(page: &Page) -> Vec<&str> {
    page.items.iter().map(|head| head.id.name().as_str()).collect()
}

/// 1,000 credentials, of which alice may know every `each`th.
fn world(each: usize) -> World {
    let world = World::new(&rules(&["team allow user:alice use; tags = { team = \"pay\" }"]));
    for number in 0..1000 {
        let team = if number % each == 0 { "pay" } else { "ops" };
        world
            .shelf
            .place(&id(&format!("c{number:04}")), &[("team", team)]);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn pages_are_full_and_cursors_lead_on() {
    for (each, size) in [(1, 7), (3, 1), (3, 50), (3, 334), (7, 100), (400, 2), (400, 1000)] {
        let world = world(each);
        let expected: Vec<String> = (0..1000)
            .step_by(each)
            .map(|number| format!("c{number:04}"))
            .collect();
        let mut found = Vec::new();
        let mut asked = List {
            limit: size,
            ..list()
        };
        loop {
            let page = page(&world, "user:alice", asked.clone()).await;
            found.extend(names(&page).into_iter().map(str::to_owned));
            // A next page is promised only where there is one, and only full pages have one.
            assert_eq!(page.next.is_some(), found.len() < expected.len(), "{each} {size}");
            if page.next.is_none() {
                break;
            }
            assert_eq!(page.items.len(), size);
            asked.after = page.next;
        }
        assert_eq!(found, expected, "{each} {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_asked_for_still_holds() {
    let world = world(2);
    let asked = List {
        prefix: Some("c001".to_owned()),
        ..list()
    };
    let found = page(&world, "user:alice", asked).await;
    assert_eq!(names(&found), ["c0010", "c0012", "c0014", "c0016", "c0018"]);
    assert_eq!(found.next, None);
}

#[tokio::test]
async fn whoever_may_know_of_everything_asks_once() {
    let world = World::new(&rules(&[
        "all allow user:alice use",
        "not-some deny user:bob *; names = [\"x/*\"]",
        "bob allow user:bob use",
    ]));
    for name in ["a", "x/b", "c"] {
        world.shelf.place(&id(name), &[]);
    }
    assert_eq!(
        names(&page(&world, "user:alice", list()).await),
        ["a", "c", "x/b"]
    );
    assert_eq!(world.shelf.asked(), ["list"]);
    assert_eq!(names(&page(&world, "user:bob", list()).await), ["a", "c"]);
    let carl = world.ask(&world.ctx("user:carl"), Op::List(list())).await;
    assert!(carl.unwrap_err().is_access_denied());
    assert_eq!(world.shelf.asked(), ["list"]);
}
