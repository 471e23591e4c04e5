//! Statements of an async function that follows the definition of the credential.
//@ include github_type

async fn block(manager: CredentialManager) -> Result<(), CredentialError> {
    //@ block
    Ok(())
}
