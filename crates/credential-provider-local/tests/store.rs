//! What the store does beyond what every store does.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common;

use common::{delete, envelope, get, get_version, head, id, put, put_of, scratch, time, version, wait};
use nebula_credential_core::{
    CredentialError, DeleteMode, ErrorKind, IdempotencyToken, List, OpContext, Plaintext, Precondition,
    Restore, Rewrite, Scan, Scope, Sealed, SecretStore, Selector, Tags, TenantId, Update, limits,
};
use nebula_credential_provider_local::LocalStorage;

#[test]
fn nothing_is_made_before_the_first_use() {
    let (dir, store) = scratch();
    assert_eq!(store.path(), dir.path().join("secrets"));
    assert_eq!(store.home().as_deref(), Some(store.path()));
    assert!(!store.path().exists());
    assert!(get(&store, "a").unwrap_err().is_not_found());
    assert!(store.path().join("store.db").exists());
}

#[test]
fn what_was_stored_is_there_after_reopening() {
    let (_dir, store) = scratch();
    for number in 1..=3 {
        put(&store, "a", number, &format!("value {number}")).unwrap();
    }
    let before = head(&store, "a").unwrap();
    let path = store.path().to_owned();
    drop(store);
    let store = LocalStorage::existing(path);
    assert_eq!(get(&store, "a").unwrap(), "value 3");
    assert_eq!(
        get_version(&store, "a", Selector::Exact(version(1))).unwrap(),
        "value 1"
    );
    assert_eq!(head(&store, "a").unwrap(), before);
}

#[test]
fn closing_empties_a_long_log_and_a_closed_store_is_opened_again() {
    let (_dir, store) = scratch();
    let log = |store: &LocalStorage| store.path().join("store.db-wal").metadata().unwrap().len();
    // Nothing was opened.
    wait(store.close());
    assert!(!store.path().exists());

    put(&store, "b", 1, "short").unwrap();
    wait(store.close());
    assert!(log(&store) > 0);

    let peer = LocalStorage::new(store.path());
    let long = "x".repeat(300_000);
    put(&store, "a", 1, &long).unwrap();
    put(&peer, "b", 2, "one").unwrap();
    wait(store.close());
    assert_eq!(log(&store), 0);
    put(&peer, "a", 2, &long).unwrap();
    assert_eq!(get(&store, "a").unwrap(), long);

    // A log that somebody reads stays.
    let file = store.path().join("store.db");
    let reader = rusqlite::Connection::open(file).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM head").unwrap();
    wait(peer.close());
    assert!(log(&store) > 0);
    reader.execute_batch("COMMIT").unwrap();
    put(&peer, "a", 3, &long).unwrap();
    wait(peer.close());
    assert_eq!(log(&peer), 0);
    assert_eq!(get(&peer, "a").unwrap(), long);
}

#[test]
fn clones_and_other_handles_see_the_same_records() {
    let (_dir, store) = scratch();
    let (clone, other) = (store.clone(), LocalStorage::new(store.path()));
    put(&store, "a", 1, "one").unwrap();
    assert_eq!(get(&clone, "a").unwrap(), "one");
    assert_eq!(get(&other, "a").unwrap(), "one");
    put(&other, "a", 2, "two").unwrap();
    assert_eq!(get(&store, "a").unwrap(), "two");
    drop(store);
    put(&clone, "a", 3, "three").unwrap();
    assert_eq!(get(&other, "a").unwrap(), "three");
}

#[test]
fn a_purged_number_is_never_used_again_and_a_purge_leaves_nothing_of_the_payload() {
    let (_dir, store) = scratch();
    put(&store, "a", 1, "needle-in-the-payload").unwrap();
    put(&store, "a", 2, "needle-in-the-payload, again").unwrap();
    let files = || {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(store.path()).unwrap() {
            all.extend(std::fs::read(entry.unwrap().path()).unwrap());
        }
        all.windows(21)
            .filter(|window| window == b"needle-in-the-payload")
            .count()
    };
    assert!(files() >= 2);
    delete(&store, "a", DeleteMode::Purge).unwrap();
    assert_eq!(files(), 0);
    assert!(head(&store, "a").unwrap_err().is_not_found());
    assert!(delete(&store, "a", DeleteMode::Purge).unwrap_err().is_not_found());
    assert!(put(&store, "a", 1, "one").unwrap_err().is_conflict());
    put(&store, "a", 3, "three").unwrap();
    assert_eq!(get(&store, "a").unwrap(), "three");
    assert!(matches!(
        get_version(&store, "a", Selector::Exact(version(2))),
        Err(CredentialError::VersionNotFound { .. })
    ));
}

#[test]
fn a_repeated_token_answers_as_then_and_old_tokens_are_forgotten() {
    let (_dir, store) = scratch();
    let ctx = OpContext::default();
    let with_token = |number: u32| {
        let mut op = put_of("a", number, &format!("value {number}"));
        op.token = Some(IdempotencyToken([u8::try_from(number).unwrap(); 16]));
        op.tags = Some(Tags::from_pairs([("n", number.to_string().as_str())]).unwrap());
        op
    };
    let mut answers = Vec::new();
    for number in 1..=20 {
        answers.push(wait(store.put(&ctx, with_token(number))).unwrap());
    }
    let generation = wait(store.generation()).unwrap();
    for number in 5..=20 {
        let again = wait(store.put(&ctx, with_token(number))).unwrap();
        assert_eq!(Some(&again), answers.get(usize::try_from(number - 1).unwrap()));
    }
    assert_eq!(wait(store.generation()).unwrap(), generation);
    assert!(wait(store.put(&ctx, with_token(4))).unwrap_err().is_conflict());
    assert_eq!(head(&store, "a").unwrap().latest, version(20));
}

#[test]
fn every_change_counts_and_a_refused_one_does_not() {
    let (_dir, store) = scratch();
    let count = || wait(store.generation()).unwrap();
    assert_eq!(count(), 0);
    put(&store, "a", 1, "one").unwrap();
    put(&store, "a", 1, "one").unwrap_err();
    assert_eq!(count(), 1);
    delete(&store, "a", DeleteMode::Soft).unwrap();
    delete(&store, "a", DeleteMode::Soft).unwrap_err();
    assert_eq!(count(), 2);
    wait(store.restore(&OpContext::default(), Restore { id: id("a") })).unwrap();
    assert_eq!(count(), 3);
}

#[test]
fn a_value_that_was_never_sealed_is_refused() {
    let (_dir, store) = scratch();
    let mut op = put_of("a", 1, "");
    op.payload = Sealed::provider_managed(Plaintext::new(b"plain".to_vec()));
    let error = wait(store.put(&OpContext::default(), op)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(get(&store, "a").unwrap_err().is_not_found());
}

#[test]
fn a_rewrite_needs_the_bytes_that_are_there_and_reaches_deleted_records() {
    let (_dir, store) = scratch();
    let ctx = OpContext::default();
    put(&store, "a", 1, "old").unwrap();
    delete(&store, "a", DeleteMode::Soft).unwrap();
    let rewrite = |number, expected: &str, new: &str| Rewrite {
        id: id("a"),
        version: version(number),
        expected: envelope(expected),
        payload: envelope(new),
    };
    wait(store.rewrite(&ctx, rewrite(1, "other", "new")))
        .unwrap_err()
        .is_conflict();
    wait(store.rewrite(&ctx, rewrite(1, "old", "new"))).unwrap();
    assert!(
        wait(store.rewrite(&ctx, rewrite(1, "old", "new")))
            .unwrap_err()
            .is_conflict()
    );
    assert!(matches!(
        wait(store.rewrite(&ctx, rewrite(2, "old", "new"))),
        Err(CredentialError::VersionNotFound { .. })
    ));
    wait(store.restore(&ctx, Restore { id: id("a") })).unwrap();
    assert_eq!(get(&store, "a").unwrap(), "new");
}

#[test]
fn the_largest_payload_is_stored_and_read() {
    let (_dir, store) = scratch();
    let largest = "x".repeat(limits::SEALED_BYTES_MAX - 8);
    put(&store, "a", 1, &largest).unwrap();
    assert_eq!(get(&store, "a").unwrap(), largest);
}

#[test]
fn long_lists_come_in_pages_that_miss_and_repeat_nothing() {
    let (_dir, store) = scratch();
    let ctx = OpContext::default();
    for n in 0..300 {
        let mut op = put_of(&format!("n{n:03}"), 1, "x");
        if n % 3 == 0 {
            op.tags = Some(Tags::from_pairs([("third", "yes"), ("n", n.to_string().as_str())]).unwrap());
        }
        op.version.expires_at = (n % 100 == 7).then(|| time(5_000_000 + i64::from(n)));
        wait(store.put(&ctx, op)).unwrap();
    }
    let all = |list: List| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = wait(store.list(
                &ctx,
                List {
                    after,
                    ..list.clone()
                },
            ))
            .unwrap();
            assert!(page.items.len() <= list.page_size());
            names.extend(page.items.iter().map(|head| head.id.name().to_string()));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    };
    let base = List::of(TenantId::default());
    let every: Vec<_> = (0..300).map(|n| format!("n{n:03}")).collect();
    for limit in [1, 7, 100, 128, 300, 1000] {
        assert_eq!(
            all(List {
                limit,
                ..base.clone()
            }),
            every
        );
    }
    let tagged = List {
        tags: Tags::from_pairs([("third", "yes")]).unwrap(),
        limit: 9,
        ..base.clone()
    };
    let thirds: Vec<_> = (0..300).step_by(3).map(|n| format!("n{n:03}")).collect();
    assert_eq!(all(tagged.clone()), thirds);
    let both = Tags::from_pairs([("third", "yes"), ("n", "6")]).unwrap();
    assert_eq!(all(List { tags: both, ..tagged }), ["n006"]);
    let expiring = List {
        expires_before: Some(time(5_000_107)),
        ..base.clone()
    };
    assert_eq!(all(expiring.clone()), ["n007"]);
    let late = List {
        expires_before: Some(time(5_000_207)),
        limit: 1,
        ..base.clone()
    };
    assert_eq!(all(late.clone()), ["n007", "n107"]);
    for (scope, found) in [("global", 2), ("aaa", 0), ("zzz", 0)] {
        let scope = Some(Scope::new(scope).unwrap());
        assert_eq!(
            all(List {
                scope,
                ..late.clone()
            })
            .len(),
            found
        );
    }
    for scope in [None, Some(Scope::default())] {
        let prefixed = List {
            scope,
            prefix: Some("n12".to_owned()),
            limit: 4,
            ..base.clone()
        };
        assert_eq!(all(prefixed), every[120..130]);
    }
}

#[test]
fn tags_move_with_updates() {
    let (_dir, store) = scratch();
    let ctx = OpContext::default();
    put(&store, "a", 1, "x").unwrap();
    let update = |pairs: &[(&str, &str)]| Update {
        id: id("a"),
        tags: Some(Tags::from_pairs(pairs.iter().copied()).unwrap()),
        phase: None,
        precondition: Precondition::IfVersion(version(1)),
    };
    let found = |key: &str, value: &str| {
        let mut list = List::of(TenantId::default());
        list.tags = Tags::from_pairs([(key, value)]).unwrap();
        wait(store.list(&ctx, list)).unwrap().items.len()
    };
    wait(store.update(&ctx, update(&[("env", "prod"), ("team", "a")]))).unwrap();
    assert_eq!(
        (found("env", "prod"), found("team", "a"), found("team", "b")),
        (1, 1, 0)
    );
    wait(store.update(&ctx, update(&[("team", "b")]))).unwrap();
    assert_eq!(
        (found("env", "prod"), found("team", "a"), found("team", "b")),
        (0, 0, 1)
    );
    delete(&store, "a", DeleteMode::Purge).unwrap();
    put(&store, "a", 2, "y").unwrap();
    assert_eq!(
        (found("team", "b"), head(&store, "a").unwrap().tags.len()),
        (0, 0)
    );
}

#[test]
fn a_scan_sees_every_kept_payload_of_every_tenant_in_order() {
    let (_dir, store) = scratch();
    let ctx = OpContext::default();
    for tenant in ["t-a", "t"] {
        for name in ["x", "w"] {
            for number in 1..=3 {
                let mut op = put_of(name, number, &format!("{tenant} {name} {number}"));
                op.id = nebula_credential_core::CredentialRef::new(
                    TenantId::new(tenant).unwrap(),
                    op.id.scope().clone(),
                    op.id.name().clone(),
                );
                op.keep_versions = 2;
                wait(store.put(&ctx, op)).unwrap();
            }
        }
    }
    for limit in [1, 3, 8, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = wait(store.scan(&ctx, Scan { after, limit })).unwrap();
            seen.extend(page.items.iter().map(common::text));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(
            seen,
            [
                "t w 2", "t w 3", "t x 2", "t x 3", "t-a w 2", "t-a w 3", "t-a x 2", "t-a x 3"
            ]
        );
    }
}

#[test]
fn a_dropped_write_is_whole_or_not_there() {
    let (_dir, store) = scratch();
    store.open_blocking().unwrap();
    let waker = std::task::Waker::noop();
    for n in 0..50 {
        let ctx = OpContext::default();
        let mut future = Box::pin(store.put(&ctx, put_of(&format!("n{n}"), 1, "whole")));
        let _ = future.as_mut().poll(&mut std::task::Context::from_waker(waker));
        drop(future);
    }
    put(&store, "last", 1, "x").unwrap();
    for n in 0..50 {
        match get(&store, &format!("n{n}")) {
            Ok(text) => assert_eq!(text, "whole"),
            Err(error) => assert!(error.is_not_found()),
        }
    }
}

#[test]
fn many_writers_of_one_process_wait_their_turn() {
    let (_dir, store) = scratch();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    put(store, &format!("t{thread}-{n}"), 1, "x").unwrap();
                }
            });
        }
    });
    let page = wait(store.list(&OpContext::default(), List::of(TenantId::default()))).unwrap();
    assert_eq!(page.items.len(), 200);
    assert_eq!(wait(store.generation()).unwrap(), 200);
}

#[test]
fn changes_that_wait_together_are_synced_together_and_told_apart() {
    let (_dir, store) = scratch();
    put(&store, "first", 1, "x").unwrap();
    let log = || {
        std::fs::metadata(store.path().join("store.db-wal"))
            .unwrap()
            .len()
    };
    let before = log();
    put(&store, "alone", 1, "x").unwrap();
    let (alone, before) = (log() - before, log());

    // The thread of the store waits for the lock with the first of them.
    let lock = std::fs::File::open(store.path().join("writer.lock")).unwrap();
    lock.lock().unwrap();
    let ctx = OpContext::default();
    let mut futures: Vec<_> = (0..40)
        .map(|n| {
            // Every tenth is no first version.
            let number = if n % 10 == 9 { 3 } else { 1 };
            Box::pin(store.put(&ctx, put_of(&format!("n{n}"), number, "x")))
        })
        .collect();
    let waker = std::task::Waker::noop();
    for future in &mut futures {
        let polled = future.as_mut().poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending());
    }
    lock.unlock().unwrap();
    for (n, future) in futures.into_iter().enumerate() {
        match wait(future) {
            Ok(head) => assert_eq!((n % 10 == 9, head.latest), (false, version(1))),
            Err(error) => assert!(n % 10 == 9 && error.is_conflict(), "{n}: {error}"),
        }
    }
    assert_eq!(wait(store.generation()).unwrap(), 2 + 36);
    let together = log() - before;
    assert!(
        together < alone * 36 / 3,
        "{together} bytes of log, and {alone} for one"
    );
}

#[test]
fn many_that_expire_are_listed_in_order_too() {
    let (_dir, store) = scratch();
    let ctx = OpContext::default();
    for n in 0..150 {
        let mut op = put_of(&format!("n{n:03}"), 1, "x");
        op.version.expires_at = Some(time(9_000_000 - n));
        wait(store.put(&ctx, op)).unwrap();
    }
    for (end, count) in [(9_000_001, 150), (8_999_900, 49)] {
        let list = List {
            expires_before: Some(time(end)),
            ..List::of(TenantId::default())
        };
        let page = wait(store.list(&ctx, list)).unwrap();
        assert_eq!(page.items.len(), count);
        assert!(page.items.is_sorted_by_key(|head| head.id.name().clone()));
    }
}

#[test]
fn the_log_stays_bounded_while_others_read() {
    let (_dir, store) = scratch();
    let big = "x".repeat(200_000);
    let mut longest = 0;
    for number in 1..=400 {
        put(&store, "a", number, &big).unwrap();
        get(&store, "a").unwrap();
        longest = longest.max(
            std::fs::metadata(store.path().join("store.db-wal"))
                .unwrap()
                .len(),
        );
    }
    // 80 MB were written.
    assert!(longest < 40 << 20, "the log grew to {longest} bytes");
}

#[test]
fn a_damaged_row_is_named_by_a_scan_and_stops_nothing() {
    let (_dir, store) = scratch();
    for name in ["a", "b", "c"] {
        put(&store, name, 1, "value").unwrap();
    }
    let path = store.path().join("store.db");
    drop(store);
    let conn = rusqlite::Connection::open(&path).unwrap();
    let damaged = conn
        .execute(
            "UPDATE version SET payload = x'00' WHERE id = \
             (SELECT id << 32 | latest FROM record WHERE name = 'b')",
            [],
        )
        .unwrap();
    assert_eq!(damaged, 1);
    drop(conn);

    let store = LocalStorage::existing(path.parent().unwrap());
    for limit in 1..=4 {
        let (mut read, mut damaged, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = wait(store.scan(&OpContext::default(), Scan { after, limit })).unwrap();
            assert!(page.items.len() + page.damaged.len() <= limit);
            read.extend(
                page.items
                    .into_iter()
                    .map(|record| record.head.id.name().to_string()),
            );
            damaged.extend(page.damaged.into_iter().map(|at| (at.id, at.version)));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(read, ["a", "c"]);
        assert_eq!(damaged, [(id("b"), version(1))]);
    }
}
