//! Where things lie when the program does not say, after the XDG base directory specification.

use std::path::PathBuf;

use etcetera::BaseStrategy as _;
use nebula_credential_core::CredentialError;

/// The folder of this library within the user's directories.
const FOLDER: &str = "nebula-credential";

fn base() -> Result<impl etcetera::BaseStrategy, CredentialError> {
    etcetera::choose_base_strategy().map_err(|_| {
        CredentialError::storage(
            "this user has no home directory; name the store and the key with the builder",
        )
    })
}

/// The user's configuration directory: keys lie here, never beside the data.
pub(crate) fn config_dir() -> Result<PathBuf, CredentialError> {
    Ok(base()?.config_dir().join(FOLDER))
}

/// The embedded store in the user's data directory.
#[cfg(feature = "local")]
pub(crate) fn default_store() -> Result<nebula_credential_core::StoreHandle, CredentialError> {
    let directory = base()?.data_dir().join(FOLDER);
    Ok(nebula_credential_core::StoreHandle::new(
        nebula_credential_provider_local::LocalStorage::new(directory),
    ))
}

/// Without the embedded store there is no default.
#[cfg(not(feature = "local"))]
pub(crate) fn default_store() -> Result<nebula_credential_core::StoreHandle, CredentialError> {
    Err(CredentialError::unsupported(
        "no store was given to the builder, and the feature `local` is off",
    ))
}
