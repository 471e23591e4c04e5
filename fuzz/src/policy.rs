//! Access policies: any text is a policy or is refused by its line, and a policy decides without the record only what the
//! record cannot change.

use std::sync::{Arc, LazyLock};

use chrono::DateTime;
use nebula_credential_access::{AccessPolicy, Inquiry, Known, Verdict};
use nebula_credential_core::{
    Circumstances, CredentialName, CredentialRef, OpContext, Permission, Phase, Principal, RecordHead, Scope,
    Tags, TenantId, Version, VersionHead,
};

/// Reads `data` as a policy, and asks it.
pub fn policy_parse(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let policy = match AccessPolicy::parse(text) {
        Ok(policy) => policy,
        Err(refusal) => {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&refusal.line()), "{refusal}");
            assert!(!refusal.message().is_empty());
            // What is quoted is one value, and the words around it.
            assert!(refusal.message().len() <= text.len() * 6 + 1024, "{refusal}");
            return;
        }
    };
    let heads = &*HEADS;
    for ctx in &*CONTEXTS {
        for head in heads {
            for permission in Permission::ALL.into_iter().map(Some).chain([None]) {
                ask(&policy, ctx, head, permission);
            }
        }
    }
}

fn ask(policy: &AccessPolicy, ctx: &OpContext, head: &RecordHead, permission: Option<Permission>) {
    let inquiry = |known| Inquiry {
        ctx,
        id: &head.id,
        permission,
        known,
    };
    let blind = policy.decide(inquiry(Known::Nothing));
    let new = policy.decide(inquiry(Known::New(None)));
    let seen = policy.decide(inquiry(Known::Head(head)));
    for known in [&new, &seen] {
        assert_ne!(*known, Verdict::DependsOnRecord);
        if blind != Verdict::DependsOnRecord {
            assert_eq!(blind.is_allowed(), known.is_allowed());
        }
    }
    let explanation = policy.explain(inquiry(Known::Head(head)));
    assert_eq!(explanation.verdict, seen);
    if let Verdict::Allowed { rule, .. } = &seen {
        let standing = explanation.rules.iter().find(|standing| *standing.id == **rule);
        assert!(standing.is_some_and(|standing| standing.allows && standing.missing.is_empty()));
    }
    if permission.is_some() && !seen.is_allowed() {
        let denies = explanation
            .rules
            .iter()
            .any(|standing| !standing.allows && standing.missing.is_empty());
        let allows = explanation
            .rules
            .iter()
            .any(|standing| standing.allows && standing.missing.is_empty());
        assert!(denies || !allows, "{explanation}");
    }
}

fn name(text: &str) -> CredentialName {
    CredentialName::new(text).unwrap()
}

static CONTEXTS: LazyLock<Vec<OpContext>> = LazyLock::new(|| {
    let clock = Arc::new(Still);
    let mut told = Circumstances::default();
    told.workflow = Some(name("billing"));
    told.user = Some(name("alice"));
    told.environment = Some("production".into());
    told.address = Some([10, 1, 2, 3].into());
    told.mfa = true;
    let full = OpContext {
        purpose: Some("incident 7".into()),
        circumstances: Some(Arc::new(told)),
        ..OpContext::new(Principal::User(name("alice")), clock.clone())
    };
    vec![full, OpContext::new(Principal::Workflow(name("billing")), clock)]
});

static HEADS: LazyLock<Vec<RecordHead>> = LazyLock::new(|| {
    let now = DateTime::UNIX_EPOCH;
    let tags: [&[(&str, &str)]; 2] = [
        &[("nebula.access/owner", "user:alice"), ("team", "payments")],
        &[(
            "nebula.access/grant-1",
            "workflow:billing use by=user:alice at=1970-01-01T00:00:00Z",
        )],
    ];
    let head = |tags: &[(&str, &str)]| RecordHead {
        id: CredentialRef::new(
            TenantId::new("acme").unwrap(),
            Scope::new("workflow/billing").unwrap(),
            name("stripe/live"),
        ),
        version: VersionHead {
            version: Version::FIRST,
            credential_type: "api_key".into(),
            schema_version: 1,
            created_at: now,
            expires_at: None,
        },
        latest: Version::FIRST,
        phase: Phase::Active,
        created_at: now,
        updated_at: now,
        deleted_at: None,
        tags: Tags::from_pairs(tags.iter().copied()).unwrap(),
    };
    tags.into_iter().map(head).collect()
});

/// Half a second after 1970 began, always.
struct Still;

impl nebula_credential_core::Clock for Still {
    fn now(&self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_millis(500).unwrap()
    }
}
