//! Names and addresses: what is accepted is safe everywhere and comes back unchanged.

use std::str::FromStr;

use nebula_credential_core::{CredentialName, CredentialRef, Scope, TenantId, limits};

/// Reads `data` as a name of each kind, as an encoded address, and as the three lines of one.
pub fn name_codec(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        read_name(text);
        let mut lines = text.splitn(3, '\n');
        if let (Some(tenant), Some(scope), Some(name)) = (lines.next(), lines.next(), lines.next()) {
            write_address(tenant, scope, name);
        }
    }
    if let Ok(address) = CredentialRef::decode(data) {
        let mut again = Vec::new();
        address.encode(&mut again);
        assert_eq!(again, data, "an address has one encoding");
        for part in [
            address.tenant().as_str(),
            address.scope().as_str(),
            address.name().as_str(),
        ] {
            assert_lawful(part);
        }
    }
}

fn read_name(text: &str) {
    let name = CredentialName::new(text);
    let scope = Scope::try_from(text);
    let tenant = TenantId::from_str(text);
    assert_eq!(name.is_ok(), scope.is_ok());
    assert_eq!(name.is_ok(), tenant.is_ok());
    match name {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert_eq!(name.to_string(), text);
            assert_lawful(text);
        }
        // The message quotes the name; it must not carry its control characters along.
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}

/// The documented rule, written a second time.
fn assert_lawful(text: &str) {
    let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    assert!((1..=limits::NAME_BYTES).contains(&text.len()));
    assert!(text.as_bytes().first().is_some_and(is_edge));
    assert!(text.as_bytes().last().is_some_and(is_edge));
    assert!(text.bytes().all(|byte| is_edge(&byte) || b"._-/".contains(&byte)));
    assert!(!text.contains("..") && !text.contains("//"));
}

fn write_address(tenant: &str, scope: &str, name: &str) {
    let (Ok(tenant), Ok(scope), Ok(name)) = (
        TenantId::new(tenant),
        Scope::new(scope),
        CredentialName::new(name),
    ) else {
        return;
    };
    let address = CredentialRef::new(tenant, scope, name);
    let mut bytes = Vec::new();
    address.encode(&mut bytes);
    assert_eq!(CredentialRef::decode(&bytes).as_ref().ok(), Some(&address));
    assert_eq!(
        address.to_string().matches(':').count(),
        2,
        "the text form has three parts"
    );
}
