//! Secret bytes and the fields that hold them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::io;

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use zeroize::{Zeroize, Zeroizing};

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

impl<T: SecretField> Drop for Guarded<T> {
    fn drop(&mut self) {
        if let Some(value) = &mut self.0 {
            value.wipe();
        }
    }
}

pub(crate) mod text {
    //! JSON strings, decoded without a copy that nobody wipes: serde_json unescapes into a buffer of its own.

    use memchr::memchr;
    use serde::de::Error;
    use serde_json::value::RawValue;
    use zeroize::Zeroizing;

    /// Decodes a string field into a buffer of exactly its length.
    pub(super) fn load<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        unescape(raw.get()).ok_or_else(|| D::Error::custom("expected a string"))
    }

    /// The value of a JSON string literal; `None` if it is not one. The syntax is checked already.
    pub(crate) fn unescape(literal: &str) -> Option<Zeroizing<String>> {
        let body = literal.strip_prefix('"')?.strip_suffix('"')?;
        // No escape makes the text longer, so the buffer never grows and leaves nothing behind.
        let mut out = Zeroizing::new(String::with_capacity(body.len()));
        let mut rest = body;
        // Most secrets have no escape: they are one copy.
        while let Some(at) = memchr(b'\\', rest.as_bytes()) {
            out.push_str(rest.get(..at)?);
            let mut chars = rest.get(at + 1..)?.chars();
            out.push(escaped(&mut chars)?);
            rest = chars.as_str();
        }
        out.push_str(rest);
        Some(out)
    }

    fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
        Some(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return unicode(chars),
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        })
    }

    fn unicode(chars: &mut std::str::Chars<'_>) -> Option<char> {
        let high = hex4(chars)?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        if (chars.next()?, chars.next()?) != ('\\', 'u') {
            return None;
        }
        let low = hex4(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)
    }

    fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value << 4 | chars.next()?.to_digit(16)?;
        }
        Some(value)
    }
}

/// The owned string inside, moved out without a copy.
pub(crate) fn take(mut text: Zeroizing<String>) -> String {
    std::mem::take(&mut *text)
}

impl SecretField for String {
    fn wipe(&mut self) {
        // Bytes first and at once: wiping a String goes byte by byte.
        let mut bytes = std::mem::take(self).into_bytes();
        SecretField::wipe(&mut bytes);
    }

    fn redacted(&self) -> Self {
        REDACTED.to_owned()
    }

    fn is_redacted(&self) -> bool {
        self == REDACTED
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::load(deserializer).map(take)
    }
}

impl SecretField for SecretString {
    /// Replaces the text with none; the old one is wiped as it is dropped.
    fn wipe(&mut self) {
        *self = Self::default();
    }

    fn redacted(&self) -> Self {
        REDACTED.into()
    }

    fn is_redacted(&self) -> bool {
        self.expose_secret() == REDACTED
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose_secret())
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text::load(deserializer)?;
        // A boxed copy of the exact length; `into_boxed_str` might move the text and leave the old place unwiped.
        Ok(Self::from(Box::<str>::from(text.as_str())))
    }
}

impl SecretField for Zeroizing<String> {
    fn wipe(&mut self) {
        SecretField::wipe(&mut **self);
    }

    fn redacted(&self) -> Self {
        Self::new(REDACTED.to_owned())
    }

    fn is_redacted(&self) -> bool {
        self.as_str() == REDACTED
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::load(deserializer)
    }
}

/// Bytes are stored as standard base64 text.
fn store_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    use base64::Engine as _;
    let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(bytes));
    serializer.serialize_str(&text)
}

fn load_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    use base64::Engine as _;
    use serde::de::Error as _;
    let text = text::load(deserializer)?;
    // Sized for the worst case, so that decoding never grows it.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    base64::engine::general_purpose::STANDARD
        .decode_vec(text.as_bytes(), &mut bytes)
        .map_err(|_| D::Error::custom("expected base64"))?;
    Ok(bytes)
}

impl SecretField for Vec<u8> {
    fn wipe(&mut self) {
        // What was cut off lies here still. First, for what is cleared is spare as well.
        self.spare_capacity_mut().zeroize();
        self.as_mut_slice().zeroize();
        self.clear();
    }

    fn redacted(&self) -> Self {
        REDACTED.as_bytes().to_vec()
    }

    fn is_redacted(&self) -> bool {
        self == REDACTED.as_bytes()
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        store_bytes(self, serializer)
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        load_bytes(deserializer).map(|mut bytes| std::mem::take(&mut *bytes))
    }
}

impl SecretField for SecretSlice<u8> {
    fn wipe(&mut self) {
        *self = Self::new(Box::default());
    }

    fn redacted(&self) -> Self {
        Self::new(REDACTED.as_bytes().into())
    }

    fn is_redacted(&self) -> bool {
        self.expose_secret() == REDACTED.as_bytes()
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        store_bytes(self.expose_secret(), serializer)
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        load_bytes(deserializer).map(|bytes| Self::new(bytes.as_slice().into()))
    }
}

impl<T: SecretField> SecretField for Option<T> {
    fn wipe(&mut self) {
        if let Some(value) = self {
            value.wipe();
        }
    }

    fn redacted(&self) -> Self {
        self.as_ref().map(T::redacted)
    }

    fn is_redacted(&self) -> bool {
        self.as_ref().is_some_and(T::is_redacted)
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.store(serializer),
            None => serializer.serialize_none(),
        }
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let raw: &serde_json::value::RawValue = serde::Deserialize::deserialize(deserializer)?;
        if raw.get() == "null" {
            return Ok(None);
        }
        // The foreign text is dropped: it quotes the value.
        T::load(raw)
            .map(Some)
            .map_err(|_| D::Error::custom("expected a secret or null"))
    }
}

/// A map entry on its way to or from storage.
pub(crate) struct Field<T>(pub(crate) T);

impl<T: SecretField> serde::Serialize for Field<&T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.store(serializer)
    }
}

impl<'de, T: SecretField> serde::Deserialize<'de> for Guarded<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::load(deserializer).map(Self::from)
    }
}

macro_rules! secret_map {
    ($map:ident $(, $hasher:ident: $bound:ident)?; $key:path) => {
        impl<K, V, $($hasher)?> SecretField for $map<K, V, $($hasher)?>
        where
            K: $key + Eq + Clone + serde::Serialize + serde::de::DeserializeOwned,
            V: SecretField,
            $($hasher: $bound + Default)?
        {
            fn wipe(&mut self) {
                self.values_mut().for_each(V::wipe);
            }

            fn redacted(&self) -> Self {
                self.iter().map(|(key, value)| (key.clone(), value.redacted())).collect()
            }

            fn is_redacted(&self) -> bool {
                self.values().any(V::is_redacted)
            }

            fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.iter().map(|(key, value)| (key, Field(value))))
            }

            fn load<'de, De: serde::Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
                let guarded = <$map<K, Guarded<V>> as serde::Deserialize>::deserialize(deserializer)?;
                Ok(guarded.into_iter().filter_map(|(key, value)| Some((key, value.into_inner()?))).collect())
            }
        }
    };
}

secret_map!(BTreeMap; Ord);
secret_map!(HashMap, H: BuildHasher; Hash);

impl<T: SecretField> SecretField for Vec<T> {
    fn wipe(&mut self) {
        self.iter_mut().for_each(T::wipe);
    }

    fn redacted(&self) -> Self {
        self.iter().map(T::redacted).collect()
    }

    fn is_redacted(&self) -> bool {
        self.iter().any(T::is_redacted)
    }

    fn store<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Field))
    }

    fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let guarded = <Vec<Guarded<T>> as serde::Deserialize>::deserialize(deserializer)?;
        Ok(guarded.into_iter().filter_map(Guarded::into_inner).collect())
    }
}
