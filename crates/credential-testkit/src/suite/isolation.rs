//! Tenants, scopes and names keep to themselves.

use nebula_credential_core::{
    CredentialError, CredentialRef, DeleteMode, Get, List, Op, Restore, Rewrite, Sealed, Selector, Update,
};

use super::Fixture;
use super::subject::{Subject, bytes, change, envelope, id, number, payload, removal, tags, whole};

/// Every question that could tell of `id`, or change it.
fn questions(id: &CredentialRef, stored: &CredentialRef) -> Vec<Op<Sealed>> {
    let select = |version| Get {
        id: id.clone(),
        version,
    };
    vec![
        Op::Get(select(Selector::Latest)),
        Op::Get(select(Selector::Exact(number(1)))),
        Op::Get(select(Selector::Exact(number(9)))),
        Op::Head(select(Selector::Latest)),
        Op::Head(select(Selector::Exact(number(2)))),
        Op::Versions(id.clone()),
        Op::Delete(removal(id, DeleteMode::Soft)),
        Op::Delete(removal(id, DeleteMode::Purge)),
        Op::Update(Update {
            tags: Some(tags([("taken", "over")])),
            ..change(id)
        }),
        Op::Restore(Restore { id: id.clone() }),
        Op::Rewrite(Rewrite {
            id: id.clone(),
            version: number(2),
            expected: payload(stored, 2),
            payload: envelope(b"theirs"),
        }),
    ]
}

async fn answers(s: &Subject, id: &CredentialRef, stored: &CredentialRef) -> Vec<CredentialError> {
    let mut errors = Vec::new();
    for op in questions(id, stored) {
        let what = op.name();
        errors.push(s.call(op).await.expect_err(what));
    }
    errors
}

/// To one tenant, what another has is absent: the same errors, to the letter, as before it was stored.
pub async fn a_tenant_learns_nothing_of_another(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let (mine, theirs) = (id("acme:global:db"), id("evil:global:db"));
    let before = answers(&s, &theirs, &mine).await;
    s.fill(&mine, 2).await;
    let picture = s.picture(&mine).await;
    assert_eq!(answers(&s, &theirs, &mine).await, before);
    assert_eq!(s.picture(&mine).await, picture);
    let ask = List {
        include_deleted: true,
        ..List::of(theirs.tenant().clone())
    };
    assert!(s.list_all(ask).await.is_empty());
    if s.capability.soft_delete {
        s.soft_delete(&mine).await.unwrap();
        assert_eq!(answers(&s, &theirs, &mine).await, before);
    }
    s.purge(&mine).await.unwrap();
    assert_eq!(answers(&s, &theirs, &mine).await, before);
}

/// The same scope and name in two tenants are two credentials: each change is to one of them.
pub async fn tenants_do_not_share_a_name(fixture: Fixture) {
    let s = Subject::of(&fixture);
    separate(&s, &id("acme:global:db"), &id("evil:global:db")).await;
    separate(&s, &id("a:b:c"), &id("b:a:c")).await;
}

/// The same name in two scopes are two credentials; a scope is not a folder that holds others.
pub async fn scopes_do_not_share_a_name(fixture: Fixture) {
    let s = Subject::of(&fixture);
    separate(&s, &id("acme:global:db"), &id("acme:workflow/1:db")).await;
    separate(&s, &id("acme:a:b"), &id("acme:b:a")).await;
}

async fn separate(s: &Subject, one: &CredentialRef, two: &CredentialRef) {
    s.fill(one, 2).await;
    s.fill(two, 1).await;
    let picture = s.picture(one).await;
    if s.capability.update {
        s.update(Update {
            tags: Some(tags([("taken", "over")])),
            ..change(two)
        })
        .await
        .unwrap();
    }
    if s.capability.rewrite {
        let (expected, new) = (payload(two, 1), envelope(b"new"));
        s.rewrite(Rewrite {
            id: two.clone(),
            version: number(1),
            expected,
            payload: new,
        })
        .await
        .unwrap();
    }
    s.put(s.version(two, 2)).await.unwrap();
    whole(&s.get(two).await.unwrap());
    if s.capability.soft_delete {
        s.soft_delete(two).await.unwrap();
    }
    assert_eq!(s.picture(one).await, picture);
    s.purge(two).await.unwrap();
    assert_eq!(s.picture(one).await, picture);
    let listed = s.list_all(List::of(one.tenant().clone())).await;
    assert!(listed.iter().any(|head| head.id == *one));
    assert!(listed.iter().all(|head| head.id != *two));
}

/// Addresses that look alike once they are joined, folded, or made a file name are different credentials.
pub async fn addresses_never_collide(fixture: Fixture) {
    let s = Subject::of(&fixture);
    let alike = [
        "t:a:b/c",
        "t:a/b:c",
        "t/a:b:c",
        "t:a:b.c",
        "t:a:b-c",
        "t:a:b_c",
        "t:a-b:c",
        "t:a.b:c",
        "t-a:b:c",
        "t:a:b--c",
        "t:a:b-2fc",
        "t:a:b-.c",
        "t:con:nul",
        "t:a:lock",
        "t:a:db.json",
        "t:a:db.tmp",
        "t:a:db",
        "t:a:db/1",
        "t:a:db/current",
        "t:a:db.1",
        "t:a:0",
        "t:a:00",
        "t:a:1e0",
        "t:global:global",
        "0:0:0",
    ];
    let ids: Vec<_> = alike.iter().map(|text| id(text)).collect();
    for id in &ids {
        s.fill(id, 1).await;
    }
    for id in &ids {
        let record = s.get(id).await.unwrap();
        whole(&record);
    }
    let mut listed = 0;
    for tenant in ["t", "t/a", "t-a", "0"] {
        listed += s
            .list_all(List::of(id(&format!("{tenant}:a:a")).tenant().clone()))
            .await
            .len();
    }
    assert_eq!(listed, ids.len());
    for (at, id) in ids.iter().enumerate() {
        s.purge(id).await.unwrap();
        if let Some(next) = ids.get(at + 1) {
            assert_eq!(
                Some(&*bytes(&s.get(next).await.unwrap())),
                payload(next, 1).as_envelope()
            );
        }
    }
}
