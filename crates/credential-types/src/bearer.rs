use chrono::{DateTime, Utc};
use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::text::bearer_header;

/// A bearer token (RFC 6750): whoever holds it may use it.
#[derive(Clone, Credential)]
#[credential(type = "bearer", validate = Self::check, to_value = Self::as_text, from_value = Self::from_text)]
pub struct BearerCredential {
    /// The token, in the alphabet of RFC 6750, 2.1: letters, digits and `-._~+/`, then any number of `=`.
    #[secret]
    pub token: SecretString,
    /// When the token expires, if it does.
    #[credential(expires_at)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl BearerCredential {
    /// A token that does not expire.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self {
            token: token.into(),
            expires_at: None,
        }
    }

    /// The value of an `Authorization` header.
    pub fn authorization(&self) -> Zeroizing<String> {
        bearer_header(&self.token)
    }

    fn check(&self) -> Result<(), CredentialError> {
        let token = self.token.expose_secret();
        let body = token.trim_end_matches('=');
        if token.is_empty() {
            return Err(CredentialError::validation(
                "token cannot be empty; paste the token",
            ));
        }
        if token.starts_with("Bearer ") {
            return Err(CredentialError::validation(
                "token begins with the word Bearer; store the token alone",
            ));
        }
        if body.is_empty()
            || !body
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
        {
            return Err(CredentialError::validation(
                "token has a character that RFC 6750 does not allow; use letters, digits and -._~+/ with '=' at the \
                 end only",
            ));
        }
        Ok(())
    }

    fn as_text(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.token.clone()))
    }

    fn from_text(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(token) => Ok(Self::new(token)),
            _ => Err(CredentialError::type_mismatch(
                "a bearer token is made from a text value",
            )),
        }
    }
}
