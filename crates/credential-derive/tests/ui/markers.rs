//! Markers that contradict each other, or stand in the wrong place.

use nebula_credential_core::Credential;

#[derive(Credential)]
#[secret]
struct Markers {
    #[secret]
    #[public]
    both: String,
    #[secret]
    #[secret]
    twice: String,
    #[secret(strong)]
    arguments: String,
    #[secret]
    #[credential(expires_at)]
    hidden_end: Option<chrono::DateTime<chrono::Utc>>,
}

fn main() {}
