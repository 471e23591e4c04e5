//! The built-in breaker around any provider, with the same three settings.
use std::time::Duration;

use nebula_credential::prelude::*;

async fn usage<P: CredentialProvider>(inner: P) -> Result<AnyCredential, CredentialError> {
    let (failure_threshold, success_threshold, timeout) = (5, 2, Duration::from_secs(30));
    let provider =
        CircuitBreakerCredentialProvider::new(inner, failure_threshold, success_threshold, timeout);
    match provider.get("database").await {
        Err(CredentialError::CircuitBreakerOpen(why)) => Err(CredentialError::circuit_breaker_open(why)),
        answer => answer,
    }
}
