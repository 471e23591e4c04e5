//! Deletion, restoration and purge.

use nebula_credential_core::{DeleteMode, List, Phase, Precondition, Put, Restore, Selector};

use super::Fixture;
use super::subject::{Subject, change, id, names, number, poll_and_drop, removal, tags, whole};
use super::verdict::Refused as _;

/// A store without `soft_delete` refuses to hide and to restore, and leaves the credential as it is.
async fn unsupported(s: &Subject) -> bool {
    if s.capability.soft_delete {
        return false;
    }
    let name = id("kept");
    s.fill(&name, 2).await;
    let before = s.picture(&name).await;
    s.soft_delete(&name).await.unsupported();
    s.restore(&name).await.unsupported();
    assert_eq!(s.picture(&name).await, before);
    true
}

/// A deleted credential is `NotFound` for everything but `Head`, which tells when it was deleted.
pub async fn a_deleted_credential_is_hidden_but_has_a_head(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 2).await;
    let before = s.head(&name).await.unwrap();
    s.tick();
    s.soft_delete(&name).await.unwrap();
    let head = s.head(&name).await.unwrap();
    assert_eq!(head.deleted_at, Some(s.ctx().now()));
    assert_eq!((head.latest, head.version), (before.latest, before.version));
    s.get(&name).await.absent();
    for version in [1, 2, 3] {
        s.get_version(&name, version).await.absent();
    }
    if s.capability.versions {
        s.versions(&name).await.absent();
    }
    if s.capability.update {
        s.update(change(&name)).await.absent();
    }
    assert!(s.list_all(List::of(name.tenant().clone())).await.is_empty());
    let all = List {
        include_deleted: true,
        ..List::of(name.tenant().clone())
    };
    assert_eq!(s.list_all(all).await, [s.head(&name).await.unwrap()]);
}

/// The second deletion finds nothing to delete, and does not move the time of the first.
pub async fn deleting_twice_is_not_found(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 1).await;
    s.soft_delete(&name).await.unwrap();
    let first = s.head(&name).await.unwrap();
    s.tick();
    s.soft_delete(&name).await.absent();
    assert_eq!(s.head(&name).await.unwrap(), first);
}

/// Restored, a credential has its versions, tags and phase again.
pub async fn a_restored_credential_is_as_it_was(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 2).await;
    let put = Put {
        tags: Some(tags([("team", "a")])),
        phase: Phase::GracePeriod,
        ..s.version(&name, 3)
    };
    s.put(put).await.unwrap();
    let (before, kept) = (s.head(&name).await.unwrap(), s.kept(&name).await);
    s.soft_delete(&name).await.unwrap();
    s.tick();
    let head = s.restore(&name).await.unwrap();
    assert_eq!(head, s.head(&name).await.unwrap());
    let expected = nebula_credential_core::RecordHead {
        updated_at: s.ctx().now(),
        ..before
    };
    assert_eq!(
        head, expected,
        "a restoration changes nothing but the time of the change"
    );
    assert_eq!(s.kept(&name).await, kept);
    for version in kept {
        whole(&s.get_version(&name, version).await.unwrap());
    }
    s.put(s.version(&name, 4)).await.unwrap();
    assert_eq!(s.list_all(List::of(name.tenant().clone())).await.len(), 1);
}

/// There is nothing to restore of a live credential (`InvalidState`), nor of a purged one (`NotFound`).
pub async fn only_a_deleted_credential_is_restored(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 1).await;
    let before = s.picture(&name).await;
    s.restore(&name).await.invalid_state();
    assert_eq!(s.picture(&name).await, before);
    s.soft_delete(&name).await.unwrap();
    s.purge(&name).await.unwrap();
    s.restore(&name).await.absent();
    s.head(&name).await.absent();
}

/// A value stored onto a deleted credential begins a new life: no old versions, no old tags; numbers go on.
pub async fn storing_onto_a_deleted_credential_starts_anew(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 2).await;
    s.put(Put {
        tags: Some(tags([("team", "a")])),
        ..s.version(&name, 3)
    })
    .await
    .unwrap();
    s.soft_delete(&name).await.unwrap();
    s.tick();
    assert_eq!(
        s.put(s.version(&name, 1)).await.version_conflict(),
        Some(number(3))
    );
    s.get(&name).await.absent();
    let head = s.put(s.version(&name, 4)).await.unwrap();
    assert_eq!(head.deleted_at, None);
    assert_eq!(head.created_at, head.version.created_at);
    assert!(
        head.tags.is_empty(),
        "the tags of the deleted credential came back"
    );
    assert_eq!(s.kept(&name).await, [4]);
    for version in 1..=3 {
        s.get_version(&name, version).await.version_absent();
    }
    whole(&s.get(&name).await.unwrap());
    s.restore(&name).await.invalid_state();
}

/// A purge leaves nothing to read, list or restore, of a live credential and of a deleted one; twice is `NotFound`.
pub async fn a_purge_leaves_nothing(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let (live, deleted, other) = (id("live"), id("deleted"), id("other"));
    for name in [&live, &deleted, &other] {
        s.fill(name, 2).await;
    }
    if s.capability.soft_delete {
        s.soft_delete(&deleted).await.unwrap();
    }
    for name in [&live, &deleted] {
        s.purge(name).await.unwrap();
        s.get(name).await.absent();
        s.get_version(name, 2).await.absent();
        s.head(name).await.absent();
        s.head_of(name, Selector::Exact(number(2))).await.absent();
        s.purge(name).await.absent();
        if s.capability.soft_delete {
            s.soft_delete(name).await.absent();
            s.restore(name).await.absent();
        } else {
            s.call(nebula_credential_core::Op::Restore(Restore { id: name.clone() }))
                .await
                .unsupported();
        }
        if s.capability.versions {
            s.versions(name).await.absent();
        }
    }
    let all = List {
        include_deleted: true,
        ..List::of(live.tenant().clone())
    };
    assert_eq!(names(&s.list_all(all).await), ["other"]);
    assert_eq!(s.kept(&other).await.first(), Some(&2));
}

/// No number is used twice for one name, not after a deletion, not after a purge, not after both.
pub async fn a_version_number_is_never_used_again(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 2).await;
    let mut latest = 2;
    let modes: &[&[DeleteMode]] = if s.capability.soft_delete {
        &[
            &[DeleteMode::Purge],
            &[DeleteMode::Soft],
            &[DeleteMode::Soft, DeleteMode::Purge],
            &[DeleteMode::Purge],
        ]
    } else {
        &[&[DeleteMode::Purge], &[DeleteMode::Purge]]
    };
    for modes in modes {
        for &mode in *modes {
            s.delete(removal(&name, mode)).await.unwrap();
        }
        for used in 1..=latest {
            let found = s.put(s.version(&name, used)).await.version_conflict();
            assert_eq!(
                found,
                Some(number(latest)),
                "the conflict tells where to go on, after a purge too"
            );
        }
        s.put(s.version(&name, latest + 2)).await.conflict();
        latest += 1;
        let head = s.put(s.version(&name, latest)).await.unwrap();
        assert_eq!(head.created_at, head.version.created_at);
        assert_eq!(s.kept(&name).await, [latest]);
        whole(&s.get(&name).await.unwrap());
    }
}

/// A purged credential's tags do not come back with its next life.
pub async fn a_purge_forgets_the_tags(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.put(Put {
        tags: Some(tags([("team", "a")])),
        ..s.version(&name, 1)
    })
    .await
    .unwrap();
    s.purge(&name).await.unwrap();
    let wanted = List {
        tags: tags([("team", "a")]),
        ..List::of(name.tenant().clone())
    };
    assert!(s.put(s.version(&name, 2)).await.unwrap().tags.is_empty());
    assert!(s.list_all(wanted).await.is_empty());
}

/// Dropped at any point, the future of a deletion leaves the credential whole or gone.
pub async fn an_abandoned_deletion_is_never_half_done(fixture: Fixture) {
    let s = Subject::of(&fixture);
    for polls in 0..6 {
        let name = id(&format!("db-{polls}"));
        s.fill(&name, 3).await;
        let kept = s.kept(&name).await;
        let delete = removal(&name, DeleteMode::Purge);
        poll_and_drop(s.delete(delete), polls).await;
        // It may have been done, not be done, or still go on: each answer is about all of it or about nothing.
        match s.get(&name).await {
            Ok(record) => whole(&record),
            absent => absent.absent(),
        }
        if s.capability.versions {
            match s.versions(&name).await {
                Ok(versions) => assert_eq!(versions.len(), kept.len(), "some versions are gone"),
                absent => absent.absent(),
            }
        }
        match s.purge(&name).await {
            Ok(()) => {}
            absent => absent.absent(),
        }
        s.head(&name).await.absent();
        let next = Put {
            precondition: Precondition::None,
            ..s.version(&name, 4)
        };
        s.put(next).await.unwrap();
        assert_eq!(s.kept(&name).await, [4]);
    }
}
