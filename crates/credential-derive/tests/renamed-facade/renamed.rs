//! The macros find the facade under the name its user gave it.

use safe::prelude::*;
use safe::{decode_credential, encode_credential};

#[derive(Credential)]
struct GitHubCredential {
    #[secret]
    personal_access_token: String,
    #[secret]
    app: Option<App>,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Redact)]
struct App {
    #[secret]
    private_key: SecretString,
}

#[test]
fn the_macros_work_with_the_facade_under_another_name() {
    let github = GitHubCredential {
        personal_access_token: "ghp_1".into(),
        app: Some(App {
            private_key: "pem".into(),
        }),
        expires_at: None,
    };
    assert_eq!(GitHubCredential::credential_type(), "github");
    let bytes = encode_credential(&github, 1024).unwrap();
    let back: GitHubCredential = decode_credential(&bytes, 1).unwrap();
    assert_eq!(back.personal_access_token, "ghp_1");
    assert_eq!(
        back.app.as_ref().map(|app| app.private_key.expose_secret()),
        Some("pem")
    );
    assert_eq!(
        format!("{back:?}"),
        "GitHubCredential { personal_access_token: [REDACTED], app: [REDACTED], expires_at: None }"
    );
}
