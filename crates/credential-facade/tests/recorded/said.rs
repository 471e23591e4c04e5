//! What a record says of what was asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nebula_credential::access::{AccessLayer, Permissions, PolicyFile, Reload, Sharing};
use nebula_credential::prelude::*;
use nebula_credential::{Circumstances, ErrorKind, Permission};

use crate::{POLICY, Place, name, user, value};

#[tokio::test]
async fn a_revocation_is_recorded_as_one_and_so_is_who_wanted_it_in_vain() {
    let place = Place::new();
    let alice = place.governed();
    alice.store("db", value()).await.unwrap();
    let eve = alice.with_principal(user("eve"));
    eve.revoke("db").await.unwrap_err();
    let last = place.last();
    assert_eq!(
        (
            last.event.as_str(),
            last.operation.as_deref(),
            last.outcome.as_deref()
        ),
        ("permission_denied", Some("update"), Some("access_denied"))
    );

    alice.revoke("db").await.unwrap();
    let told = |stage: &str| (stage.to_owned(), "revoked".to_owned(), None);
    assert_eq!(place.change(), [told("intent"), told("outcome")]);
    assert_eq!(place.last().outcome.as_deref(), Some("ok"));
    assert!(place.is_intact());
}

#[tokio::test]
async fn a_change_of_grants_says_who_got_what_until_when() {
    let place = Place::new();
    let alice = place.governed();
    let told = |detail: &str| {
        ["intent", "outcome"].map(|stage| (stage.to_owned(), "shared".to_owned(), Some(detail.to_owned())))
    };
    let grant = |to: &str, permission: Permission, until: Option<&str>| Sharing::Grant {
        to: user(to),
        permissions: Permissions::only(permission),
        until: until.map(|until| until.parse().unwrap()),
    };
    // As it is known without a policy, too.
    let nobody = place.ungoverned(place.log().build()).build();
    nobody.store("db", value()).await.unwrap();
    let adopt = Sharing::Adopt { owner: user("carol") };
    nobody.share("db", &adopt).await.unwrap();
    assert_eq!(place.change(), told("owner user:carol"));

    let until = "2999-01-01T00:00:00Z";
    alice
        .share("db", &grant("bob", Permission::Read, Some(until)))
        .await
        .unwrap();
    assert_eq!(
        place.change(),
        told(&format!("grant read to user:bob until {until}"))
    );
    alice
        .share("db", &grant("dave", Permission::Use, None))
        .await
        .unwrap();
    assert_eq!(place.change(), told("grant use to user:dave"));
    alice
        .share("db", &grant("bob", Permission::Use, None))
        .await
        .unwrap();
    assert_eq!(
        place.change(),
        told(&format!(
            "grant use to user:bob; end read to user:bob until {until}"
        ))
    );
    alice
        .share("db", &Sharing::Revoke { from: user("bob") })
        .await
        .unwrap();
    assert_eq!(place.change(), told("end use to user:bob"));

    // Who may not is recorded with what they wanted.
    let oncall = alice.with_principal(user("oncall")).with_purpose("INC-7");
    let refused = oncall.share("db", &grant("eve", Permission::Read, None)).await;
    refused.unwrap_err();
    let [_, (_, event, detail)] = place.change();
    assert_eq!(
        (event.as_str(), detail.as_deref()),
        ("permission_denied", Some("grant read to user:eve"))
    );
    assert!(place.is_intact());
}

#[tokio::test]
async fn what_an_emergency_allowed_and_what_was_not_declared_are_events_of_their_own() {
    let place = Place::new();
    let alice = place.governed();
    alice.store("db", value()).await.unwrap();
    let oncall = alice.with_principal(user("oncall")).with_purpose("INC-7");
    let event = || {
        let last = place.last();
        (
            last.event,
            last.operation.unwrap(),
            last.rule.unwrap(),
            last.outcome.unwrap(),
        )
    };
    let is = |found: (String, String, String, String), expected: [&str; 4]| {
        assert_eq!([found.0, found.1, found.2, found.3], expected);
    };
    oncall.get::<BasicCredential>("db").await.unwrap();
    is(
        event(),
        ["emergency_access", "get", "emergency:break-glass", "ok"],
    );
    oncall.store("db", value()).await.unwrap();
    is(
        event(),
        ["emergency_access", "put", "emergency:break-glass", "ok"],
    );
    assert_eq!(place.change()[0].1, "updated");
    let context = alice.context(Principal::Action(name("send")));
    context.get_credential::<BasicCredential>("db").await.unwrap_err();
    is(event(), ["scope_violation", "get", "allow-list", "access_denied"]);
    alice.get::<BasicCredential>("db").await.unwrap();
    assert_eq!(place.last().event, "accessed");
}

#[tokio::test]
async fn a_policy_that_changes_while_the_program_runs_is_on_record() {
    let place = Place::new();
    let path = place.path("policy.toml");
    fs::write(&path, POLICY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut file = PolicyFile::open(&path).unwrap();
    let alice = place
        .ungoverned(place.log().build())
        .access(AccessLayer::new(file.policies()))
        .build();
    alice.store("db", value()).await.unwrap();
    let before = place.entries().len();
    alice.record_reload(&file.reload()).unwrap();
    assert_eq!(place.entries().len(), before, "nothing changed");

    fs::write(&path, POLICY.replace("INC-", "SEV-")).unwrap();
    alice.record_reload(&file.reload()).unwrap();
    let last = place.last();
    assert_eq!(
        (last.event.as_str(), last.outcome.as_deref()),
        ("policy_changed", Some("ok"))
    );
    assert_eq!(last.principal.as_deref(), Some("user:alice"));

    fs::write(&path, "version = 2").unwrap();
    let refused = file.reload();
    assert!(matches!(refused, Reload::Refused(_)));
    alice.record_reload(&refused).unwrap();
    let last = place.last();
    assert_eq!(
        (last.event.as_str(), last.outcome.as_deref()),
        ("policy_changed", Some("invalid_input"))
    );
    assert!(place.is_intact());
}

#[tokio::test]
async fn the_circumstances_that_were_told_are_recorded() {
    let place = Place::new();
    let alice = place.governed();
    alice.store("db", value()).await.unwrap();
    let mut told = Circumstances::default();
    told.workflow = Some(name("invoices"));
    told.node = Some(name("fetch"));
    told.user = Some(name("bob"));
    told.environment = Some("pro\u{1b}duction".into());
    told.address = Some("2001:db8::7".parse().unwrap());
    told.mfa = true;
    let somewhere = alice.with_circumstances(told.clone());
    somewhere.get::<BasicCredential>("db").await.unwrap();
    let last = place.last();
    assert_eq!(last.workflow.as_deref(), Some("invoices"));
    assert_eq!(last.node.as_deref(), Some("fetch"));
    assert_eq!(last.user.as_deref(), Some("bob"));
    assert_eq!(last.environment.as_deref(), Some("pro\u{1b}duction"));
    assert_eq!(last.address.as_deref(), Some("2001:db8::7"));
    assert_eq!(last.mfa, Some(true));
    // So are those of work on the keys.
    somewhere.rotate_key().await.unwrap();
    assert_eq!(place.last().workflow.as_deref(), Some("invoices"));
    // What was not told is not there.
    alice.get::<BasicCredential>("db").await.unwrap();
    let last = place.last();
    assert_eq!((last.workflow, last.environment, last.mfa), (None, None, None));

    told.environment = Some("x".repeat(129).into());
    let error = alice
        .with_circumstances(told)
        .get::<BasicCredential>("db")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(place.is_intact());
}
