//! Every method of the trait: implemented by hand with a plain `async fn refresh`, and called.
use nebula_credential::prelude::*;

#[derive(Serialize, Deserialize)]
struct ByHand {
    text: String,
}

impl Credential for ByHand {
    nebula_credential::serde_codec!();

    fn credential_type() -> &'static str {
        "by_hand"
    }

    fn validate(&self) -> Result<(), CredentialError> {
        if self.text.is_empty() {
            return Err(CredentialError::validation("text cannot be empty"));
        }
        Ok(())
    }

    fn is_expired(&self) -> bool {
        false
    }

    fn expires_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn refresh(&mut self) -> Result<(), CredentialError> {
        Err(CredentialError::RefreshNotSupported)
    }

    fn redact(&self) -> Self {
        Self { text: "[REDACTED]".into() }
    }

    fn to_value(&self) -> Result<CredentialValue, CredentialError> {
        Ok(CredentialValue::Text(self.text.as_str().into()))
    }

    fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
        match value {
            CredentialValue::Text(text) => Ok(Self { text: text.expose_secret().into() }),
            _ => Err(CredentialError::type_mismatch("expected text")),
        }
    }
}

async fn every_method<C: Credential>(mut credential: C) -> Result<C, CredentialError> {
    let _: &'static str = C::credential_type();
    credential.validate()?;
    let _: (bool, Option<DateTime<Utc>>) = (credential.is_expired(), credential.expires_at());
    credential.refresh().await?;
    let value: CredentialValue = credential.redact().to_value()?;
    C::from_value(value)
}
