//! Changes in place: tags, phase, times and payloads.

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialRef, Op, Phase, Put, RecordHead, Rewrite, Scan, Sealed, Tags, Update,
};

use super::Fixture;
use super::subject::{Subject, bytes, change, envelope, id, number, payload, tags, whole};
use super::verdict::Refused as _;

/// An update changes tags or phase, each alone or both, and nothing else. Without the capability it is `Unsupported`.
pub async fn an_update_changes_only_what_it_names(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 2).await;
    let mut expected = s.head(&name).await.unwrap();
    let kept = s.kept(&name).await;
    let steps = [
        (Some(tags([("team", "a"), ("env", "prod")])), None),
        (None, Some(Phase::Rotating)),
        (Some(tags([("team", "b")])), Some(Phase::Active)),
        (Some(Tags::new()), None),
        (None, None),
    ];
    for (tags, phase) in steps {
        s.tick();
        let update = Update {
            tags: tags.clone(),
            phase,
            ..change(&name)
        };
        if !s.capability.update {
            s.update(update).await.unsupported();
            assert_eq!(s.head(&name).await.unwrap(), expected);
            continue;
        }
        let told = s.update(update).await.unwrap();
        expected.tags = tags.unwrap_or(expected.tags);
        expected.phase = phase.unwrap_or(expected.phase);
        expected.updated_at = s.ctx().now();
        assert_eq!(told, expected);
        assert_eq!(s.head(&name).await.unwrap(), expected);
    }
    assert_eq!(s.kept(&name).await, kept);
    whole(&s.get(&name).await.unwrap());
}

/// Tag keys and values come back as they were written: not trimmed, folded, normalised, quoted or cut.
pub async fn tags_are_kept_as_written(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let written = tags([
        ("empty", ""),
        ("space", "  a  b  "),
        ("quotes", "'a' \"b\" `c` \\ $d ${e} %s {{f}}"),
        ("like", "100%_*?[a-z]"),
        ("composed", "caf\u{e9}"),
        ("decomposed", "cafe\u{301}"),
        ("emoji", "\u{1f511}\u{1f3fd} \u{10fffd}"),
        ("right-to-left", "\u{5d0}\u{5d1}"),
        ("markup", "<a href='x'>&amp;</a>, ; = : / \\n \u{fffd}"),
        ("null", "null"),
        ("number", "1e400"),
        ("a/b.c_d-e", "1"),
        ("a/b.c-d-e", "2"),
    ]);
    s.put(Put {
        tags: Some(written.clone()),
        ..s.version(&name, 1)
    })
    .await
    .unwrap();
    assert_eq!(s.head(&name).await.unwrap().tags, written);
    assert_eq!(s.get(&name).await.unwrap().head.tags, written);
    if s.capability.update {
        s.update(Update {
            tags: Some(Tags::new()),
            ..change(&name)
        })
        .await
        .unwrap();
        assert!(s.head(&name).await.unwrap().tags.is_empty());
        s.update(Update {
            tags: Some(written.clone()),
            ..change(&name)
        })
        .await
        .unwrap();
        assert_eq!(s.head(&name).await.unwrap().tags, written);
    }
}

/// Times come back to the microsecond, in the years 1 to 9999, before 1970 too.
pub async fn times_are_kept_to_the_microsecond(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let times = [
        "0001-01-01T00:00:00.000001Z",
        "1582-10-14T12:00:00.5Z",
        "1901-12-13T20:45:51.999999Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "2026-06-30T23:59:59.123456Z",
        "2038-01-19T03:14:08.000001Z",
        "2262-04-11T23:47:16.854776Z",
        "9999-12-31T23:59:59.999999Z",
    ];
    for (at, text) in times.into_iter().enumerate() {
        let time = DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc);
        let name = id(&format!("time-{at}"));
        let mut put = s.version(&name, 1);
        put.version.created_at = time;
        put.version.expires_at = Some(time);
        s.put(put.clone()).await.unwrap();
        let head = s.head(&name).await.unwrap();
        assert_eq!(head.version, put.version, "{text}");
        assert_eq!(head.created_at, time, "{text}");
        assert_eq!(s.get(&name).await.unwrap().head, head);
    }
}

/// `updated_at` is the request's time of every change but a rewrite; `created_at` that of the first version.
pub async fn changes_are_dated_by_the_clock_of_the_request(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let now = || s.ctx().now();
    let put = s.version(&name, 1);
    let born = put.version.created_at;
    s.tick();
    s.put(put).await.unwrap();
    assert_eq!(dates(&s.head(&name).await.unwrap()), (born, now(), None));
    for version in [2, 3] {
        s.tick();
        s.put(Put {
            keep_versions: 1,
            ..s.version(&name, version)
        })
        .await
        .unwrap();
        assert_eq!(dates(&s.head(&name).await.unwrap()), (born, now(), None));
    }
    if s.capability.update {
        s.tick();
        s.update(Update {
            phase: Some(Phase::Expired),
            ..change(&name)
        })
        .await
        .unwrap();
        assert_eq!(dates(&s.head(&name).await.unwrap()), (born, now(), None));
    }
    if s.capability.soft_delete {
        s.tick();
        s.soft_delete(&name).await.unwrap();
        assert_eq!(dates(&s.head(&name).await.unwrap()), (born, now(), Some(now())));
        s.tick();
        s.restore(&name).await.unwrap();
        assert_eq!(dates(&s.head(&name).await.unwrap()), (born, now(), None));
    }
}

fn dates(head: &RecordHead) -> (DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>) {
    (head.created_at, head.updated_at, head.deleted_at)
}

fn replace(id: &CredentialRef, version: u32, expected: Sealed, payload: Sealed) -> Rewrite<Sealed> {
    Rewrite {
        id: id.clone(),
        version: number(version),
        expected,
        payload,
    }
}

/// A store without `rewrite` refuses it, and `Scan`, and leaves the payload as it is.
async fn unsupported(s: &Subject) -> bool {
    if s.capability.rewrite {
        return false;
    }
    let name = id("db");
    s.fill(&name, 1).await;
    s.rewrite(replace(&name, 1, payload(&name, 1), envelope(b"new")))
        .await
        .unsupported();
    s.call(Op::Scan(Scan {
        after: None,
        limit: 10,
    }))
    .await
    .unsupported();
    whole(&s.get(&name).await.unwrap());
    true
}

/// A rewrite replaces the payload of one version and nothing else: no new version, no new date.
pub async fn a_rewrite_changes_only_the_payload(fixture: Fixture) {
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
    let (head, kept) = (s.head(&name).await.unwrap(), s.kept(&name).await);
    s.tick();
    for &version in &kept {
        let new = envelope(format!("rewritten {version}, and longer than it was before").as_bytes());
        s.rewrite(replace(&name, version, payload(&name, version), new.clone()))
            .await
            .unwrap();
        let record = s.get_version(&name, version).await.unwrap();
        assert_eq!(Some(&*bytes(&record)), new.as_envelope());
        for &other in kept.iter().filter(|other| **other < version) {
            whole(&s.get_version(&name, other).await.unwrap());
        }
    }
    assert_eq!(s.head(&name).await.unwrap(), head);
    assert_eq!(s.kept(&name).await, kept);
    s.put(s.version(&name, 4)).await.unwrap();
}

/// A rewrite of other bytes than those expected, even of a prefix of them, is a `VersionConflict`.
pub async fn a_rewrite_needs_the_exact_old_bytes(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 2).await;
    let before = s.picture(&name).await;
    let old = payload(&name, 2).as_envelope().unwrap().to_vec();
    let mut flipped = old.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let near = [
        flipped,
        old[..old.len() - 1].to_vec(),
        [&*old, b"\0"].concat(),
        old[..8].to_vec(),
    ];
    for expected in near.into_iter().map(|bytes| Sealed::envelope(bytes).unwrap()) {
        s.rewrite(replace(&name, 2, expected, envelope(b"new")))
            .await
            .conflict();
    }
    s.rewrite(replace(&name, 2, payload(&name, 1), envelope(b"new")))
        .await
        .conflict();
    s.rewrite(replace(&name, 3, payload(&name, 3), envelope(b"new")))
        .await
        .version_absent();
    s.rewrite(replace(&id("other"), 2, payload(&name, 2), envelope(b"new")))
        .await
        .absent();
    assert_eq!(s.picture(&name).await, before);
    s.rewrite(replace(&name, 2, payload(&name, 2), envelope(b"new")))
        .await
        .unwrap();
    s.rewrite(replace(&name, 2, payload(&name, 2), envelope(b"newer")))
        .await
        .conflict();
}

/// A deleted credential is rewritten like a live one, stays deleted, and has the new payload when it is restored.
pub async fn a_rewrite_reaches_deleted_credentials(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    let name = id("db");
    s.fill(&name, 1).await;
    if s.capability.soft_delete {
        s.soft_delete(&name).await.unwrap();
        let head = s.head(&name).await.unwrap();
        s.rewrite(replace(&name, 1, payload(&name, 1), envelope(b"new")))
            .await
            .unwrap();
        assert_eq!(s.head(&name).await.unwrap(), head);
        s.get(&name).await.absent();
        s.restore(&name).await.unwrap();
        assert_eq!(
            Some(&*bytes(&s.get(&name).await.unwrap())),
            envelope(b"new").as_envelope()
        );
    }
    s.purge(&name).await.unwrap();
    s.rewrite(replace(&name, 1, envelope(b"new"), envelope(b"newer")))
        .await
        .absent();
}

/// A scan reads every kept version of every tenant once, deleted ones too, whatever the size of its pages.
pub async fn a_scan_reads_every_payload_once(fixture: Fixture) {
    let s = Subject::of(&fixture);
    if unsupported(&s).await {
        return;
    }
    assert!(s.scan_all(10).await.is_empty());
    let mut expected = Vec::new();
    for name in [
        "a:s:db",
        "a:s-b:db",
        "b:s:a",
        "b:s:b",
        "c:s:deleted",
        "c:s:purged",
    ] {
        let name = id(name);
        s.fill(&name, 3).await;
        let mut kept = s.kept(&name).await;
        kept.reverse();
        match name.name().as_str() {
            "purged" => {
                s.purge(&name).await.unwrap();
                continue;
            }
            "deleted" if s.capability.soft_delete => s.soft_delete(&name).await.unwrap(),
            _ => {}
        }
        expected.extend(kept.into_iter().map(|version| (name.clone(), version)));
    }
    for limit in [1, 2, 5, expected.len(), expected.len() + 1, 0, usize::MAX] {
        let all = s.scan_all(limit).await;
        all.iter().for_each(whole);
        let found: Vec<_> = all
            .iter()
            .map(|record| (record.head.id.clone(), record.head.version.version.get()))
            .collect();
        assert_eq!(found, expected, "by pages of {limit}");
        for record in all {
            assert_eq!(
                record.head.deleted_at.is_some(),
                s.get(&record.head.id).await.is_err()
            );
        }
    }
}
