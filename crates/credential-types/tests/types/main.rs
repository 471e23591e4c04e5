//! Every built-in type: what it takes, what it refuses and how it says so, what it shows, how it is stored.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests"
)]

mod composite;
mod database;
mod keys;
mod tokens;

use std::fmt::Debug;

use nebula_credential_core::{
    Credential, CredentialError, CredentialValue, ErrorKind, decode_credential, encode_credential, limits,
};

/// What comes back from storage.
#[track_caller]
fn stored<C: Credential>(credential: &C) -> C {
    let bytes = encode_credential(credential, limits::SECRET_BYTES_MAX).unwrap();
    decode_credential(&bytes, C::schema_version()).unwrap()
}

/// What is stored, as text.
#[track_caller]
fn json<C: Credential>(credential: &C) -> String {
    let bytes = encode_credential(credential, limits::SECRET_BYTES_MAX).unwrap();
    String::from_utf8(bytes.expose().to_vec()).unwrap()
}

/// Neither the value, nor its redacted form, nor its interchange form prints one of `secrets`; nothing redacted is
/// stored.
#[track_caller]
fn hides<C: Credential + Debug>(credential: &C, secrets: &[&str]) {
    let redacted = credential.redact();
    let interchange = credential.to_value().unwrap();
    let shown = format!("{credential:?} {credential:#?} {redacted:?} {interchange:?}");
    for secret in secrets {
        assert!(
            json(credential).contains(secret),
            "the secret is not in the credential to begin with"
        );
        assert!(!shown.contains(secret), "{shown}");
    }
    let error = encode_credential(&redacted, limits::SECRET_BYTES_MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

/// `credential` is refused with a message that has `words` and none of `secrets`.
#[track_caller]
fn refused<C: Credential>(credential: &C, words: &str, secrets: &[&str]) {
    let error = credential.validate().unwrap_err();
    let message = error.to_string();
    assert!(message.contains(words), "expected {words:?} in {message:?}");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        assert!(!message.contains(secret), "{message:?} shows the value");
    }
    assert!(
        matches!(
            error,
            CredentialError::Validation(_)
                | CredentialError::LimitExceeded { .. }
                | CredentialError::InvalidName(_)
        ),
        "{error:?}"
    );
}

/// The interchange forms of all other types are refused by type.
#[track_caller]
fn refuses_other_values<C: Credential>(own: &str) {
    let text = || "x".into();
    let values = [
        ("text", CredentialValue::Text(text())),
        (
            "key_value",
            CredentialValue::KeyValue([("a".to_owned(), text())].into()),
        ),
        (
            "basic",
            CredentialValue::Basic {
                username: "u".into(),
                password: text(),
            },
        ),
        (
            "database",
            CredentialValue::Database {
                connection_string: text(),
                driver: "x".into(),
            },
        ),
        (
            "aws",
            CredentialValue::Aws {
                access_key_id: text(),
                secret_access_key: text(),
                session_token: None,
                region: "x".into(),
            },
        ),
        (
            "key_pair",
            CredentialValue::KeyPair {
                public: "x".into(),
                private: text(),
                passphrase: None,
            },
        ),
        (
            "other",
            nebula_credential_types::BasicCredential::new("a", "b")
                .to_value()
                .unwrap(),
        ),
    ];
    for (name, value) in values {
        if name == own || own == "basic" && name == "other" {
            continue;
        }
        match C::from_value(value) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::TypeMismatch, "{name}: {error}"),
            Ok(_) => panic!("{} was made from {name}", C::credential_type()),
        }
    }
}

#[test]
fn stored_names_are_what_stores_hold_and_never_change() {
    use nebula_credential_types as types;
    let names = [
        types::ApiKeyCredential::credential_type(),
        types::AwsCredential::credential_type(),
        types::BasicCredential::credential_type(),
        types::BearerCredential::credential_type(),
        types::CertificateCredential::credential_type(),
        types::CompositeCredential::credential_type(),
        types::ConnectionStringCredential::credential_type(),
        types::JwtCredential::credential_type(),
        types::KeyValueCredential::credential_type(),
        types::PostgresCredential::credential_type(),
        types::SecretTextCredential::credential_type(),
        types::SshKeyCredential::credential_type(),
    ];
    let expected = [
        "api_key",
        "aws",
        "basic",
        "bearer",
        "certificate",
        "composite",
        "connection_string",
        "jwt",
        "key_value",
        "postgres",
        "secret_text",
        "ssh_key",
    ];
    assert_eq!(names, expected);
}
