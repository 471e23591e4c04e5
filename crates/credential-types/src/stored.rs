//! The storage codec of types whose `Credential` is written by hand over `#[derive(Redact)]`.

use nebula_credential_core::__private::{Guarded, check_schema, decode as read, encode as write};
use nebula_credential_core::{Credential, CredentialError, SecretField, SecretWriter};
use serde::{Serialize, Serializer};

/// Writes `value` as JSON; a redacted one is refused, or its placeholders would become the secrets.
pub(crate) fn encode<T: SecretField>(value: &T, out: &mut SecretWriter) -> Result<(), CredentialError> {
    struct Stored<'a, T>(&'a T);

    impl<T: SecretField> Serialize for Stored<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.store(serializer)
        }
    }

    if value.is_redacted() {
        return Err(redacted());
    }
    write(&Stored(value), out)
}

/// What is said to whoever would store a redacted value.
pub(crate) fn redacted() -> CredentialError {
    CredentialError::validation("the value is redacted; store the real one")
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: SecretField + Credential>(bytes: &[u8], schema: u32) -> Result<T, CredentialError> {
    check_schema::<T>(schema)?;
    let value: Guarded<T> = read(bytes)?;
    value
        .into_inner()
        .ok_or_else(|| CredentialError::deserialization_failed("the stored value is empty"))
}
