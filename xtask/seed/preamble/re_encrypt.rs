//! Statements of an async function that has a manager and a passphrase.
use nebula_credential::crypto::CredentialEncryption;
use nebula_credential::prelude::*;

async fn block(manager: CredentialManager, password: &str) -> Result<(), CredentialError> {
    //@ block
    Ok(())
}
