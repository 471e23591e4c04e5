//! The built-in cache before any provider, with the same constructor.
use std::time::Duration;

use nebula_credential::prelude::*;

async fn usage<P: CredentialProvider>(inner: P) -> Result<AnyCredential, CredentialError> {
    let (capacity, ttl) = (100, Duration::from_secs(300));
    let provider = CachedCredentialProvider::new(inner, capacity, ttl)
        .refresh_before_expiry(Duration::from_secs(300));
    provider.get("database").await
}
