//! The value of a credential as JSON, shown with its secrets left out.

use nebula_credential::types::TypeInfo;
use nebula_credential::{REDACTED, SecretField};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Object, find};
use crate::exit::{Failure, Outcome};
use crate::suggest;

/// The stored object of a credential, as far as it may be shown.
pub(crate) struct Shown<'a> {
    object: Object<'a>,
    info: Option<&'static TypeInfo>,
    reveal: bool,
}

impl<'a> Shown<'a> {
    /// `bytes` is the stored form of a credential of the type called `credential_type`.
    pub(crate) fn new(credential_type: &str, bytes: &'a [u8], reveal: bool) -> Outcome<Self> {
        let object = serde_json::from_slice(bytes).map_err(|_| {
            Failure::state(
                "the stored value is no JSON object",
                "read it with the program that defines its type",
            )
        })?;
        Ok(Self {
            object,
            info: find(credential_type),
            reveal,
        })
    }

    /// Field names and what of them may be seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Visible<'a>)> {
        self.object.iter().map(|(key, value)| {
            let visible = match self.reveal || self.is_public(key) {
                true => Visible::Value(value),
                false => Visible::Redacted,
            };
            (key, visible)
        })
    }

    /// One field, or `MAP.KEY`, an entry of one that is a map.
    pub(crate) fn field(&self, path: &str) -> Outcome<Visible<'a>> {
        if let Some((_, visible)) = self.iter().find(|(key, _)| *key == path) {
            return Ok(visible);
        }
        if let Some((map, key)) = path.split_once('.')
            && let Some(value) = self.object.get(map)
            && let Ok(entries) = serde_json::from_str::<Object<'_>>(value.get())
            && let Some(value) = entries.get(key)
        {
            return Ok(match self.reveal || self.is_public(map) {
                true => Visible::Value(value),
                false => Visible::Redacted,
            });
        }
        let names: Vec<&str> = self.object.iter().map(|(key, _)| key).collect();
        Err(Failure::not_found(
            "the credential has no such field",
            match suggest::nearest(path, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("it has: {}", names.join(", ")),
            },
        ))
    }

    /// What no known type calls public is secret.
    fn is_public(&self, key: &str) -> bool {
        self.info
            .and_then(|info| info.fields().iter().find(|field| field.name == key))
            .is_some_and(|field| !field.secret)
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, visible) in self.iter() {
            map.serialize_entry(key, &visible)?;
        }
        map.end()
    }
}

/// A field's value, or what stands in its place.
#[derive(Clone, Copy)]
pub(crate) enum Visible<'a> {
    Value(&'a RawValue),
    Redacted,
}

impl Visible<'_> {
    /// The text of a JSON string, anything else as it is written.
    pub(crate) fn plain(self) -> Zeroizing<String> {
        let Self::Value(value) = self else {
            return Zeroizing::new(REDACTED.to_owned());
        };
        // `load` leaves no copy of an escaped text behind.
        <String as SecretField>::load(value)
            .map(Zeroizing::new)
            .unwrap_or_else(|_| Zeroizing::new(value.get().to_owned()))
    }

    /// [`plain`](Self::plain) where that is one line that does nothing to a terminal, else as it is written.
    pub(crate) fn line(self) -> Zeroizing<String> {
        let plain = self.plain();
        match self {
            Self::Value(value) if plain.chars().any(char::is_control) => {
                Zeroizing::new(value.get().to_owned())
            }
            _ => plain,
        }
    }
}

impl Serialize for Visible<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Redacted => serializer.serialize_str(REDACTED),
        }
    }
}
