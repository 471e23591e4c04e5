//! Options that do not exist, are given twice, or make no sense.

use nebula_credential_core::{Credential, Redact};

#[derive(Credential)]
#[credential(kind = "x")]
struct Unknown {
    #[secret]
    a: String,
    #[credential(expires)]
    b: u8,
}

#[derive(Credential)]
#[credential(type = "a", type = "b")]
struct Twice {
    #[secret]
    a: String,
}

#[derive(Credential)]
#[credential(type = "Not A Name")]
struct BadName {
    #[secret]
    a: String,
}

#[derive(Credential)]
struct Überall {
    #[secret]
    a: String,
}

#[derive(Credential)]
#[credential(version = 0)]
struct Zero {
    #[secret]
    a: String,
}

#[derive(Credential)]
#[credential(migrate = upgrade)]
struct Migrates {
    #[secret]
    a: String,
}

#[derive(Credential)]
#[credential(expires_at)]
struct Misplaced {
    #[secret]
    a: String,
}

#[derive(Credential)]
struct TwoEnds {
    #[secret]
    a: String,
    #[credential(expires_at)]
    b: Option<chrono::DateTime<chrono::Utc>>,
    #[credential(expires_at)]
    c: Option<chrono::DateTime<chrono::Utc>>,
}

#[derive(Redact)]
#[credential(type = "a")]
struct Part {
    #[secret]
    a: String,
    #[credential(expires_at)]
    b: Option<chrono::DateTime<chrono::Utc>>,
}

fn main() {}
