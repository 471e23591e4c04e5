//! Statements of an async function with a context, a manager and a new value at hand.
use nebula_credential::prelude::*;
//@ preamble context

async fn block(
    manager: CredentialManager,
    context: Context,
    new_credential: ApiKeyCredential,
) -> std::result::Result<(), CredentialError> {
    //@ block
    Ok(())
}
