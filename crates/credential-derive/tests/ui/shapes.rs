//! Only structs with named fields and one stored shape.

use nebula_credential_core::{Credential, Redact};

#[derive(Credential)]
struct Tuple(#[secret] String);

#[derive(Credential)]
struct Unit;

#[derive(Redact)]
enum Either {
    #[secret]
    Key(String),
}

#[derive(Credential)]
struct Generic<T> {
    #[secret]
    token: T,
}

#[derive(Credential)]
struct Borrowed<'a> {
    #[secret]
    token: &'a str,
}

fn main() {}
