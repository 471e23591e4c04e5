//! The storage codec: JSON in, JSON out, no foreign error text.

use serde::Serialize;
use serde::de::Deserialize;
use serde_json::error::Category;

use crate::{Credential, CredentialError, Plaintext, REDACTED, SecretWriter};

/// Encodes `credential` for storage, in at most `limit` bytes.
///
/// # Errors
/// [`CredentialError::LimitExceeded`], or what the credential's own codec reports.
pub fn encode_credential<C: Credential>(credential: &C, limit: usize) -> Result<Plaintext, CredentialError> {
    let mut out = SecretWriter::with_limit(limit);
    credential.encode(&mut out)?;
    Ok(out.finish())
}

/// Decodes what [`encode_credential`] wrote under `schema_version`.
///
/// # Errors
/// [`CredentialError::DeserializationFailed`], [`CredentialError::UnsupportedFormat`] for a newer schema, or what the
/// credential's own codec reports.
pub fn decode_credential<C: Credential>(
    bytes: &Plaintext,
    schema_version: u32,
) -> Result<C, CredentialError> {
    C::decode(bytes.expose(), schema_version)
}

/// Writes `value` as JSON, for types that do not say which fields are secret: the redaction marker is refused in any.
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut SecretWriter) -> Result<(), CredentialError> {
    write(value, out)?;
    let marker = format!("\"{REDACTED}\"");
    if out
        .written()
        .windows(marker.len())
        .any(|part| part == marker.as_bytes())
    {
        return Err(CredentialError::validation(
            "a field holds the redaction marker; store the real value",
        ));
    }
    Ok(())
}

/// Writes `value` as JSON.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut SecretWriter) -> Result<(), CredentialError> {
    match serde_json::to_writer(&mut *out, value) {
        Ok(()) => Ok(()),
        Err(error) if error.classify() == Category::Io => Err(CredentialError::limit(
            "secret bytes",
            out.limit(),
            out.limit().saturating_add(1),
        )),
        Err(_) => Err(CredentialError::serialization_failed(
            "a field cannot be written as JSON",
        )),
    }
}

/// Reads JSON. Says where it went wrong, never what stood there: serde quotes the offending value.
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CredentialError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = match error.classify() {
            Category::Data => "a field is missing, unknown or of the wrong type",
            Category::Syntax | Category::Eof | Category::Io => "not valid JSON",
        };
        CredentialError::deserialization_failed(format!(
            "{what} (line {}, column {}); `redact` and `types` show the expected fields",
            error.line(),
            error.column()
        ))
    })
}

/// Refuses a schema this program does not know.
pub fn check_schema<C: Credential>(found: u32) -> Result<(), CredentialError> {
    if found == C::schema_version() {
        return Ok(());
    }
    Err(CredentialError::unsupported_format(format!(
        "credential type {} is stored with schema {found} and this program knows {}; upgrade it, or add a migration",
        C::credential_type(),
        C::schema_version()
    )))
}
