use nebula_credential_core::{Credential, CredentialError, CredentialValue, ExposeSecret, SecretString};

/// One secret text of any shape: a passphrase, a licence key, a webhook URL, a connection string of no common form.
#[derive(Clone, Credential)]
#[credential(type = "secret_text", validate = Self::check, to_value = Self::as_text, from_value = Self::from_text)]
pub struct SecretTextCredential {
    /// The text; not empty.
    #[secret]
    pub text: SecretString,
}

impl SecretTextCredential {
    /// The credential of `text`.
    pub fn new(text: impl Into<SecretString>) -> Self {
        Self { text: text.into() }
    }

    fn check(&self) -> Result<(), CredentialError> {
        if self.text.expose_secret().is_empty() {
            return Err(CredentialError::validation(
                "text cannot be empty; enter the secret",
            ));
        }
        Ok(())
    }

    fn as_text(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.text.clone()))
    }

    fn from_text(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(text) => Ok(Self { text }),
            _ => Err(CredentialError::type_mismatch(
                "a secret text is made from a text value",
            )),
        }
    }
}
