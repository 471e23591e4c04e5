//! Whose a credential is, who it is shared with, and what others learn of it.

use nebula_credential::access::{AccessPolicy, Permissions, Sharing};
use nebula_credential::prelude::*;
use nebula_credential::{Permission, Scope};

use crate::place::{Note, POLICY, Place, SHARED, action, note, user};

const OWNED: &str = r#"
version = 1

[[rules]]
id = "owners"
effect = "allow"
principals = ["owner"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "everybody-stores"
effect = "allow"
principals = ["user:*"]
permissions = ["write"]
tenants = ["*"]
scopes = ["open"]
"#;

#[tokio::test]
async fn what_belongs_to_someone_else_and_what_is_absent_look_the_same() {
    let place = Place::new(OWNED);
    let open = Scope::new("open").unwrap();
    let alice = place.builder().scope(open).build();
    alice.store("theirs", note("one")).await.unwrap();
    alice.get::<Note>("theirs").await.unwrap();
    let closed = alice.with_scope(Scope::default());
    let bob = closed.with_principal(user("bob"));
    let text = |error: CredentialError, name: &str| format!("{error:?} {error}").replace(name, "X");
    place
        .policies
        .replace(AccessPolicy::parse(&OWNED.replace("[\"open\"]", "[\"shut\"]")).unwrap());
    let (theirs, absent) = (alice.with_principal(user("bob")), bob);
    let denied = text(theirs.get::<Note>("theirs").await.unwrap_err(), "open:theirs");
    let missing = text(absent.get::<Note>("absent").await.unwrap_err(), "global:absent");
    assert_eq!(denied, missing);
    assert!(denied.contains("NotFound"), "{denied}");
    assert!(!theirs.exists("theirs").await.unwrap());
    assert!(theirs.list().await.unwrap().is_empty());
    assert_eq!(alice.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn to_use_is_not_to_read() {
    let place = Place::new(POLICY);
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let context = alice.context(action("send")).allow("n").unwrap();
    assert_eq!(context.get_credential::<Note>("n").await.unwrap().text, "one");
    assert_eq!(place.last().permission.as_deref(), Some("use"));
    let shown = alice.with_principal(action("send")).get::<Note>("n").await;
    assert!(
        shown.unwrap_err().is_access_denied(),
        "what may be used may be known of"
    );
    // What was not declared is not given, whatever the policy says.
    let undeclared = alice.context(action("send"));
    for name in ["n", "absent"] {
        let calls = place.calls();
        let error = undeclared.get_credential::<Note>(name).await.unwrap_err();
        assert!(error.is_access_denied(), "{error}");
        assert_eq!(place.calls(), calls);
        let record = place.last();
        assert_eq!(
            (record.event.as_str(), record.allowed, record.rule.as_deref()),
            ("scope_violation", Some(false), Some("allow-list"))
        );
        assert_eq!(
            (
                record.principal.as_deref(),
                record.name.as_deref(),
                record.permission.as_deref()
            ),
            (Some("action:send"), Some(name), Some("use"))
        );
    }
}

#[tokio::test]
async fn a_principal_whose_permission_is_revoked_gets_no_cached_value() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    assert!(bob.get::<Note>("n").await.unwrap_err().is_not_found());

    let grant = Sharing::Grant {
        to: user("bob"),
        permissions: Permissions::only(Permission::Read),
        until: None,
    };
    alice.share("n", &grant).await.unwrap();
    assert_eq!(bob.get::<Note>("n").await.unwrap().text, "one");
    assert_eq!(bob.get::<Note>("n").await.unwrap().text, "one");
    alice
        .share("n", &Sharing::Revoke { from: user("bob") })
        .await
        .unwrap();
    assert!(bob.get::<Note>("n").await.unwrap_err().is_not_found());

    // A new policy empties the cache for everybody.
    alice.get::<Note>("n").await.unwrap();
    let reads = place.faults.count("get");
    place.policies.replace(AccessPolicy::parse(POLICY).unwrap());
    alice.get::<Note>("n").await.unwrap();
    assert_eq!(place.faults.count("get"), reads + 1);
}

#[tokio::test]
async fn nobody_grants_what_they_lack_and_the_owner_stays() {
    let place = Place::new(&format!("{POLICY}{SHARED}"));
    let alice = place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    assert_eq!(alice.sharing("n").await.unwrap().0, Some(user("alice")));
    let grant = |to: &str, permissions: &[Permission]| Sharing::Grant {
        to: user(to),
        permissions: permissions.iter().copied().collect(),
        until: None,
    };
    alice
        .share("n", &grant("bob", &[Permission::Read]))
        .await
        .unwrap();
    let bob = alice.with_principal(user("bob"));
    let error = bob
        .share("n", &grant("carol", &[Permission::Delete]))
        .await
        .unwrap_err();
    assert!(error.is_access_denied(), "{error}");
    let tags = Tags::from_pairs([("nebula.access/owner", "user:bob")]).unwrap();
    assert!(alice.set_tags("n", tags).await.unwrap_err().is_access_denied());
    assert_eq!(alice.sharing("n").await.unwrap().0, Some(user("alice")));
}
