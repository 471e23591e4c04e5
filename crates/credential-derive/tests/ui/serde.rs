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

fn main() {}
