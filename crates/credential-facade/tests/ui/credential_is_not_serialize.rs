//! A derived credential cannot be written by a serializer it was not meant for.

use nebula_credential::prelude::*;

#[derive(Credential)]
struct GitHubCredential {
    #[secret]
    personal_access_token: String,
    username: String,
}

fn leaks(cred: &GitHubCredential) -> String {
    serde_json::to_string(cred).unwrap()
}

fn main() {}
