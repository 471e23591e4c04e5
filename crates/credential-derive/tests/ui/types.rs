//! Types and functions that do not fit where they stand.

use nebula_credential_core::{Credential, Redact};

#[derive(Credential)]
struct Plain {
    #[secret]
    pin: u32,
    #[secret]
    seed: [u8; 32],
    #[secret]
    token: &'static str,
}

struct Unknown;

#[derive(Redact)]
struct NotAField {
    #[secret]
    inner: Unknown,
}

#[derive(Credential)]
struct Timed {
    #[secret]
    token: String,
    expires_at: u64,
}

#[derive(Redact)]
struct NoDefault {
    #[secret]
    token: String,
}

#[derive(Credential)]
struct Skipped {
    #[secret]
    #[serde(skip)]
    session: NoDefault,
}

#[derive(Credential)]
#[credential(validate = check)]
struct Checked {
    #[secret]
    token: String,
}

fn check(_: &Checked) -> bool {
    true
}

fn main() {}
