//! What the code of the derive macros calls.

use std::collections::BTreeMap;

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
    codec::write(&secret::Field(value), out)
}

/// Writes the two hidden storage methods of [`Credential`] for a struct with `#[derive(Redact)]`.
///
/// Better than [`serde_codec!`](crate::serde_codec) for it: the struct needs no `Serialize`, and secrets read before an
/// error are wiped.
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

/// Rewrites the stored form of an older schema. What is read and what comes of it is wiped; what `migrate` itself drops
/// is not.
pub fn migrate(
    bytes: &[u8],
    schema_version: u32,
    migrate: impl FnOnce(u32, Value) -> Result<Value, CredentialError>,
) -> Result<Plaintext, CredentialError> {
    let old = tree(codec::decode(bytes)?, TREE_DEPTH)?.take();
    let new = WipedValue(migrate(schema_version, old)?);
    let mut out = SecretWriter::with_limit(limits::SECRET_BYTES_MAX);
    codec::write(&new.0, &mut out)?;
    Ok(out.finish())
}

/// How deep a stored form may be: the bound of serde_json, which reads what becomes of it.
const TREE_DEPTH: usize = 127;

/// Reads JSON into a tree. serde_json would decode a text with escapes in a buffer that nobody wipes, and leave a tree
/// that fails half-way as it is.
fn tree(raw: &RawValue, depth: usize) -> Result<WipedValue, CredentialError> {
    let text = raw.get();
    let inner = |raw: &RawValue| match depth.checked_sub(1) {
        Some(depth) => tree(raw, depth),
        None => Err(CredentialError::deserialization_failed(
            "the stored form is nested too deep; store the value again",
        )),
    };
    let value = match text.as_bytes().first() {
        Some(b'"') => {
            let text = secret::text::unescape(text).ok_or_else(|| {
                CredentialError::deserialization_failed("a text is not valid Unicode; store the value again")
            })?;
            Value::String(secret::text::take(text))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = codec::decode(text.as_bytes())?;
            let items: Vec<_> = items.into_iter().map(inner).collect::<Result<_, _>>()?;
            items.into_iter().map(WipedValue::take).collect()
        }
        Some(b'{') => {
            let entries: BTreeMap<String, &RawValue> = codec::decode(text.as_bytes())?;
            let entry = |(key, raw)| Ok((key, inner(raw)?));
            let entries: Vec<_> = entries
                .into_iter()
                .map(entry)
                .collect::<Result<_, CredentialError>>()?;
            entries
                .into_iter()
                .map(|(key, value)| (key, value.take()))
                .collect()
        }
        _ => codec::decode(text.as_bytes())?,
    };
    Ok(WipedValue(value))
}

/// A JSON tree whose texts are wiped on drop.
struct WipedValue(Value);

impl WipedValue {
    /// The tree, now the caller's to wipe.
    fn take(mut self) -> Value {
        std::mem::take(&mut self.0)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Value, CredentialError> {
        codec::decode(json.as_bytes())
            .and_then(|raw| tree(raw, TREE_DEPTH))
            .map(WipedValue::take)
    }

    #[test]
    fn the_tree_is_the_one_serde_json_reads() {
        for json in [
            "null",
            " true ",
            "-12.5e3",
            "18446744073709551615",
            "\"\"",
            r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#,
            r#" [ 1 , "two", [ ], { } ] "#,
            r#"{"b":{"a":[null,"x\ny"]},"a":"first","a":"last","k\n":1}"#,
        ] {
            let expected: Value = serde_json::from_str(json).unwrap();
            assert_eq!(read(json).unwrap(), expected, "{json}");
        }
        for json in ["", "{", r#"["a",]"#, r#"["a", 1e999]"#, r#""\ud800""#, "nul"] {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_form_may_be_as_deep_as_can_be_read_again_and_no_deeper() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(serde_json::from_str::<Value>(&nested(TREE_DEPTH)).is_ok());
        assert!(read(&nested(TREE_DEPTH)).is_ok());
        assert!(serde_json::from_str::<Value>(&nested(TREE_DEPTH + 1)).is_err());
        assert!(read(&nested(TREE_DEPTH + 1)).is_err());
        assert!(read(&nested(100_000)).is_err());
    }
}
