use std::fmt;

use nebula_credential_core::{AnyCredential, Credential, CredentialError};

/// Credentials for one purpose, the preferred first.
///
/// ```
/// # use nebula_credential_core::{Credential, CredentialError, SecretString};
/// # use nebula_credential_resilience::CredentialChain;
/// # async fn run(primary: impl Credential, backup: impl Credential) -> Result<(), CredentialError> {
/// let chain = CredentialChain::new().add("primary", primary).add("backup", backup);
/// let active = chain.get_first_valid().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct CredentialChain {
    credentials: Vec<(String, AnyCredential)>,
}

impl CredentialChain {
    /// A chain without credentials.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a credential behind the others. The name is for [`first_valid`](Self::first_valid) and for logs.
    #[must_use]
    pub fn add<C: Credential>(self, name: &str, credential: C) -> Self {
        self.add_any(name, AnyCredential::new(credential))
    }

    /// [`add`](Self::add) for a credential whose type is known only at run time.
    #[must_use]
    pub fn add_any(mut self, name: &str, credential: AnyCredential) -> Self {
        self.credentials.push((name.to_owned(), credential));
        self
    }

    /// The first credential that has not expired and has the right shape, with its name.
    ///
    /// # Errors
    /// [`CredentialError::NotFound`] if there is none.
    pub fn first_valid(&self) -> Result<(&str, &AnyCredential), CredentialError> {
        self.credentials
            .iter()
            .find(|(_, credential)| !credential.is_expired() && credential.validate().is_ok())
            .map(|(name, credential)| (name.as_str(), credential))
            .ok_or_else(|| CredentialError::not_found("no valid credential in the chain"))
    }

    /// [`first_valid`](Self::first_valid) without the name. Waits for nothing.
    ///
    /// # Errors
    /// [`CredentialError::NotFound`] if there is none.
    #[expect(
        clippy::unused_async,
        reason = "callers of credential sources await them, and this is one"
    )]
    pub async fn get_first_valid(&self) -> Result<&AnyCredential, CredentialError> {
        self.first_valid().map(|(_, credential)| credential)
    }
}

impl fmt::Debug for CredentialChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.credentials.iter().map(|(name, any)| (name, any)))
            .finish()
    }
}
