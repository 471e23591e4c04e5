//! Lists: order, pages and filters.

use std::collections::BTreeSet;
use std::time::Duration;

use nebula_credential_core::{CredentialRef, Cursor, List, Put, Scope, Tags, Update};

use super::Fixture;
use super::subject::{Subject, change, id, names, tags};

fn list() -> List {
    List::of(id("any").tenant().clone())
}

async fn store(s: &Subject, names: &[&str]) -> Vec<CredentialRef> {
    let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
    for id in &ids {
        s.fill(id, 1).await;
    }
    ids
}

/// Entries come by scope, then name, both in the order of their bytes, however they were stored.
pub async fn a_list_is_ordered_by_scope_and_name(fixture: Fixture) {
    let s = Subject::of(&fixture);
    assert!(s.list(list()).await.unwrap().items.is_empty());
    assert_eq!(s.list(list()).await.unwrap().next, None);
    // `-` sorts before `/` and `.`: a store that joins scope and name into a path orders these otherwise.
    let mut ids = store(
        &s,
        &[
            "a:z", "a-b:a", "a/b:a", "a.b:a", "a:a/b", "a:a-b", "a:a.b", "a:a", "a_b:a", "a0:a", "b:0",
            "a:a1", "a:aa",
        ],
    )
    .await;
    ids.sort();
    let found: Vec<_> = s.list_all(list()).await.into_iter().map(|head| head.id).collect();
    assert_eq!(found, ids);
}

/// Pages of any size give every entry once, are as full as can be, and only the last has no `next`.
pub async fn pages_are_full_and_exact(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let mut ids = store(&s, &["a:1", "a:2", "a:3", "b:1", "b:2", "c:1", "c:2"]).await;
    store(&s, &["other:b:15"]).await;
    ids.sort();
    for limit in [1, 2, 3, 6, 7, 8, usize::MAX] {
        let mut found = Vec::new();
        let mut ask = List { limit, ..list() };
        loop {
            let page = s.list(ask.clone()).await.unwrap();
            let left = ids.len() - found.len();
            assert_eq!(page.items.len(), limit.min(left), "pages of {limit}");
            assert_eq!(
                page.next.is_some(),
                left > limit,
                "pages of {limit}: is there a next one?"
            );
            found.extend(page.items.into_iter().map(|head| head.id));
            let Some(next) = page.next else { break };
            ask.after = Some(next);
        }
        assert_eq!(found, ids, "pages of {limit}");
    }
    // Against its contract, a limit of 0 counts as 1.
    assert_eq!(s.list(List { limit: 0, ..list() }).await.unwrap().items.len(), 1);
}

/// A cursor is a place, not an entry: the list goes on behind it though nothing stands there any more, or ever did.
pub async fn a_cursor_outlives_its_entry(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let ids = store(&s, &["a:1", "a:3", "b:2"]).await;
    let page = s.list(List { limit: 2, ..list() }).await.unwrap();
    s.purge(&ids[1]).await.unwrap();
    s.purge(&ids[0]).await.unwrap();
    let rest = s
        .list(List {
            after: page.next,
            ..list()
        })
        .await
        .unwrap();
    assert_eq!(names(&rest.items), ["2"]);
    let place = |place: &str| {
        let place = id(place);
        Some(Cursor {
            scope: place.scope().clone(),
            name: place.name().clone(),
        })
    };
    for (after, expected) in [
        ("0:zzz", vec!["2"]),
        ("b:1", vec!["2"]),
        ("b:2", vec![]),
        ("c:0", vec![]),
    ] {
        let page = s
            .list(List {
                after: place(after),
                ..list()
            })
            .await
            .unwrap();
        assert_eq!(names(&page.items), expected, "after {after}");
        assert_eq!(page.next, None);
    }
}

/// The filter by scope takes that scope alone: no scope below it, none that begins alike.
pub async fn the_scope_filter_is_exact(fixture: Fixture) {
    let s = Subject::of(&fixture);
    store(&s, &["a:1", "a/b:2", "ab:3", "a-b:4", "b:5", "a_b:6", "axb:7"]).await;
    for (scope, expected) in [
        ("a", vec!["1"]),
        ("a/b", vec!["2"]),
        ("a_b", vec!["6"]),
        ("a/b/c", vec![]),
        ("b", vec!["5"]),
    ] {
        let ask = List {
            scope: Some(Scope::new(scope).unwrap()),
            limit: 1,
            ..list()
        };
        assert_eq!(names(&s.list_all(ask).await), expected, "scope {scope}");
    }
}

/// The prefix is compared byte by byte: `_`, `%`, `*`, `?` and `[` are no wildcards, and case is not folded.
pub async fn a_prefix_is_no_pattern(fixture: Fixture) {
    let s = Subject::of(&fixture);
    store(&s, &["a_b", "a_b2", "axb", "a-b", "a.b", "ab", "b/a_b", "100"]).await;
    let all = ["100", "a-b", "a.b", "a_b", "a_b2", "ab", "axb", "b/a_b"];
    let nul = "a\0";
    let cases: [(&str, &[&str]); 22] = [
        ("", &all),
        ("a", &["a-b", "a.b", "a_b", "a_b2", "ab", "axb"]),
        ("a_", &["a_b", "a_b2"]),
        ("a_b2", &["a_b2"]),
        ("b/", &["b/a_b"]),
        ("a_b2c", &[]),
        ("_", &[]),
        ("%", &[]),
        ("a%", &[]),
        ("*", &[]),
        ("a*", &[]),
        ("a?b", &[]),
        ("[a]", &[]),
        ("a.*", &[]),
        ("^a", &[]),
        ("A", &[]),
        ("'", &[]),
        ("\\", &[]),
        ("a\u{10ffff}", &[]),
        ("\u{e4}", &[]),
        (nul, &[]),
        (" a", &[]),
    ];
    for (prefix, expected) in cases {
        let ask = List {
            prefix: Some(prefix.to_owned()),
            limit: 2,
            ..list()
        };
        assert_eq!(names(&s.list_all(ask).await), expected, "prefix {prefix:?}");
    }
    let long = List {
        prefix: Some("a".repeat(100_000)),
        ..list()
    };
    assert!(s.list_all(long).await.is_empty());
}

/// Every wanted tag must be there with exactly its value.
pub async fn all_wanted_tags_must_match(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let stored = [
        ("both", tags([("team", "a"), ("env", "prod")])),
        ("team", tags([("team", "a")])),
        ("other", tags([("team", "b"), ("env", "prod")])),
        ("case", tags([("team", "A")])),
        ("longer", tags([("team", "a "), ("env", "prod%")])),
        ("swapped", tags([("a", "team"), ("prod", "env")])),
        ("empty", tags([("team", "")])),
        ("none", Tags::new()),
    ];
    for (name, tags) in &stored {
        s.put(Put {
            tags: Some(tags.clone()),
            ..s.version(&id(name), 1)
        })
        .await
        .unwrap();
    }
    let cases = [
        (
            Tags::new(),
            vec![
                "both", "case", "empty", "longer", "none", "other", "swapped", "team",
            ],
        ),
        (tags([("team", "a")]), vec!["both", "team"]),
        (tags([("env", "prod"), ("team", "a")]), vec!["both"]),
        (tags([("env", "prod")]), vec!["both", "other"]),
        (tags([("team", "")]), vec!["empty"]),
        (tags([("team", "%")]), vec![]),
        (tags([("team", "a"), ("missing", "")]), vec![]),
    ];
    for (wanted, expected) in cases {
        for limit in [1, 100] {
            let ask = List {
                tags: wanted.clone(),
                limit,
                ..list()
            };
            assert_eq!(names(&s.list_all(ask).await), expected, "{wanted:?}");
        }
    }
    if s.capability.update {
        let update = Update {
            tags: Some(tags([("team", "a")])),
            ..change(&id("none"))
        };
        s.update(update).await.unwrap();
        let ask = List {
            tags: tags([("team", "a")]),
            ..list()
        };
        assert_eq!(names(&s.list_all(ask).await), ["both", "none", "team"]);
    }
}

/// The expiry filter takes what expires before that time, not at it, and nothing that does not expire; the current
/// version decides.
pub async fn the_expiry_filter_is_strict(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let now = s.ctx().now();
    let micro = Duration::from_micros(1);
    let century = Duration::from_secs(100 * 365 * 86_400);
    let ends = [
        ("before", Some(now - micro)),
        ("at", Some(now)),
        ("after", Some(now + micro)),
        ("never", None),
        ("long-ago", Some(now - century)),
        ("long-hence", Some(now + century)),
    ];
    for (name, expires_at) in ends {
        let mut put = s.version(&id(name), 1);
        put.version.expires_at = expires_at;
        s.put(put).await.unwrap();
    }
    let ask = |end| List {
        expires_before: Some(end),
        limit: 2,
        ..list()
    };
    assert_eq!(names(&s.list_all(ask(now)).await), ["before", "long-ago"]);
    assert_eq!(
        names(&s.list_all(ask(now + micro)).await),
        ["at", "before", "long-ago"]
    );
    assert_eq!(names(&s.list_all(ask(now - century)).await), Vec::<&str>::new());
    let latest = chrono::DateTime::<chrono::Utc>::MAX_UTC;
    assert_eq!(
        names(&s.list_all(ask(latest)).await),
        ["after", "at", "before", "long-ago", "long-hence"]
    );
    // Renewed without an end: the old version's end no longer counts.
    s.put(s.version(&id("before"), 2)).await.unwrap();
    assert_eq!(names(&s.list_all(ask(now)).await), ["long-ago"]);
}

/// Deleted entries are listed on request alone, with the time of their deletion; purged ones never.
pub async fn deleted_entries_are_listed_on_request(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let ids = store(&s, &["live", "deleted", "purged"]).await;
    s.purge(&ids[2]).await.unwrap();
    let all = List {
        include_deleted: true,
        limit: 1,
        ..list()
    };
    if s.capability.soft_delete {
        s.soft_delete(&ids[1]).await.unwrap();
        assert_eq!(names(&s.list_all(list()).await), ["live"]);
        let found = s.list_all(all.clone()).await;
        assert_eq!(names(&found), ["deleted", "live"]);
        assert_eq!(found[0].deleted_at, Some(s.ctx().now()));
        s.restore(&ids[1]).await.unwrap();
    }
    assert_eq!(names(&s.list_all(list()).await), ["deleted", "live"]);
    assert_eq!(names(&s.list_all(all).await), ["deleted", "live"]);
}

/// Filters narrow each other, and the page is filled with what passes all of them.
pub async fn filters_combine(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let soon = s.ctx().now() + Duration::from_secs(60);
    for at in 0..24u32 {
        let scope = if at % 2 == 0 { "even" } else { "odd" };
        let name = id(&format!(
            "{scope}:{}-{at:02}",
            if at % 3 == 0 { "three" } else { "rest" }
        ));
        let mut put = s.version(&name, 1);
        put.tags = Some(tags([("half", if at < 12 { "first" } else { "second" })]));
        put.version.expires_at = (at % 4 == 0).then_some(soon);
        s.put(put).await.unwrap();
    }
    let ask = List {
        scope: Some(Scope::new("even").unwrap()),
        prefix: Some("three-".to_owned()),
        tags: tags([("half", "first")]),
        expires_before: Some(soon + Duration::from_secs(1)),
        limit: 2,
        ..list()
    };
    assert_eq!(names(&s.list(ask.clone()).await.unwrap().items), ["three-00"]);
    let wider = List {
        expires_before: None,
        ..ask.clone()
    };
    let page = s.list(wider).await.unwrap();
    assert_eq!(
        (names(&page.items), page.next),
        (vec!["three-00", "three-06"], None)
    );
    let widest = List {
        tags: Tags::new(),
        expires_before: None,
        ..ask
    };
    assert_eq!(
        names(&s.list_all(widest).await),
        ["three-00", "three-06", "three-12", "three-18"]
    );
}

/// While others store and purge, what stands still is listed exactly once.
pub async fn a_list_among_writers_misses_nothing(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let still: Vec<String> = (0..12).map(|at| format!("still-{at:02}")).collect();
    for name in &still {
        s.fill(&id(name), 1).await;
    }
    let writer = {
        let s = s.clone();
        tokio::spawn(async move {
            for round in 0..4u32 {
                for at in 0..6u32 {
                    // Between, before and behind the others; the numbers of a purged name go on.
                    let name = id(&format!(
                        "{}-{:02}5",
                        if at % 3 == 0 { "a" } else { "still" },
                        at * 2
                    ));
                    s.put(s.version(&name, round + 1)).await.unwrap();
                    s.put(s.version(&id(&format!("still-{at:02}")), round + 2))
                        .await
                        .unwrap();
                    s.purge(&name).await.unwrap();
                }
            }
        })
    };
    let mut rounds = 0;
    while !writer.is_finished() || rounds < 2 {
        let found = s.list_all(List { limit: 3, ..list() }).await;
        let distinct: BTreeSet<_> = names(&found).into_iter().collect();
        assert_eq!(distinct.len(), found.len(), "an entry is listed twice");
        for name in &still {
            assert!(distinct.contains(name.as_str()), "{name} is missing from a list");
        }
        rounds += 1;
    }
    writer.await.unwrap();
    assert_eq!(names(&s.list_all(list()).await), still);
}
