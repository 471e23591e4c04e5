use async_trait::async_trait;

use crate::{AnyCredential, CredentialError};

/// Something that has credentials by name: a manager, a cache before it, a chain of them.
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
