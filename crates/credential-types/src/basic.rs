use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// A user name and a password, as HTTP Basic authentication (RFC 7617) takes them.
///
/// The user name is shown in logs. For an API that takes its key as the user name, store an
/// [`ApiKeyCredential`](crate::ApiKeyCredential).
#[derive(Clone, Credential)]
#[credential(type = "basic", validate = Self::check, to_value = Self::as_pair, from_value = Self::from_pair)]
pub struct BasicCredential {
    /// Who signs in: no colon, no control character. May be empty if the password is not.
    pub username: String,
    /// The password: no control character. May be empty if the user name is not.
    #[secret]
    pub password: SecretString,
}

impl BasicCredential {
    /// The pair of both.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
        }
    }

    /// The value of an `Authorization` header: `Basic` and the base64 of the UTF-8 pair.
    pub fn authorization(&self) -> Zeroizing<String> {
        let password = self.password.expose_secret();
        let mut pair = Zeroizing::new(String::with_capacity(self.username.len() + 1 + password.len()));
        pair.push_str(&self.username);
        pair.push(':');
        pair.push_str(password);
        // base64 makes four of three; the header never grows and leaves nothing behind.
        let mut header = Zeroizing::new(String::with_capacity("Basic ".len() + pair.len().div_ceil(3) * 4));
        header.push_str("Basic ");
        STANDARD.encode_string(pair.as_bytes(), &mut header);
        header
    }

    fn check(&self) -> Result<(), CredentialError> {
        let bad = |remedy: &'static str| Err(CredentialError::validation(remedy));
        let password = self.password.expose_secret();
        if self.username.contains(':') {
            return bad("username has a ':'; HTTP Basic cannot carry it, use a name without one");
        }
        if self.username.chars().any(char::is_control) {
            return bad("username has a control character; remove it");
        }
        if password.chars().any(char::is_control) {
            return bad("password has a control character, such as a line break at its end; remove it");
        }
        if self.username.is_empty() && password.is_empty() {
            return bad("username and password cannot both be empty; fill in at least one");
        }
        Ok(())
    }

    fn as_pair(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Basic {
            username: self.username.clone(),
            password: self.password.clone(),
        })
    }

    fn from_pair(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Basic { username, password } => Ok(Self { username, password }),
            _ => Err(CredentialError::type_mismatch(
                "a basic credential is made from a value with a user name and a password",
            )),
        }
    }
}
