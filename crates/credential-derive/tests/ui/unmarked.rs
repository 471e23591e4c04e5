//! Fields that look secret must be marked; those that tell about one need not.

use nebula_credential_core::{Credential, Redact};

#[derive(Credential)]
struct Unmarked {
    #[secret]
    pin: String,
    password: String,
    api_key: String,
    #[public]
    public_token: String,
    token_type: String,
    access_key_id: String,
    client_secret: String,
}

#[derive(Redact)]
struct Part {
    private_key: String,
}

#[derive(Credential)]
struct WebhookCredential {
    url: String,
}

fn main() {}
