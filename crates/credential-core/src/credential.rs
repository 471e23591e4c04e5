use std::future::Future;

use chrono::{DateTime, Utc};

use crate::{Clock as _, CredentialError, CredentialValue, FieldInfo, SecretWriter, SystemClock};

/// A typed credential: what `#[derive(Credential)]` writes for a struct.
///
/// Implement it by hand where the derive does not fit, with [`serde_codec!`](crate::serde_codec) for the two hidden
/// storage methods:
///
/// ```
/// use nebula_credential_core::{Credential, CredentialError, CredentialValue};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Pin {
///     digits: String,
/// }
///
/// impl Credential for Pin {
///     nebula_credential_core::serde_codec!();
///
///     fn credential_type() -> &'static str {
///         "pin"
///     }
///     fn redact(&self) -> Self {
///         Self { digits: "[REDACTED]".into() }
///     }
///     fn to_value(&self) -> Result<CredentialValue, CredentialError> {
///         Ok(CredentialValue::Text(self.digits.as_str().into()))
///     }
///     fn from_value(value: CredentialValue) -> Result<Self, CredentialError> {
///         use nebula_credential_core::ExposeSecret;
///         match value {
///             CredentialValue::Text(text) => Ok(Self { digits: text.expose_secret().into() }),
///             _ => Err(CredentialError::type_mismatch("expected text")),
///         }
///     }
/// }
/// ```
pub trait Credential: Sized + Send + Sync + 'static {
    /// The name of the type, stored beside every value and checked on every read, such as `postgres`.
    fn credential_type() -> &'static str;

    /// The version of the stored shape; raise it when the fields change, and decode the older ones.
    fn schema_version() -> u32 {
        1
    }

    /// The fields of the stored form, for forms and listings. Empty where they are not known, as in a hand-written
    /// implementation that does not say: everything in it counts as secret then.
    fn fields() -> &'static [FieldInfo] {
        &[]
    }

    /// Checks the shape of the value, before it is stored. Freshness is not shape: an expired token is valid.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] that names the field and the remedy, never the value.
    fn validate(&self) -> Result<(), CredentialError> {
        Ok(())
    }

    /// When the value ceases to work, if it does.
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Whether the value has ceased to work, by the clock of the operating system.
    fn is_expired(&self) -> bool {
        self.is_expired_at(SystemClock.now())
    }

    /// Whether the value has ceased to work at `now`.
    fn is_expired_at(&self, now: DateTime<Utc>) -> bool {
        self.expires_at().is_some_and(|end| end <= now)
    }

    /// Gets a fresh value in place, where the type knows how.
    ///
    /// # Errors
    /// [`CredentialError::RefreshNotSupported`] unless the type overrides this.
    fn refresh(&mut self) -> impl Future<Output = Result<(), CredentialError>> + Send {
        async { Err(CredentialError::RefreshNotSupported) }
    }

    /// The same value with every secret replaced by [`REDACTED`](crate::REDACTED). It cannot be stored.
    #[must_use]
    fn redact(&self) -> Self;

    /// The interchange form, which may lose what it has no room for.
    ///
    /// # Errors
    /// [`CredentialError::SerializationFailed`].
    fn to_value(&self) -> Result<CredentialValue, CredentialError>;

    /// The value an interchange form stands for.
    ///
    /// # Errors
    /// [`CredentialError::TypeMismatch`] for the form of another type.
    fn from_value(value: CredentialValue) -> Result<Self, CredentialError>;

    /// Writes the complete value for storage, as JSON.
    #[doc(hidden)]
    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError>;

    /// Reads what [`encode`](Self::encode) wrote under `schema_version`.
    #[doc(hidden)]
    fn decode(bytes: &[u8], schema_version: u32) -> Result<Self, CredentialError>;
}

/// Writes the two hidden storage methods of [`Credential`] from the type's serde implementations.
///
/// A type that implements `Serialize` can be written by any serializer: prefer the derive, which keeps that private.
#[macro_export]
macro_rules! serde_codec {
    () => {
        fn encode(
            &self,
            out: &mut $crate::__private::SecretWriter,
        ) -> ::core::result::Result<(), $crate::__private::CredentialError> {
            $crate::__private::encode(self, out)
        }

        fn decode(
            bytes: &[u8],
            schema_version: u32,
        ) -> ::core::result::Result<Self, $crate::__private::CredentialError> {
            $crate::__private::check_schema::<Self>(schema_version)?;
            $crate::__private::decode(bytes)
        }
    };
}
