//! A derived credential beside the struct anyone would write with serde alone: they must read and write alike.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Credential, CredentialError, ErrorKind, REDACTED, SecretString, decode_credential, encode_credential,
    limits,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::golden::plain;

/// Every kind of field the derive treats in its own way.
#[derive(Credential)]
#[credential(type = "account", validate = Self::check)]
pub(crate) struct AccountCredential {
    #[secret]
    password: SecretString,
    #[secret]
    spare: Option<String>,
    #[secret]
    key_material: Vec<Vec<u8>>,
    #[secret]
    #[serde(default)]
    answers: BTreeMap<String, SecretString>,
    username: String,
    #[serde(
        rename = "kind",
        alias = "type",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    class: String,
    port: Option<u16>,
    expires_at: Option<DateTime<Utc>>,
}

impl AccountCredential {
    fn check(&self) -> Result<(), CredentialError> {
        match self.username.as_str() {
            "" => Err(CredentialError::validation("`username` is empty; fill it in")),
            _ => Ok(()),
        }
    }
}

/// The same, without secrecy.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mirror {
    password: String,
    spare: Option<String>,
    key_material: Vec<Base64>,
    #[serde(default)]
    answers: BTreeMap<String, String>,
    username: String,
    #[serde(
        rename = "kind",
        alias = "type",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    class: String,
    port: Option<u16>,
    expires_at: Option<DateTime<Utc>>,
}

impl Mirror {
    fn is_redacted(&self) -> bool {
        self.password == REDACTED
            || self.spare.as_deref() == Some(REDACTED)
            || self
                .key_material
                .iter()
                .any(|Base64(bytes)| bytes == REDACTED.as_bytes())
            || self.answers.values().any(|answer| answer == REDACTED)
    }
}

/// Bytes as standard base64 with padding.
struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Reads `data` both ways and compares.
pub(crate) fn compare(data: &[u8]) {
    let ours = decode_credential::<AccountCredential>(&plain(data), AccountCredential::schema_version());
    let theirs = serde_json::from_slice::<Mirror>(data);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return,
        (Ok(_), Err(error)) => panic!("the derive reads what serde refuses: {error}"),
        (Err(error), Ok(_)) => panic!("the derive refuses what serde reads: {error}"),
    };
    let expected = serde_json::to_vec(&theirs).expect("JSON");
    match encode_credential(&ours, limits::SECRET_BYTES_MAX) {
        Ok(encoded) => {
            assert_eq!(
                encoded.expose(),
                expected,
                "left: the derive, right: serde, on the same input"
            );
            assert!(!theirs.is_redacted(), "a redacted value must not be stored");
        }
        Err(error) if theirs.is_redacted() => assert_eq!(error.kind(), ErrorKind::InvalidInput),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
            assert!(expected.len() > limits::SECRET_BYTES_MAX);
        }
    }
}
