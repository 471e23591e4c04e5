//! A chain of fallbacks that a program may write itself, over the erased credential.
use nebula_credential::prelude::*;

pub struct CredentialChain {
    credentials: Vec<(String, AnyCredential)>,
}

impl CredentialChain {
    pub fn new() -> Self {
        Self { credentials: Vec::new() }
    }

    pub fn add<C: Credential>(mut self, name: &str, credential: C) -> Self {
        self.credentials.push((name.to_string(), AnyCredential::new(credential)));
        self
    }

    pub async fn get_first_valid(&self) -> Result<&AnyCredential, CredentialError> {
        self.credentials
            .iter()
            .map(|(_name, credential)| credential)
            .find(|credential| !credential.is_expired() && credential.validate().is_ok())
            .ok_or_else(|| CredentialError::not_found("no valid credential in the chain"))
    }
}

async fn usage(first: AwsCredential, second: AwsCredential) -> Result<(), CredentialError> {
    let chain = CredentialChain::new().add("primary", first).add("backup", second);
    let active = chain.get_first_valid().await?;
    let _: Option<&AwsCredential> = active.downcast_ref::<AwsCredential>();
    Ok(())
}
