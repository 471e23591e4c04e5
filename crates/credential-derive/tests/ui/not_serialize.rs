//! A derived credential cannot be written by just any serializer.

use nebula_credential_core::Credential;

#[derive(Credential)]
struct MyCredential {
    #[secret]
    password: String,
    username: String,
}

fn main() {
    let credential = MyCredential { password: String::new(), username: String::new() };
    let _ = serde_json::to_string(&credential);
    let _: MyCredential = serde_json::from_str("{}").unwrap();
    let _ = credential.clone();
}
