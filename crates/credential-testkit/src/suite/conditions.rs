//! Preconditions and idempotency tokens.

use nebula_credential_core::{Delete, DeleteMode, IdempotencyToken, Precondition, Put, Tags, Update};

use super::Fixture;
use super::subject::{Subject, bytes, change, id, number, payload, removal, tags, whole};
use super::verdict::Refused as _;

const fn if_version(version: u32) -> Precondition {
    match nebula_credential_core::Version::new(version) {
        Some(version) => Precondition::IfVersion(version),
        None => Precondition::None,
    }
}

/// Without `compare_and_set`, every precondition is refused, and nothing is done: it could not be honoured.
async fn unsupported(s: &Subject) -> bool {
    if s.capability.compare_and_set {
        return false;
    }
    let name = id("db");
    s.fill(&name, 1).await;
    let before = s.picture(&name).await;
    for precondition in [Precondition::IfAbsent, if_version(1), if_version(2)] {
        s.put(Put {
            precondition,
            ..s.version(&name, 2)
        })
        .await
        .unsupported();
        s.put(Put {
            precondition,
            ..s.version(&id("other"), 1)
        })
        .await
        .unsupported();
        s.delete(Delete {
            precondition,
            ..removal(&name, DeleteMode::Purge)
        })
        .await
        .unsupported();
        s.update(Update {
            precondition,
            ..change(&name)
        })
        .await
        .unsupported();
    }
    assert_eq!(s.picture(&name).await, before);
    s.head(&id("other")).await.absent();
    true
}

/// `IfAbsent` stores onto an absent, deleted or purged name, and refuses a live one as `AlreadyExists`.
pub async fn if_absent_needs_absence(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    let new = |version| Put {
        precondition: Precondition::IfAbsent,
        ..s.version(&name, version)
    };
    s.put(new(1)).await.unwrap();
    let before = s.picture(&name).await;
    s.put(new(1)).await.exists();
    s.put(new(2)).await.exists();
    assert_eq!(s.picture(&name).await, before);
    let mut version = 2;
    if s.capability.soft_delete {
        s.soft_delete(&name).await.unwrap();
        s.put(new(1)).await.conflict();
        s.put(new(2)).await.unwrap();
        version = 3;
    }
    s.purge(&name).await.unwrap();
    s.put(new(version - 1)).await.conflict();
    s.put(new(version)).await.unwrap();
    s.put(new(version + 1)).await.exists();
    whole(&s.get(&name).await.unwrap());
}

/// `IfVersion` stores only onto that latest version: `VersionConflict` with what was found otherwise, `NotFound` where
/// nothing is live.
pub async fn if_version_needs_that_version(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    let onto = |expected, version| Put {
        precondition: if_version(expected),
        ..s.version(&name, version)
    };
    s.put(onto(1, 1)).await.absent();
    s.put(onto(1, 2)).await.absent();
    s.fill(&name, 2).await;
    let before = s.picture(&name).await;
    for (expected, version) in [(1, 3), (1, 2), (3, 3), (3, 4), (u32::MAX, 3)] {
        assert_eq!(
            s.put(onto(expected, version)).await.version_conflict(),
            Some(number(2))
        );
    }
    assert_eq!(s.picture(&name).await, before);
    s.put(onto(2, 3)).await.unwrap();
    whole(&s.get(&name).await.unwrap());
    if s.capability.soft_delete {
        s.soft_delete(&name).await.unwrap();
        s.put(onto(3, 4)).await.absent();
        s.restore(&name).await.unwrap();
    }
    s.purge(&name).await.unwrap();
    s.put(onto(3, 4)).await.absent();
    s.head(&name).await.absent();
}

/// A deletion obeys its precondition, and leaves the credential alone where that does not hold.
pub async fn a_deletion_obeys_its_precondition(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    let mut modes = vec![DeleteMode::Purge];
    if s.capability.soft_delete {
        modes.insert(0, DeleteMode::Soft);
    }
    let mut latest = 0;
    for mode in modes {
        let delete = |precondition| Delete {
            precondition,
            ..removal(&name, mode)
        };
        s.put(s.version(&name, latest + 1)).await.unwrap();
        s.put(s.version(&name, latest + 2)).await.unwrap();
        latest += 2;
        let before = s.picture(&name).await;
        for version in [1, latest + 1] {
            if version != latest {
                s.delete(delete(if_version(version))).await.conflict();
            }
        }
        s.delete(delete(Precondition::IfAbsent)).await.exists();
        assert_eq!(s.picture(&name).await, before);
        s.delete(delete(if_version(latest))).await.unwrap();
        s.get(&name).await.absent();
        s.delete(delete(if_version(latest))).await.absent();
        if mode == DeleteMode::Soft {
            // What is deleted is absent, and still there to be destroyed: whoever decided on it as deleted says so.
            let purge = |precondition| Delete {
                precondition,
                ..removal(&name, DeleteMode::Purge)
            };
            s.delete(purge(if_version(latest))).await.absent();
            s.head(&name).await.unwrap();
            s.delete(purge(Precondition::IfAbsent)).await.unwrap();
            s.head(&name).await.absent();
        }
    }
}

/// An update obeys its precondition, and changes nothing where that does not hold.
pub async fn an_update_obeys_its_precondition(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 2).await;
    let update = |precondition| Update {
        precondition,
        tags: Some(tags([("team", "a")])),
        ..change(&name)
    };
    if !s.capability.update {
        s.update(update(if_version(2))).await.unsupported();
        return;
    }
    let before = s.picture(&name).await;
    s.update(update(if_version(1))).await.conflict();
    s.update(update(if_version(3))).await.conflict();
    s.update(update(Precondition::IfAbsent)).await.exists();
    assert_eq!(s.picture(&name).await, before);
    s.update(update(if_version(2))).await.unwrap();
    assert_eq!(s.head(&name).await.unwrap().tags, tags([("team", "a")]));
}

const TOKEN: Option<IdempotencyToken> = Some(IdempotencyToken([7; 16]));

/// Without `idempotency`, a token is refused, and nothing is done: the caller would rely on it.
async fn no_tokens(s: &Subject) -> bool {
    if s.capability.idempotency {
        return false;
    }
    let name = id("db");
    s.put(Put {
        token: TOKEN,
        ..s.version(&name, 1)
    })
    .await
    .unsupported();
    s.head(&name).await.absent();
    true
}

/// A repeated token answers as it did the first time and stores nothing, though precondition and version are used up.
pub async fn a_repeated_token_answers_as_before(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if no_tokens(&s).await {
        return;
    }
    let name = id("db");
    let mut put = Put {
        token: TOKEN,
        tags: Some(tags([("team", "a")])),
        ..s.version(&name, 1)
    };
    if s.capability.compare_and_set {
        put.precondition = Precondition::IfAbsent;
    }
    let first = s.put(put.clone()).await.unwrap();
    let before = s.picture(&name).await;
    s.tick();
    assert_eq!(s.put(put.clone()).await.unwrap(), first);
    // A caller that read again before repeating asks for the next version, sealed anew: the token decides.
    let again = Put {
        tags: Some(Tags::new()),
        precondition: Precondition::None,
        ..s.version(&name, 2)
    };
    assert_eq!(
        s.put(Put {
            token: TOKEN,
            ..again
        })
        .await
        .unwrap(),
        first
    );
    assert_eq!(s.picture(&name).await, before);
    assert_eq!(
        bytes(&s.get(&name).await.unwrap()),
        payload(&name, 1).as_envelope().unwrap()
    );
    let other = Some(IdempotencyToken([8; 16]));
    s.put(Put {
        token: other,
        ..s.version(&name, 2)
    })
    .await
    .unwrap();
    assert_eq!(s.head(&name).await.unwrap().latest, number(2));
}

/// The same token on another credential, of another scope or tenant, is another change.
pub async fn a_token_belongs_to_one_credential(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if no_tokens(&s).await {
        return;
    }
    for name in [
        "acme:global:db",
        "acme:global:web",
        "acme:billing:db",
        "other:global:db",
    ] {
        let put = Put {
            token: TOKEN,
            ..s.version(&id(name), 1)
        };
        assert_eq!(s.put(put).await.unwrap().id, id(name));
        whole(&s.get(&id(name)).await.unwrap());
    }
}

/// A token is remembered while the version it made is kept; after that a repetition may be refused, never applied.
pub async fn a_token_outlives_later_changes(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if no_tokens(&s).await {
        return;
    }
    let name = id("db");
    let put = Put {
        token: TOKEN,
        ..s.version(&name, 1)
    };
    let first = s.put(put.clone()).await.unwrap();
    s.put(s.version(&name, 2)).await.unwrap();
    if s.capability.versions {
        assert_eq!(s.put(put.clone()).await.unwrap().version, first.version);
    }
    s.put(Put {
        keep_versions: 1,
        ..s.version(&name, 3)
    })
    .await
    .unwrap();
    let before = s.picture(&name).await;
    if let Ok(head) = s.put(put.clone()).await {
        assert_eq!(head.version, first.version);
    }
    assert_eq!(s.picture(&name).await, before);
    if s.capability.soft_delete {
        s.soft_delete(&name).await.unwrap();
        if let Ok(head) = s.put(put.clone()).await {
            assert_eq!(head.version, first.version);
        }
        s.get(&name).await.absent();
    }
    s.purge(&name).await.unwrap();
    if let Ok(head) = s.put(put).await {
        assert_eq!(head.version, first.version);
    }
    s.head(&name).await.absent();
}

/// A change that was refused leaves its token unused.
pub async fn a_refused_change_does_not_use_its_token_up(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if no_tokens(&s).await {
        return;
    }
    let name = id("db");
    s.put(Put {
        token: TOKEN,
        ..s.version(&name, 2)
    })
    .await
    .conflict();
    s.put(Put {
        token: TOKEN,
        ..s.version(&name, 1)
    })
    .await
    .unwrap();
    whole(&s.get(&name).await.unwrap());
}
