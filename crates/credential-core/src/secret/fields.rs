//! The types that may stand in a `#[secret]` field.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use zeroize::{Zeroize, Zeroizing};

use super::{Guarded, REDACTED, SecretField, text};

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
        text::load(deserializer).map(text::take)
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
