//! Attributes of serde that do not go with secrets or with the stored form.

use std::collections::BTreeMap;

use nebula_credential_core::Credential;

#[derive(Credential)]
struct Flattened {
    #[secret]
    #[serde(flatten)]
    tokens: BTreeMap<String, String>,
}

#[derive(Credential)]
#[serde(default)]
struct Defaulted {
    #[secret]
    token: String,
}

#[derive(Credential)]
#[serde(transparent)]
struct Transparent {
    #[secret]
    token: String,
}

#[derive(Credential)]
#[serde(rename_all(serialize = "camelCase"))]
struct Unreadable {
    #[secret]
    #[serde(rename(serialize = "a", deserialize = "b"))]
    two_names: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    no_default: Vec<String>,
    #[serde(skip_serializing)]
    not_written: String,
    #[secret]
    #[serde(skip_deserializing)]
    not_read: String,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "always")]
    own_reader: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fine: Option<u8>,
    #[serde(skip_serializing, default)]
    fine_too: u8,
    #[serde(skip_serializing, skip_deserializing)]
    skipped: u8,
}

fn main() {}
