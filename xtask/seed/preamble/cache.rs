//! Statements that make a manager and read with it.
use std::time::Duration;

use nebula_credential::prelude::*;

async fn block() -> Result<(), CredentialError> {
    //@ block
    Ok(())
}
