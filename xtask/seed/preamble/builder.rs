//! Statements that make a manager.
use nebula_credential::prelude::*;

fn block() -> CredentialManager {
    //@ block
    manager
}
