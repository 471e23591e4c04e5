//! What a reader is told.

use nebula_credential_core::{
    Delete, DeleteMode, Get, List, Op, Precondition, Put, Rewrite, Selector, limits,
};

use super::Fixture;
use super::subject::{Subject, bytes, change, envelope, id, number, payload, removal, tags, whole};
use super::verdict::Refused as _;

/// Payloads come back byte for byte: none, one, all 256 values, text that means something elsewhere, many.
pub async fn a_value_is_read_back_byte_for_byte(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies: [&[u8]; 8] = [
        b"",
        b"\0",
        &every_byte,
        b"\r\n\x1a\n\x89NBC\r\n\x1a\n",
        "'; DROP TABLE x; -- \u{fffd}\u{10ffff}".as_bytes(),
        &[0xff; 63],
        b"{\"json\": [null]}\n",
        &[0x0a; 900],
    ];
    for (at, body) in bodies.into_iter().enumerate() {
        let name = id(&format!("bytes-{at}"));
        let put = Put {
            payload: envelope(body),
            ..s.version(&name, 1)
        };
        s.put(put).await.unwrap();
        let expected = envelope(body);
        let record = s.get(&name).await.unwrap();
        assert_eq!(record.payload.as_envelope(), expected.as_envelope());
    }
}

/// Every operation on what was never stored is `NotFound`, and leaves nothing behind.
pub async fn what_was_never_stored_is_not_found(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let nobody = id("nobody");
    s.get(&nobody).await.absent();
    s.get_version(&nobody, 1).await.absent();
    s.head(&nobody).await.absent();
    s.head_of(&nobody, Selector::Exact(number(1))).await.absent();
    s.purge(&nobody).await.absent();
    if s.capability.versions {
        s.versions(&nobody).await.absent();
    }
    if s.capability.update {
        s.update(change(&nobody)).await.absent();
    }
    if s.capability.rewrite {
        let (expected, new) = (payload(&nobody, 1), payload(&nobody, 2));
        let rewrite = Rewrite {
            id: nobody.clone(),
            version: number(1),
            expected,
            payload: new,
        };
        s.rewrite(rewrite).await.absent();
    }
    if s.capability.soft_delete {
        s.soft_delete(&nobody).await.absent();
        s.restore(&nobody).await.absent();
    }
    s.head(&nobody).await.absent();
    let all = List {
        include_deleted: true,
        ..List::of(nobody.tenant().clone())
    };
    assert!(s.list_all(all).await.is_empty());
    s.put(s.version(&nobody, 1)).await.unwrap();
}

/// The answer to a `Put`, `Head`, the head of a `Get`, `List` and `Versions` tell the same.
pub async fn a_head_says_the_same_everywhere(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("billing:db");
    for version in 1..=3 {
        s.tick();
        let put = Put {
            tags: Some(tags([("team", "a")])),
            ..s.version(&name, version)
        };
        let told = s.put(put.clone()).await.unwrap();
        assert_eq!(told.version, put.version);
        assert_eq!(told.latest, put.version.version);
        assert_eq!((told.phase, &told.tags), (put.phase, &tags([("team", "a")])));
        assert_eq!(told.deleted_at, None);
        assert_eq!(s.head(&name).await.unwrap(), told);
        assert_eq!(s.get(&name).await.unwrap().head, told);
        assert_eq!(
            s.head_of(&name, Selector::Exact(number(version))).await.unwrap(),
            told
        );
        let listed = s.list_all(List::of(name.tenant().clone())).await;
        assert_eq!(listed, std::slice::from_ref(&told));
        if s.capability.versions {
            assert_eq!(s.versions(&name).await.unwrap().first(), Some(&told.version));
        }
    }
}

/// Any kept version is read by its number, with its own payload and head; the rest of the head is the credential's.
pub async fn an_exact_version_is_read(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 4).await;
    let latest = s.head(&name).await.unwrap();
    for version in s.kept(&name).await {
        let record = s.get_version(&name, version).await.unwrap();
        whole(&record);
        assert_eq!(record.head.version.version.get(), version);
        let head = s.head_of(&name, Selector::Exact(number(version))).await.unwrap();
        assert_eq!(head, record.head);
        assert_eq!(
            (head.latest, head.phase, head.created_at, head.updated_at),
            (latest.latest, latest.phase, latest.created_at, latest.updated_at)
        );
    }
    whole(&s.get(&name).await.unwrap());
}

/// A version that is not kept is `VersionNotFound`, not `NotFound` and never another version.
pub async fn a_missing_version_is_told_from_a_missing_credential(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 2).await;
    for version in [3, 4, u32::MAX] {
        s.get_version(&name, version).await.version_absent();
        s.head_of(&name, Selector::Exact(number(version)))
            .await
            .version_absent();
    }
    s.put(Put {
        keep_versions: 1,
        ..s.version(&name, 3)
    })
    .await
    .unwrap();
    s.get_version(&name, 1).await.version_absent();
    s.head_of(&name, Selector::Exact(number(1)))
        .await
        .version_absent();
}

/// `Versions` tells every kept version once, newest first. Without the capability it is `Unsupported`.
pub async fn versions_come_newest_first(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    s.fill(&name, 1).await;
    if !s.capability.versions {
        s.versions(&name).await.unsupported();
        s.put(s.version(&name, 2)).await.unwrap();
        assert_eq!(s.kept(&name).await, [2]);
        return;
    }
    assert_eq!(s.kept(&name).await, [1]);
    for version in 2..=12 {
        s.put(Put {
            keep_versions: limits::VERSIONS_MAX,
            ..s.version(&name, version)
        })
        .await
        .unwrap();
    }
    let most = s.capability.max_versions;
    let expected: Vec<u32> = (1..=12).rev().take(most as usize).collect();
    assert_eq!(s.kept(&name).await, expected);
}

/// Type, schema, creation and expiry belong to the version, not to the credential.
pub async fn each_version_keeps_its_own_description(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let name = id("db");
    let mut told = Vec::new();
    for version in 1..=3u32 {
        s.tick();
        let mut put = s.version(&name, version);
        put.version.credential_type = format!("kind-{version}").into();
        put.version.schema_version = [1, 7, u32::MAX][version as usize % 3];
        put.version.expires_at = (version != 2).then_some(put.version.created_at);
        told.insert(0, put.version.clone());
        s.put(put).await.unwrap();
    }
    for version in s.kept(&name).await {
        let head = s
            .head_of(&name, Selector::Exact(number(version)))
            .await
            .unwrap()
            .version;
        assert_eq!(Some(&head), told.iter().find(|told| told.version == head.version));
    }
    if s.capability.versions {
        let versions = s.versions(&name).await.unwrap();
        assert!(told.starts_with(&versions), "{versions:?}");
    }
}

/// A request whose deadline has passed is refused, and nothing is done.
pub async fn nothing_is_done_after_the_deadline(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let (name, other) = (id("db"), id("other"));
    s.fill(&name, 1).await;
    let before = s.picture(&name).await;
    let select = || Get {
        id: name.clone(),
        version: Selector::Latest,
    };
    let ops = [
        Op::Get(select()),
        Op::Head(select()),
        Op::Put(s.version(&name, 2)),
        Op::Put(s.version(&other, 1)),
        Op::Delete(removal(&name, DeleteMode::Soft)),
        Op::Delete(Delete {
            precondition: Precondition::None,
            ..removal(&name, DeleteMode::Purge)
        }),
        Op::Update(change(&name)),
        Op::Rewrite(Rewrite {
            id: name.clone(),
            version: number(1),
            expected: payload(&name, 1),
            payload: payload(&name, 9),
        }),
        Op::List(List::of(name.tenant().clone())),
        Op::Versions(name.clone()),
    ];
    for op in ops {
        let mut ctx = s.ctx();
        ctx.deadline = Some(ctx.now());
        let what = op.name();
        let error = s.ask(ctx, op).await.expect_err(what);
        assert_eq!(error.kind().as_str(), "deadline_exceeded", "{what}: {error}");
    }
    assert_eq!(s.picture(&name).await, before);
    s.head(&other).await.absent();
    let mut ctx = s.ctx();
    ctx.deadline = Some(ctx.now() + std::time::Duration::from_secs(3600));
    let record = s
        .ask(ctx, Op::Get(select()))
        .await
        .unwrap()
        .into_record()
        .unwrap();
    assert_eq!(Some(&*bytes(&record)), payload(&name, 1).as_envelope());
}

/// The capability and the home never change, and the limits in it are lawful.
pub async fn the_capability_is_constant_and_lawful(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let home = s.store.home();
    s.fill(&id("db"), 2).await;
    s.purge(&id("db")).await.unwrap();
    assert_eq!(s.store.capability(), s.capability);
    assert_eq!(s.store.clone().capability(), s.capability);
    assert_eq!(s.store.home(), home);
    let capability = s.capability;
    assert!(
        capability.max_sealed_bytes <= limits::SEALED_BYTES_MAX,
        "a store may allow less, never more"
    );
    assert!(capability.max_sealed_bytes >= 1024, "an envelope needs room");
    assert!((1..=limits::VERSIONS_MAX).contains(&capability.max_versions));
    assert_eq!(
        capability.versions,
        capability.max_versions > 1,
        "`versions` is keeping more than one"
    );
}
