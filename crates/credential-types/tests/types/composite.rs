//! Composites: typed access, lazy decoding, nesting, what is stored.

use std::sync::Barrier;

use chrono::DateTime;
use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, CustomValue, ErrorKind, ExposeSecret, Plaintext,
    SecretString, decode_credential,
};
use nebula_credential_types::{
    ApiKeyCredential, BasicCredential, BearerCredential, CompositeCredential, SecretTextCredential,
};

use crate::{hides, json, refused, refuses_other_values, stored};

fn github() -> ApiKeyCredential {
    ApiKeyCredential {
        api_key: "ghp_hunter2".to_string(),
        endpoint: "https://api.github.com".to_string(),
    }
}

fn bearer(token: &str, end: i64) -> BearerCredential {
    let mut bearer = BearerCredential::new(token);
    bearer.expires_at = DateTime::from_timestamp(end, 0);
    bearer
}

fn composite() -> CompositeCredential {
    CompositeCredential::new()
        .add("github", github())
        .add("slack", bearer("xoxb-hunter2", 2_000_000_000))
        .add("proxy", BasicCredential::new("alice", "q\"uo\\te\u{1f511}"))
}

#[test]
fn members_are_fetched_by_name_and_type_before_and_after_storage() {
    let added = composite();
    added.validate().unwrap();
    for composite in [&added, &stored(&added), &stored(&stored(&added))] {
        assert_eq!(
            composite.names().collect::<Vec<_>>(),
            ["github", "proxy", "slack"]
        );
        assert_eq!((composite.len(), composite.is_empty()), (3, false));
        assert_eq!(composite.type_of("slack"), Some("bearer"));
        assert_eq!(composite.type_of("other"), None);
        let github: &ApiKeyCredential = composite.get("github").unwrap();
        assert_eq!(github.api_key, "ghp_hunter2");
        let proxy: &BasicCredential = composite.get("proxy").unwrap();
        assert_eq!(proxy.password.expose_secret(), "q\"uo\\te\u{1f511}");
        // Asked for again, the same value is lent.
        assert!(std::ptr::eq(
            proxy,
            composite.get::<BasicCredential>("proxy").unwrap()
        ));
        composite.validate().unwrap();
        assert_eq!(
            json(composite),
            json(&added),
            "decoding a member does not change what is stored"
        );
    }
}

#[test]
fn the_wrong_type_and_the_wrong_name_are_told_apart() {
    for composite in [composite(), stored(&composite())] {
        let error = composite.get::<BearerCredential>("github").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        assert!(
            error.to_string().contains("\"github\" is api_key, not bearer"),
            "{error}"
        );
        let error = composite.get::<BearerCredential>("gitlab").unwrap_err();
        assert!(
            error.is_not_found() && error.to_string().contains("\"gitlab\""),
            "{error}"
        );
        // The failed request spoils nothing.
        composite.get::<ApiKeyCredential>("github").unwrap();
    }
}

/// A second Rust type with the stored name and shape of `SecretTextCredential`.
#[derive(nebula_credential_core::Credential)]
#[credential(type = "secret_text")]
struct Namesake {
    #[secret]
    text: SecretString,
}

#[test]
fn two_rust_types_of_one_name_do_not_pass_for_each_other() {
    let composite = stored(&CompositeCredential::new().add("x", SecretTextCredential::new("hunter2")));
    assert_eq!(
        composite.get::<Namesake>("x").unwrap().text.expose_secret(),
        "hunter2"
    );
    let error = composite.get::<SecretTextCredential>("x").unwrap_err();
    assert!(error.to_string().contains("two Rust types"), "{error}");
}

#[test]
fn expiry_is_that_of_the_first_member_and_known_undecoded() {
    let first = DateTime::from_timestamp(1_900_000_000, 0);
    let composite = composite()
        .add("early", bearer("x", 1_900_000_000))
        .add("text", SecretTextCredential::new("x"));
    assert_eq!(composite.expires_at(), first);
    assert_eq!(stored(&composite).expires_at(), first);
    let nested = CompositeCredential::new().add("inner", composite);
    assert_eq!(stored(&stored(&nested)).expires_at(), first);
    assert_eq!(
        CompositeCredential::new()
            .add("text", SecretTextCredential::new("x"))
            .expires_at(),
        None
    );
}

#[test]
fn a_composite_may_hold_a_composite() {
    let nested = CompositeCredential::new()
        .add("inner", CompositeCredential::new().add("inmost", composite()))
        .add("text", SecretTextCredential::new("x"));
    nested.validate().unwrap();
    let back = stored(&nested);
    let inner: &CompositeCredential = back.get("inner").unwrap();
    let inmost: &CompositeCredential = inner.get("inmost").unwrap();
    assert_eq!(
        inmost.get::<ApiKeyCredential>("github").unwrap().api_key,
        "ghp_hunter2"
    );
    assert_eq!(json(&back), json(&nested));
    let bad = CompositeCredential::new().add(
        "inner",
        CompositeCredential::new().add("a", BearerCredential::new("")),
    );
    refused(&bad, "member \"inner\": member \"a\": token cannot be empty", &[]);
}

#[test]
fn names_members_and_count_are_checked() {
    refused(&CompositeCredential::new(), "cannot be empty; add a member", &[]);
    for name in ["", "../x", "A", "a b"] {
        refused(
            &CompositeCredential::new().add(name, SecretTextCredential::new("x")),
            "lower-case ASCII",
            &[],
        );
    }
    refused(
        &composite().add("slack", BearerCredential::new("hun ter2")),
        "member \"slack\": token has",
        &["ter2"],
    );
    let filled = |n: usize| {
        (0..n).fold(CompositeCredential::new(), |all, i| {
            all.add(&format!("m{i}"), SecretTextCredential::new("x"))
        })
    };
    filled(CompositeCredential::MEMBERS).validate().unwrap();
    let full = filled(CompositeCredential::MEMBERS + 1);
    refused(
        &full,
        "composite members exceeds its limit: 65 of at most 64",
        &[],
    );
    // Nor can one be stored or read.
    assert_eq!(
        CustomValue::new(&full).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
    let member = r#"{"type":"secret_text","schema_version":1,"data":{"text":"x"}}"#;
    let members: Vec<_> = (0..65).map(|i| format!("\"m{i}\":{member}")).collect();
    let error = read(&format!("{{\"members\":{{{}}}}}", members.join(","))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

fn read(json: &str) -> Result<CompositeCredential, CredentialError> {
    decode_credential(&Plaintext::new(json.as_bytes().to_vec()), 1)
}

#[test]
fn the_stored_form_is_as_documented_and_carries_unknown_types() {
    let text = r#"{"members":{"a":{"type":"bearer","schema_version":1,"expires_at":"2033-05-18T03:33:20Z","data":{"token":"x","expires_at":"2033-05-18T03:33:20Z"}},"b":{"type":"of_tomorrow","schema_version":7,"data":{"k":[1,{"z":null}]}}}}"#;
    let composite = read(text).unwrap();
    assert_eq!(json(&composite), text);
    assert_eq!(
        json(&CompositeCredential::new().add("a", bearer("x", 2_000_000_000))),
        {
            let a = text.find(",\"b\"").unwrap();
            format!("{}}}}}", &text[..a])
        }
    );
    assert_eq!(composite.type_of("b"), Some("of_tomorrow"));
    assert!(composite.get::<BearerCredential>("b").is_err());
    // White space between members' parts is kept within, and accepted around.
    assert_eq!(read("{ \"members\" : {} }").unwrap().len(), 0);
}

#[test]
fn a_damaged_stored_form_is_refused_without_showing_it() {
    for text in [
        "",
        "hunter2",
        "[]",
        "{}",
        r#"{"members":{"a":"hunter2"}}"#,
        r#"{"members":{"a":{"type":"bearer","schema_version":1}}}"#,
        r#"{"members":{"a":{"type":"bearer","schema_version":"hunter2","data":{}}}}"#,
        r#"{"members":{"a":{"type":"bearer","schema_version":1,"data":{},"hunter2":1}}}"#,
        r#"{"members":{"a":{"type":"bearer","schema_version":1,"expires_at":"hunter2","data":{}}}}"#,
        r#"{"members":{},"hunter2":1}"#,
        r#"{"members":{}} hunter2"#,
    ] {
        let error = read(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec, "{text}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let composite =
        read(r#"{"members":{"a":{"type":"bearer","schema_version":1,"data":{"token":7}}}}"#).unwrap();
    for _ in 0..2 {
        assert_eq!(
            composite.get::<BearerCredential>("a").unwrap_err().kind(),
            ErrorKind::Codec
        );
    }
    let newer =
        read(r#"{"members":{"a":{"type":"bearer","schema_version":2,"data":{"token":"x"}}}}"#).unwrap();
    assert_eq!(
        newer.get::<BearerCredential>("a").unwrap_err().kind(),
        ErrorKind::UnsupportedFormat
    );
    let error = decode_credential::<CompositeCredential>(&Plaintext::new(b"{}".to_vec()), 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
}

#[test]
fn nothing_of_a_member_is_shown_and_a_redacted_composite_holds_none() {
    for composite in [composite(), stored(&composite())] {
        composite.get::<ApiKeyCredential>("github").unwrap();
        hides(&composite, &["ghp_hunter2", "xoxb-hunter2"]);
        assert_eq!(
            format!("{composite:?}"),
            r#"CompositeCredential {"github": api_key, "proxy": basic, "slack": bearer}"#
        );
        let redacted = composite.redact();
        assert_eq!(format!("{redacted:?}"), format!("{composite:?}"));
        assert_eq!(
            redacted.get::<ApiKeyCredential>("github").unwrap_err().kind(),
            ErrorKind::InvalidState
        );
        refused(&redacted, "the value is redacted", &[]);
    }
    // Nor is a redacted member stored inside a composite.
    let error = CustomValue::new(&CompositeCredential::new().add("github", github().redact())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_interchange_form_is_complete() {
    let value = composite().to_value().unwrap();
    assert!(matches!(&value, CredentialValue::Custom(custom) if custom.credential_type() == "composite"));
    assert_eq!(
        json(&CompositeCredential::from_value(value).unwrap()),
        json(&composite())
    );
    refuses_other_values::<CompositeCredential>("none of them");
}

#[test]
fn many_threads_decode_a_member_once() {
    let composite = stored(&composite());
    let barrier = Barrier::new(8);
    let addresses: Vec<usize> = std::thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            std::ptr::from_ref(composite.get::<ApiKeyCredential>("github").unwrap()).addr()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(addresses.iter().all(|address| *address == addresses[0]));
}
