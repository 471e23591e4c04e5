use std::fmt;
use std::marker::PhantomData;

use async_trait::async_trait;
use nebula_credential_core::{AnyCredential, Credential, CredentialError, CredentialProvider, Selector};

use crate::CredentialManager;

/// The credentials of one type that a manager has, for whoever takes them from any [`CredentialProvider`]. Made by
/// [`CredentialManager::provider`].
pub struct ManagerProvider<C> {
    manager: CredentialManager,
    /// Which type is asked for; there is no value of it in here.
    credential: PhantomData<fn() -> C>,
}

impl CredentialManager {
    /// This manager as a provider of credentials of type `C`: what a cache, a breaker or a program of your own can stand
    /// before that takes them from anywhere.
    ///
    /// It asks as this manager does, with its principal, purpose and permission. Where something that keeps values stands
    /// before it, nothing decides on or records those it keeps: give each principal its own, or have the manager
    /// [cache](crate::ManagerBuilder) instead.
    ///
    /// ```
    /// # use nebula_credential_core::{CredentialError, CredentialProvider as _};
    /// # use nebula_credential_manager::CredentialManager;
    /// # use nebula_credential_types::ApiKeyCredential;
    /// # async fn run(manager: CredentialManager) -> Result<(), CredentialError> {
    /// let provider = manager.provider::<ApiKeyCredential>();
    /// let any = provider.get("my_api").await?;
    /// let key: Option<&ApiKeyCredential> = any.downcast_ref();
    /// # Ok(())
    /// # }
    /// ```
    pub fn provider<C: Credential>(&self) -> ManagerProvider<C> {
        ManagerProvider {
            manager: self.clone(),
            credential: PhantomData,
        }
    }
}

#[async_trait]
impl<C: Credential> CredentialProvider for ManagerProvider<C> {
    /// As [`CredentialManager::get`]. It expires when the store says so, if the value itself does not before.
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        let (head, value) = self.manager.read_version::<C>(name, Selector::Latest).await?;
        let any = AnyCredential::new(value);
        Ok(match head.version.expires_at {
            Some(end) => any.until(end),
            None => any,
        })
    }
}

impl<C> Clone for ManagerProvider<C> {
    fn clone(&self) -> Self {
        Self {
            manager: self.manager.clone(),
            credential: PhantomData,
        }
    }
}

impl<C: Credential> fmt::Debug for ManagerProvider<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerProvider")
            .field("manager", &self.manager)
            .field("credential", &C::credential_type())
            .finish()
    }
}
