use async_trait::async_trait;

use crate::{AnyCredential, CredentialError};

/// Something that hands out credentials by name: what `CredentialManager::provider` makes of a manager, a cache or a breaker
/// before one, or a source of your own.
#[async_trait]
pub trait CredentialProvider: Send + Sync {
    /// The current value of `name`.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound) only where it is known to be absent.
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError>;
}

#[async_trait]
impl<P: CredentialProvider + ?Sized> CredentialProvider for std::sync::Arc<P> {
    async fn get(&self, name: &str) -> Result<AnyCredential, CredentialError> {
        (**self).get(name).await
    }
}
