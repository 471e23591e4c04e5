//! The macros find core under the name its user gave it, and need nothing else: no serde, no zeroize, no chrono.

use vault::{Credential, Redact, SecretString};

#[derive(Credential)]
struct ApiKeyCredential {
    #[secret]
    api_key: String,
    #[secret]
    session: Option<Session>,
    endpoint: String,
}

#[derive(Redact)]
#[credential(crate = "::vault")]
struct Session {
    #[secret]
    token: SecretString,
}

#[test]
fn the_macros_work_under_another_name() {
    let key = ApiKeyCredential {
        api_key: "k".into(),
        session: Some(Session { token: "t".into() }),
        endpoint: "e".into(),
    };
    assert_eq!(ApiKeyCredential::credential_type(), "api_key");
    assert_eq!(
        format!("{key:?}"),
        "ApiKeyCredential { api_key: [REDACTED], session: [REDACTED], endpoint: \"e\" }"
    );
    let bytes = vault::encode_credential(&key, 1024).unwrap();
    assert_eq!(
        bytes.expose(),
        br#"{"api_key":"k","session":{"token":"t"},"endpoint":"e"}"#
    );
    let back: ApiKeyCredential = vault::decode_credential(&bytes, 1).unwrap();
    assert_eq!((back.api_key.as_str(), back.endpoint.as_str()), ("k", "e"));
    assert_eq!(
        format!("{:?}", back.session),
        "Some(Session { token: [REDACTED] })"
    );
}
