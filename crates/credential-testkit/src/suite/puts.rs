//! What storing a version does, and to what.

use nebula_credential_core::{
    CredentialError, DeleteMode, Phase, Plaintext, Put, Rewrite, Sealed, Update, limits,
};

use super::Fixture;
use super::subject::{Subject, change, envelope, id, number, payload, removal, tags, whole};
use super::verdict::Refused as _;

/// A credential begins with version 1; any other number is a conflict, and nothing is stored.
pub async fn the_first_version_is_one(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    for version in [2, 3, u32::MAX] {
        assert_eq!(s.put(s.version(&name, version)).await.version_conflict(), None);
        s.head(&name).await.absent();
    }
    s.put(s.version(&name, 1)).await.unwrap();
}

/// Only the number after the latest is accepted; the conflict tells the latest.
pub async fn only_the_next_version_is_accepted(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 2).await;
    let before = s.picture(&name).await;
    for version in [1, 2, 4, u32::MAX] {
        let found = s.put(s.version(&name, version)).await.version_conflict();
        assert_eq!(found, Some(number(2)));
        assert_eq!(s.picture(&name).await, before);
    }
    s.put(s.version(&name, 3)).await.unwrap();
    whole(&s.get(&name).await.unwrap());
}

/// Beyond `keep_versions` the oldest go first; a later, smaller number drops more at once.
pub async fn retention_drops_the_oldest_first(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let most = s.capability.max_versions;
    for version in 1..=6u32 {
        s.put(Put {
            keep_versions: 3,
            ..s.version(&name, version)
        })
        .await
        .unwrap();
        let expected: Vec<u32> = (1..=version).rev().take(3.min(most) as usize).collect();
        assert_eq!(s.kept(&name).await, expected);
    }
    s.put(Put {
        keep_versions: 10,
        ..s.version(&name, 7)
    })
    .await
    .unwrap();
    let expected: Vec<u32> = (4..=7).rev().take(most as usize).collect();
    assert_eq!(
        s.kept(&name).await,
        expected,
        "what was dropped does not come back"
    );
    s.put(Put {
        keep_versions: 2,
        ..s.version(&name, 8)
    })
    .await
    .unwrap();
    let expected: Vec<u32> = [8, 7].into_iter().take(most as usize).collect();
    assert_eq!(s.kept(&name).await, expected);
    s.get_version(&name, 6).await.version_absent();
}

/// The version just stored is kept, even for a `keep_versions` of 1 or, against its contract, 0.
pub async fn the_current_version_is_never_dropped(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    for (version, keep_versions) in [(1, 1), (2, 1), (3, 0), (4, 0), (5, 1)] {
        s.put(Put {
            keep_versions,
            ..s.version(&name, version)
        })
        .await
        .unwrap();
        assert_eq!(s.kept(&name).await, [version]);
        whole(&s.get(&name).await.unwrap());
    }
}

/// Asked to keep more than `Capability::max_versions`, a store keeps that many.
pub async fn retention_is_bounded_by_the_capability(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let most = s.capability.max_versions;
    for version in 1..=most + 2 {
        s.put(Put {
            keep_versions: u32::MAX,
            ..s.version(&name, version)
        })
        .await
        .unwrap();
    }
    let kept = s.kept(&name).await;
    assert_eq!(kept.len(), most as usize);
    assert_eq!((kept.first(), kept.last()), (Some(&(most + 2)), Some(&3)));
}

/// `tags: None` keeps the tags a live credential has, `Some` replaces them all.
pub async fn a_put_without_tags_keeps_them(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let (first, second) = (tags([("team", "a"), ("env", "prod")]), tags([("team", "b")]));
    let steps = [
        (Some(first.clone()), first.clone()),
        (None, first),
        (Some(second.clone()), second.clone()),
        (None, second),
        (Some(tags([])), tags([])),
        (None, tags([])),
    ];
    for (version, (given, expected)) in (1..).zip(steps) {
        let head = s
            .put(Put {
                tags: given,
                ..s.version(&name, version)
            })
            .await
            .unwrap();
        assert_eq!(head.tags, expected);
        assert_eq!(s.head(&name).await.unwrap().tags, expected);
    }
}

/// Each of the eleven phases is kept; whether a move is lawful is decided above.
pub async fn every_phase_is_kept(fixture: Fixture) {
    let s = Subject::of(&fixture);
    for (&phase, &other) in Phase::ALL.iter().zip(Phase::ALL.iter().rev()) {
        let name = id(&format!("db-{}", phase.id()));
        s.put(Put {
            phase,
            ..s.version(&name, 1)
        })
        .await
        .unwrap();
        assert_eq!(s.head(&name).await.unwrap().phase, phase);
        if s.capability.update && phase != Phase::Revoked {
            let update = Update {
                phase: Some(other),
                ..change(&name)
            };
            assert_eq!(s.update(update).await.unwrap().phase, other);
            assert_eq!(s.get(&name).await.unwrap().head.phase, other);
        }
    }
}

/// In the step that writes, a put onto a revoked credential and an update to another phase are `InvalidState`: whoever
/// looked before the revocation cannot undo it. What is purged and stored anew begins anew.
pub async fn what_is_revoked_stays_so(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.put(Put {
        phase: Phase::Revoked,
        ..s.version(&name, 1)
    })
    .await
    .unwrap();
    let before = s.picture(&name).await;
    for phase in [Phase::Active, Phase::Revoked] {
        s.put(Put {
            phase,
            ..s.version(&name, 2)
        })
        .await
        .invalid_state();
    }
    if s.capability.update {
        for phase in Phase::ALL.iter().filter(|phase| **phase != Phase::Revoked) {
            let update = Update {
                phase: Some(*phase),
                ..change(&name)
            };
            s.update(update).await.invalid_state();
        }
    }
    assert_eq!(s.picture(&name).await, before);
    if s.capability.update {
        for phase in [None, Some(Phase::Revoked)] {
            let update = Update {
                phase,
                tags: Some(tags([("team", "a")])),
                ..change(&name)
            };
            assert_eq!(s.update(update).await.unwrap().phase, Phase::Revoked);
        }
    }
    s.delete(removal(&name, DeleteMode::Purge)).await.unwrap();
    s.put(s.version(&name, 2)).await.unwrap();
    assert_eq!(s.head(&name).await.unwrap().phase, Phase::Active);
}

/// A payload of `max_sealed_bytes` is stored; one byte more is `LimitExceeded`, and nothing is stored.
pub async fn the_longest_payload_is_kept_and_no_longer_one(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let most = s.capability.max_sealed_bytes;
    let sized = |length: usize| {
        let mut bytes = nebula_credential_core::ENVELOPE_MAGIC.to_vec();
        bytes.extend((0u8..=250).cycle().take(length.saturating_sub(bytes.len())));
        Sealed::envelope(bytes)
    };
    for (version, length) in [(1, most - 1), (2, most)] {
        let (put, expected) = (sized(length).unwrap(), sized(length).unwrap());
        s.put(Put {
            payload: put,
            ..s.version(&name, version)
        })
        .await
        .unwrap();
        let record = s.get(&name).await.unwrap();
        assert!(
            record.payload.as_envelope() == expected.as_envelope(),
            "{length} bytes came back changed"
        );
    }
    let before = s.head(&name).await.unwrap();
    match sized(most + 1) {
        Ok(longer) => {
            let put = Put {
                payload: longer.clone(),
                ..s.version(&name, 3)
            };
            s.put(put.clone()).await.over_limit();
            let other = id("other");
            s.put(Put {
                payload: longer.clone(),
                ..s.version(&other, 1)
            })
            .await
            .over_limit();
            s.head(&other).await.absent();
            if s.capability.rewrite {
                let expected = sized(most).unwrap();
                let rewrite = Rewrite {
                    id: name.clone(),
                    version: number(2),
                    expected,
                    payload: longer,
                };
                s.rewrite(rewrite).await.over_limit();
            }
        }
        // No store is ever given an envelope beyond the limit of the library.
        Err(error) => assert!(matches!(error, CredentialError::LimitExceeded { .. }), "{error}"),
    }
    assert_eq!(s.head(&name).await.unwrap(), before);
    s.put(Put {
        payload: envelope(b""),
        ..s.version(&name, 3)
    })
    .await
    .unwrap();
}

/// A provider-managed value is `Unsupported` by a store that does not encrypt at rest, and kept by one that does.
pub async fn plain_values_need_a_store_that_encrypts(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let json = br#"{"password":"payload-of-the-suite"}"#;
    let plain = |bytes: &[u8]| Sealed::provider_managed(Plaintext::new(bytes.to_vec()));
    if s.capability.encrypts_at_rest {
        s.put(Put {
            payload: plain(json),
            ..s.version(&name, 1)
        })
        .await
        .unwrap();
        let record = s.get(&name).await.unwrap();
        let value = record
            .payload
            .as_provider_managed()
            .expect("a provider-managed value was stored");
        assert!(value.expose() == json, "the value came back changed");
        let longer = vec![b' '; s.capability.max_sealed_bytes + 1];
        s.put(Put {
            payload: plain(&longer),
            ..s.version(&name, 2)
        })
        .await
        .over_limit();
        s.put(s.version(&name, 2)).await.unwrap();
        whole(&s.get(&name).await.unwrap());
        return;
    }
    s.put(Put {
        payload: plain(json),
        ..s.version(&name, 1)
    })
    .await
    .unsupported();
    s.head(&name).await.absent();
    s.fill(&name, 1).await;
    s.put(Put {
        payload: plain(json),
        ..s.version(&name, 2)
    })
    .await
    .unsupported();
    if s.capability.rewrite {
        let expected = payload(&name, 1);
        let rewrite = Rewrite {
            id: name.clone(),
            version: number(1),
            expected,
            payload: plain(json),
        };
        s.rewrite(rewrite).await.unsupported();
    }
    assert_eq!(s.kept(&name).await, [1]);
    whole(&s.get(&name).await.unwrap());
}

/// The longest names there are, in all three places at once, and the most tags.
pub async fn the_longest_names_and_most_tags_are_kept(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let long = |first: &str| format!("{first}{}", "x".repeat(limits::NAME_BYTES - first.len()));
    let name = id(&format!("{}:{}:{}", long("t"), long("s"), long("n")));
    let near = id(&format!(
        "{}:{}:{}y",
        long("t"),
        long("s"),
        &long("n")[..limits::NAME_BYTES - 1]
    ));
    let values: Vec<(String, String)> = (0..limits::TAGS)
        .map(|at| {
            (
                format!("key-{at:02}"),
                "v".repeat(limits::TAGS_BYTES / limits::TAGS - 6),
            )
        })
        .collect();
    let most = tags(values.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    assert_eq!(most.len(), limits::TAGS);
    s.put(Put {
        tags: Some(most.clone()),
        ..s.version(&name, 1)
    })
    .await
    .unwrap();
    s.fill(&near, 1).await;
    assert_eq!(s.head(&name).await.unwrap().tags, most);
    assert!(s.head(&near).await.unwrap().tags.is_empty());
    whole(&s.get(&name).await.unwrap());
    whole(&s.get(&near).await.unwrap());
    let longest_key = "k".repeat(limits::TAG_KEY_BYTES);
    let longest_value = "v".repeat(limits::TAG_VALUE_BYTES);
    let longest = tags([(longest_key.as_str(), longest_value.as_str())]);
    s.put(Put {
        tags: Some(longest.clone()),
        ..s.version(&name, 2)
    })
    .await
    .unwrap();
    assert_eq!(s.head(&name).await.unwrap().tags, longest);
}
