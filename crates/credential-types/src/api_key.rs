use std::net::IpAddr;

use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret};
use zeroize::Zeroizing;

use crate::text::{is_unbroken, secret};
use crate::uri;

/// An API key and the address it is for.
///
/// Which header carries the key is a matter of the API, not of the key: see [`bearer`](Self::bearer), or send
/// `api_key` in the header the API names. The key is a `String` that is wiped on drop; a clone is wiped by itself.
#[derive(Clone, Credential)]
#[credential(type = "api_key", validate = Self::check, to_value = Self::as_text, from_value = Self::from_text)]
pub struct ApiKeyCredential {
    /// The key: one or more characters, none of them white space or control.
    #[secret]
    pub api_key: String,
    /// The `https` URL of the API; empty, the default, where it is not recorded. Plain `http` is for loopback addresses
    /// only.
    #[serde(default)]
    pub endpoint: String,
}

impl ApiKeyCredential {
    /// The value of an `Authorization` header for the APIs that take their key as a bearer token.
    pub fn bearer(&self) -> Zeroizing<String> {
        let mut header = Zeroizing::new(String::with_capacity("Bearer ".len() + self.api_key.len()));
        header.push_str("Bearer ");
        header.push_str(&self.api_key);
        header
    }

    fn check(&self) -> Result<(), CredentialError> {
        if self.api_key.is_empty() {
            return Err(CredentialError::validation(
                "api_key cannot be empty; paste the key",
            ));
        }
        if !is_unbroken(&self.api_key) {
            return Err(CredentialError::validation(
                "api_key has white space or a control character; remove it, also at the ends",
            ));
        }
        if self.endpoint.is_empty() {
            return Ok(());
        }
        check_endpoint(&self.endpoint)
    }

    fn as_text(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(secret(&self.api_key)))
    }

    fn from_text(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(key) => Ok(Self {
                api_key: key.expose_secret().to_owned(),
                endpoint: String::new(),
            }),
            _ => Err(CredentialError::type_mismatch(
                "an API key is made from a text value",
            )),
        }
    }
}

/// The endpoint is shown in logs, so it must hold no secret; the key goes there, so it must be private on the way.
fn check_endpoint(endpoint: &str) -> Result<(), CredentialError> {
    let bad = |remedy: &str| Err(CredentialError::validation(format!("endpoint {remedy}")));
    let parts = match uri::split(endpoint) {
        Ok(parts) => parts,
        Err(flaw) => return bad(flaw),
    };
    if parts.userinfo.is_some() {
        return bad("has a user name or password; remove it, the endpoint is shown in logs");
    }
    let host = match uri::split_host(parts.hosts) {
        Ok((host, _)) if uri::is_host(host) => host,
        Ok(_) => return bad("names no host; write it like https://api.example.com"),
        Err(flaw) => return bad(flaw),
    };
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_private = match parts.scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => is_loopback,
        _ => false,
    };
    if !is_private {
        return bad("must use https (http only to a loopback address); the key could be read on the way");
    }
    let names = parts.query.into_iter().flat_map(|query| query.split('&'));
    if names
        .filter_map(|pair| pair.split('=').next())
        .any(uri::names_a_secret)
    {
        return bad("has a parameter that looks secret; remove it, the endpoint is shown in logs");
    }
    Ok(())
}
