//! Many at once: races, readers among writers, abandoned futures, second handles, a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nebula_credential_core::{
    CredentialError, IdempotencyToken, List, Phase, Precondition, Put, RecordHead, Rewrite, Update,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::Fixture;
use super::subject::{
    Answer, Subject, bytes, change, envelope, id, names, number, payload, poll_and_drop, tags, whole,
};
use super::verdict::Refused as _;

/// How many race.
const RACERS: usize = 8;

/// Runs `action` for every subject at once and gives back the answers.
async fn race<T, F>(subjects: Vec<Subject>, action: impl Fn(usize, Subject) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(subjects.len()));
    let mut tasks = JoinSet::new();
    for (at, subject) in subjects.into_iter().enumerate() {
        let (start, action) = (Arc::clone(&start), action(at, subject));
        tasks.spawn(async move {
            start.wait().await;
            action.await
        });
    }
    tasks.join_all().await
}

/// Exactly one succeeded; every other met a conflict.
#[track_caller]
fn one_winner(answers: Vec<Answer<RecordHead>>) -> RecordHead {
    let mut won = None;
    for answer in answers {
        match answer {
            Ok(head) => assert!(won.replace(head).is_none(), "two won"),
            Err(error) => assert!(error.is_conflict(), "a loser is told of a conflict: {error}"),
        }
    }
    won.expect("nobody won")
}

async fn increments(subjects: Vec<Subject>, each: u32) {
    let name = id("counter");
    let first = subjects.first().expect("somebody counts").clone();
    first.put(first.version(&name, 1)).await.unwrap();
    let many = u32::try_from(subjects.len()).unwrap();
    race(subjects, |_, s| {
        let name = name.clone();
        async move {
            for _ in 0..each {
                loop {
                    let record = s.get(&name).await.unwrap();
                    whole(&record);
                    let seen = record.head.latest;
                    let put = Put {
                        precondition: Precondition::IfVersion(seen),
                        keep_versions: 2,
                        ..s.version(&name, seen.get() + 1)
                    };
                    match s.put(put).await {
                        Ok(_) => break,
                        conflict => conflict.conflict(),
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(first.head(&name).await.unwrap().latest.get(), 1 + many * each);
    whole(&first.get(&name).await.unwrap());
}

/// Of many who store the same next version, with a precondition or without, exactly one wins.
pub async fn one_of_many_writers_wins(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    if !s.capability.compare_and_set {
        s.put(Put {
            precondition: Precondition::IfAbsent,
            ..s.version(&name, 1)
        })
        .await
        .unsupported();
        return;
    }
    let rounds = [
        (1, Precondition::IfAbsent),
        (2, Precondition::IfVersion(number(1))),
        (3, Precondition::None),
        (4, Precondition::IfVersion(number(3))),
    ];
    for (version, precondition) in rounds {
        let answers = race(vec![s.clone(); RACERS], |at, s| {
            let body = format!("racer {at}");
            let put = Put {
                precondition,
                payload: envelope(body.as_bytes()),
                tags: Some(tags([("by", &*body)])),
                ..s.version(&name, version)
            };
            async move { s.put(put).await }
        })
        .await;
        let head = one_winner(answers);
        let record = s.get(&name).await.unwrap();
        assert_eq!(record.head, head, "what is stored is the winner's");
        let by = head.tags.get("by").expect("the winner's tag");
        assert_eq!(Some(&*bytes(&record)), envelope(by.as_bytes()).as_envelope());
    }
}

/// Compare-and-set loses no increment, however many count at once.
pub async fn no_increment_is_lost(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if !s.capability.compare_and_set {
        s.fill(&id("db"), 1).await;
        let precondition = Precondition::IfVersion(number(1));
        s.put(Put {
            precondition,
            ..s.version(&id("db"), 2)
        })
        .await
        .unsupported();
        return;
    }
    increments(vec![s.clone(); RACERS], 5).await;
}

/// Of many rewrites that expect the same bytes, exactly one is done.
pub async fn one_of_many_rewrites_wins(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 1).await;
    let answers = race(vec![s.clone(); RACERS], |at, s| {
        let new = envelope(format!("racer {at}").as_bytes());
        let (id, version, expected) = (name.clone(), number(1), payload(&name, 1));
        async move {
            s.rewrite(Rewrite {
                id,
                version,
                expected,
                payload: new,
            })
            .await
            .map(|()| at)
        }
    })
    .await;
    if !s.capability.rewrite {
        answers.into_iter().for_each(|answer| answer.unsupported());
        return;
    }
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    lost.into_iter().for_each(|answer| answer.conflict());
    assert_eq!(won.len(), 1);
    let winner = envelope(format!("racer {}", won[0].clone().unwrap()).as_bytes());
    assert_eq!(Some(&*bytes(&s.get(&name).await.unwrap())), winner.as_envelope());
}

/// The same token sent many times at once stores one version, and everyone is told of that one.
pub async fn a_token_sent_at_once_is_applied_once(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let token = Some(IdempotencyToken([3; 16]));
    let put = Put {
        token,
        ..s.version(&name, 1)
    };
    let answers = race(vec![s.clone(); RACERS], |_, s| {
        let put = put.clone();
        async move { s.put(put).await }
    })
    .await;
    for answer in answers {
        if s.capability.idempotency {
            assert_eq!(answer.unwrap().version, put.version);
        } else {
            answer.unsupported();
        }
    }
    if s.capability.idempotency {
        assert_eq!(s.kept(&name).await, [1]);
    } else {
        s.head(&name).await.absent();
    }
}

/// A reader among writers sees one whole version after another, never older than one it has seen.
pub async fn a_reader_never_sees_half_a_write(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let stored = id("db");
    let described = move |s: &Subject, version: u32| {
        let mut put = s.version(&stored, version);
        put.version.schema_version = version;
        put.tags = Some(tags([("version", version.to_string().as_str())]));
        put
    };
    s.put(described(&s, 1)).await.unwrap();
    let reads = Arc::new(AtomicU32::new(0));
    let writer = {
        let (s, reads) = (s.clone(), Arc::clone(&reads));
        tokio::spawn(async move {
            for version in 2..=1000 {
                s.put(Put {
                    keep_versions: 3,
                    ..described(&s, version)
                })
                .await
                .unwrap();
                // Fast stores write until the reader has had its share, slow ones no longer than they must.
                if version > 20 && reads.load(Ordering::SeqCst) > 40 {
                    break;
                }
            }
        })
    };
    let mut seen = number(1);
    while !writer.is_finished() {
        let record = s.get(&name).await.unwrap();
        whole(&record);
        let (head, latest) = (&record.head, record.head.latest);
        assert!(latest >= seen, "a reader went back in time");
        assert_eq!(head.version.schema_version, latest.get());
        assert_eq!(head.tags, tags([("version", latest.to_string().as_str())]));
        seen = latest;
        let listed = s.list(List::of(name.tenant().clone())).await.unwrap();
        assert_eq!(names(&listed.items), ["db"]);
        assert_eq!(
            listed.items[0].version.schema_version,
            listed.items[0].latest.get()
        );
        reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    whole(&s.get(&name).await.unwrap());
}

/// Writers of different credentials do not disturb each other.
pub async fn neighbours_do_not_disturb_each_other(fixture: Fixture) {
    let s = Subject::of(&fixture);
    race(vec![s.clone(); RACERS], |at, s| async move {
        let name = id(&format!("db-{at}"));
        s.fill(&name, 5).await;
    })
    .await;
    for at in 0..RACERS {
        let name = id(&format!("db-{at}"));
        for version in s.kept(&name).await {
            whole(&s.get_version(&name, version).await.unwrap());
        }
        assert_eq!(s.head(&name).await.unwrap().latest, number(5));
    }
    assert_eq!(
        s.list_all(List::of(id("db").tenant().clone())).await.len(),
        RACERS
    );
}

/// Dropped at any point, the future of a put leaves the version stored whole or not at all, and the store in order.
pub async fn an_abandoned_put_is_never_half_done(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 1).await;
    for polls in 0..12 {
        let latest = s.head(&name).await.unwrap().latest.get();
        poll_and_drop(s.put(s.version(&name, latest + 1)), polls).await;
        let record = s.get(&name).await.unwrap();
        whole(&record);
        assert!((latest..=latest + 1).contains(&record.head.latest.get()));
        // The abandoned put may still land: then this one meets a conflict, and the next number is free.
        let mut next = latest + 1;
        while let Err(error) = s.put(s.version(&name, next)).await {
            assert!(
                matches!(error, CredentialError::VersionConflict { .. }),
                "{error}"
            );
            next += 1;
            assert!(
                next <= latest + 2,
                "the store does not accept the next version: {error}"
            );
        }
    }
    let kept = s.kept(&name).await;
    assert!(
        kept.is_sorted_by(|newer, older| *newer == older + 1),
        "{kept:?} has gaps"
    );
    for version in kept {
        whole(&s.get_version(&name, version).await.unwrap());
    }
}

/// What was acknowledged is there after the store was closed and opened again. For `durable` stores; the fixture
/// must be able to [reopen](Fixture::reopen_with).
pub async fn what_was_acknowledged_survives_a_restart(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if !s.capability.durable {
        return;
    }
    let (live, deleted, purged) = (id("live"), id("deleted"), id("purged"));
    let token = s.capability.idempotency.then_some(IdempotencyToken([5; 16]));
    s.fill(&live, 2).await;
    let last = Put {
        tags: Some(tags([("team", "a")])),
        token,
        phase: Phase::Rotating,
        ..s.version(&live, 3)
    };
    s.put(last.clone()).await.unwrap();
    s.fill(&deleted, 2).await;
    s.fill(&purged, 2).await;
    s.purge(&purged).await.unwrap();
    if s.capability.soft_delete {
        s.soft_delete(&deleted).await.unwrap();
    }
    if s.capability.update {
        s.update(Update {
            phase: Some(Phase::Active),
            ..change(&live)
        })
        .await
        .unwrap();
    }
    let before = (s.picture(&live).await, s.picture(&deleted).await);
    let (clock, capability) = (s.clock.clone(), s.capability);
    drop(s);
    let fixture = fixture.reopen().await;
    let s = Subject::on(fixture.store.clone(), clock);
    assert_eq!(s.capability, capability);
    assert_eq!((s.picture(&live).await, s.picture(&deleted).await), before);
    s.head(&purged).await.absent();
    assert_eq!(
        s.put(s.version(&purged, 1)).await.version_conflict(),
        Some(number(2))
    );
    if token.is_some() {
        assert_eq!(s.put(last.clone()).await.unwrap().version, last.version);
    }
    s.put(s.version(&live, 4)).await.unwrap();
    s.put(s.version(&purged, 3)).await.unwrap();
}

/// Two handles on one store see each other's writes at once. For `multi_process` stores; the fixture must be able to
/// [reopen](Fixture::reopen_with).
pub async fn a_second_handle_sees_every_write_at_once(fixture: Fixture) {
    let one = Subject::of(&fixture);
    if !one.capability.multi_process {
        return;
    }
    let two = Subject::on(fixture.second().await, one.clock.clone());
    let name = id("db");
    for version in 1..=6 {
        let (writer, reader) = if version % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        let told = writer.put(writer.version(&name, version)).await.unwrap();
        let record = reader.get(&name).await.unwrap();
        whole(&record);
        assert_eq!(record.head, told);
        assert_eq!(reader.list_all(List::of(name.tenant().clone())).await, [told]);
    }
    if one.capability.update {
        one.update(Update {
            tags: Some(tags([("team", "a")])),
            ..change(&name)
        })
        .await
        .unwrap();
        assert_eq!(two.head(&name).await.unwrap().tags, tags([("team", "a")]));
    }
    one.purge(&name).await.unwrap();
    two.head(&name).await.absent();
    assert_eq!(
        two.put(two.version(&name, 1)).await.version_conflict(),
        Some(number(6))
    );
}

/// Two handles on one store race as one: no increment is lost between them.
pub async fn two_handles_lose_no_increment(fixture: Fixture) {
    let one = Subject::of(&fixture);
    if !(one.capability.multi_process && one.capability.compare_and_set) {
        return;
    }
    let two = Subject::on(fixture.second().await, one.clock.clone());
    increments(vec![one.clone(), two.clone(), one, two], 8).await;
}
