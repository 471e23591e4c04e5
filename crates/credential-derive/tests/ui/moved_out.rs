//! `Debug` and `Drop` are written already. A `String` that is wiped on drop can be cloned or taken, not moved out.

use nebula_credential_core::Credential;

#[derive(Credential, Debug)]
struct MyCredential {
    #[secret]
    password: String,
}

fn main() {
    let credential = MyCredential { password: String::new() };
    let _password = credential.password;
}
