//! Secret bytes, and what a field that holds them must be able to do.

mod fields;
pub(crate) mod text;

use std::fmt;
use std::io;

pub(crate) use fields::Field;
use zeroize::Zeroize;

use crate::{CredentialError, limits};

/// What stands where a secret was.
pub const REDACTED: &str = "[REDACTED]";

/// The encoded value of a credential: bytes that no one may print, copy or serialise by accident.
///
/// Wiped on drop.
pub struct Plaintext(Vec<u8>);

impl Plaintext {
    /// Takes `bytes`, spare capacity included: what lies there must never have held a secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // The slice, not the Vec: a Vec is wiped byte by byte, a slice at once.
        self.0.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[REDACTED {} bytes]", self.0.len())
    }
}

/// Collects an encoded credential; what it outgrows is wiped.
pub struct SecretWriter {
    buffer: Plaintext,
    limit: usize,
}

impl SecretWriter {
    /// A writer that takes at most `limit` bytes (never more than [`limits::SECRET_BYTES_MAX`]).
    pub fn with_limit(limit: usize) -> Self {
        Self {
            buffer: Plaintext::new(Vec::with_capacity(512)),
            limit: limit.min(limits::SECRET_BYTES_MAX),
        }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`]; what was written before stays.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), CredentialError> {
        let needed = self.buffer.len().saturating_add(bytes.len());
        if needed > self.limit {
            return Err(CredentialError::limit("secret bytes", self.limit, needed));
        }
        if needed > self.buffer.0.capacity() {
            let mut wider = Vec::with_capacity(needed.next_power_of_two());
            wider.extend_from_slice(self.buffer.expose());
            self.buffer = Plaintext::new(wider);
        }
        self.buffer.0.extend_from_slice(bytes);
        Ok(())
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> &[u8] {
        self.buffer.expose()
    }

    /// What was written.
    pub fn finish(self) -> Plaintext {
        self.buffer
    }

    /// The most bytes this writer takes.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl io::Write for SecretWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for SecretWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.buffer.fmt(f)
    }
}

/// A type that may stand in a `#[secret]` field: it can be wiped, replaced by [`REDACTED`], and stored.
///
/// Structs of your own get it from `#[derive(Redact)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a `#[secret]` field",
    label = "cannot be wiped, redacted and stored",
    note = "use `String`, `SecretString`, `Zeroizing<String>`, `Vec<u8>`, `SecretSlice<u8>`, an `Option`, `Vec` or map of these, or a struct with `#[derive(Redact)]`"
)]
pub trait SecretField: Sized {
    /// Overwrites the secret.
    fn wipe(&mut self);

    /// A value of the same shape that holds no secret.
    fn redacted(&self) -> Self;

    /// Whether this is what [`redacted`](Self::redacted) makes of something: it must not be stored.
    fn is_redacted(&self) -> bool;

    /// Writes the secret itself; for storage only.
    ///
    /// # Errors
    /// Those of the serializer.
    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads what [`store`](Self::store) wrote.
    ///
    /// # Errors
    /// Those of the deserializer; their text may quote the input and must not be shown.
    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// A decoded field on its way into its struct: wiped if decoding the rest fails.
pub struct Guarded<T: SecretField>(Option<T>);

impl<T: SecretField> Guarded<T> {
    /// The field, now the caller's to wipe.
    pub fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: SecretField> From<T> for Guarded<T> {
    fn from(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: SecretField + Default> Default for Guarded<T> {
    fn default() -> Self {
        T::default().into()
    }
}

impl<'de, T: SecretField> serde::Deserialize<'de> for Guarded<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::load(deserializer).map(Self::from)
    }
}

impl<T: SecretField> Drop for Guarded<T> {
    fn drop(&mut self) {
        if let Some(value) = &mut self.0 {
            value.wipe();
        }
    }
}
