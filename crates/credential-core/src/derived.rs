//! What the code of the derive macros calls.

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::secret::Guarded;
use crate::{
    Credential, CredentialError, CredentialValue, CustomValue, Plaintext, SecretField, SecretWriter, codec,
    limits, secret,
};

/// A field that says when a credential expires.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say when a credential expires",
    label = "expected `DateTime<Utc>` or `Option<DateTime<Utc>>` of chrono",
    note = "a public field named `expires_at` is the time of expiry unless another is marked `#[credential(expires_at)]`"
)]
pub trait Expiry {
    /// The time, if there is one.
    fn expiry(&self) -> Option<DateTime<Utc>>;
}

impl Expiry for DateTime<Utc> {
    fn expiry(&self) -> Option<DateTime<Utc>> {
        Some(*self)
    }
}

impl Expiry for Option<DateTime<Utc>> {
    fn expiry(&self) -> Option<DateTime<Utc>> {
        *self
    }
}

/// Writes `value` as JSON.
pub fn encode_secret<T: SecretField>(value: &T, out: &mut SecretWriter) -> Result<(), CredentialError> {
    codec::encode(&secret::Field(value), out)
}

/// Writes the two hidden storage methods of [`Credential`] for a struct with `#[derive(Redact)]`.
///
/// Better than [`serde_codec!`](crate::serde_codec) for it: the struct needs no `Serialize`, a redacted value is refused,
/// and secrets read before an error are wiped.
#[macro_export]
macro_rules! redact_codec {
    () => {
        fn encode(
            &self,
            out: &mut $crate::__private::SecretWriter,
        ) -> ::core::result::Result<(), $crate::__private::CredentialError> {
            if $crate::__private::SecretField::is_redacted(self) {
                return ::core::result::Result::Err($crate::__private::CredentialError::validation(
                    "a secret holds the redaction marker; store the real value",
                ));
            }
            $crate::__private::encode_secret(self, out)
        }

        fn decode(
            bytes: &[u8],
            schema_version: u32,
        ) -> ::core::result::Result<Self, $crate::__private::CredentialError> {
            $crate::__private::check_schema::<Self>(schema_version)?;
            $crate::__private::decode_secret(bytes)
        }
    };
}

/// Reads what [`encode_secret`] wrote.
pub fn decode_secret<T: SecretField>(bytes: &[u8]) -> Result<T, CredentialError> {
    codec::decode::<Guarded<T>>(bytes)?
        .into_inner()
        .ok_or_else(|| CredentialError::internal("a secret was taken before it was read"))
}

/// The complete stored form.
pub fn to_custom<C: Credential>(credential: &C) -> Result<CredentialValue, CredentialError> {
    CustomValue::new(credential).map(CredentialValue::Custom)
}

/// The credential behind its complete stored form.
pub fn from_custom<C: Credential>(value: CredentialValue) -> Result<C, CredentialError> {
    match value {
        CredentialValue::Custom(custom) => custom.decode(),
        _ => Err(CredentialError::type_mismatch(format!(
            "{} is made from its own stored form alone; build it from its fields, or give the type a `from_value`",
            C::credential_type()
        ))),
    }
}

/// Rewrites the stored form of an older schema. The result is wiped, here and on every error.
pub fn migrate(
    bytes: &[u8],
    schema_version: u32,
    migrate: impl FnOnce(u32, Value) -> Result<Value, CredentialError>,
) -> Result<Plaintext, CredentialError> {
    // Checked without a copy first: a tree that is read half and then fails is not wiped.
    let raw: &RawValue = codec::decode(bytes)?;
    let old: Value = codec::decode(raw.get().as_bytes())?;
    let new = WipedValue(migrate(schema_version, old)?);
    let mut out = SecretWriter::with_limit(limits::SECRET_BYTES_MAX);
    codec::encode(&new.0, &mut out)?;
    Ok(out.finish())
}

/// A JSON tree whose texts are wiped on drop.
struct WipedValue(Value);

impl Drop for WipedValue {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.0));
    }
}

fn wipe(value: Value) {
    match value {
        Value::String(mut text) => text.wipe(),
        Value::Array(items) => items.into_iter().for_each(wipe),
        Value::Object(entries) => {
            for (mut key, value) in entries {
                key.wipe();
                wipe(value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
