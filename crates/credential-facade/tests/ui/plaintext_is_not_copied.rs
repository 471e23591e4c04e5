//! Plaintext is neither copied, nor printed as text, nor serialised.

use nebula_credential::Plaintext;

fn copied(value: &Plaintext) -> Plaintext {
    value.clone()
}

fn printed(value: &Plaintext) -> String {
    value.to_string()
}

fn serialised(value: &Plaintext) -> String {
    serde_json::to_string(value).unwrap()
}

fn main() {}
