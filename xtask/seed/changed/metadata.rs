//! The six states by their names, and the metadata by its fields.
use std::collections::HashMap;

use nebula_credential::prelude::*;

fn all_states(state: CredentialState) {
    match state {
        CredentialState::Draft
        | CredentialState::Active
        | CredentialState::Rotating
        | CredentialState::Deprecated
        | CredentialState::Expired
        | CredentialState::Revoked => {}
    }
}

fn fields(metadata: CredentialMetadata) {
    let CredentialMetadata { id, name, state, version, created_at, updated_at, expires_at, tags, .. } = metadata;
    let _: (String, String) = (id.to_string(), name.to_string());
    let _: CredentialState = state;
    let _: Version = version;
    let _: (DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>) = (created_at, updated_at, expires_at);
    let _: HashMap<String, String> = tags;
}
