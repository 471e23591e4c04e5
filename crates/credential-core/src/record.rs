//! What a store keeps of a credential.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::name::check_tag;
use crate::{CredentialError, CredentialRef, Phase, Plaintext, Version, limits};

/// What is known of one version without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionHead {
    /// Its number.
    pub version: Version,
    /// The credential type it was stored as.
    pub credential_type: Arc<str>,
    /// The version of that type's stored shape.
    pub schema_version: u32,
    /// When it was stored, in whole microseconds; years 1 to 9999.
    pub created_at: DateTime<Utc>,
    /// When it ceases to work, if it does, in whole microseconds; years 1 to 9999.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What is known of a credential without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead {
    /// Its address.
    pub id: CredentialRef,
    /// The version asked for, or the current one.
    pub version: VersionHead,
    /// The newest version there is; numbers only grow.
    pub latest: Version,
    /// Where it stands in its life.
    pub phase: Phase,
    /// When the first version since it was last absent or deleted was stored; kept when that version is dropped.
    pub created_at: DateTime<Utc>,
    /// When it was last stored, updated, deleted or restored, by the clock of that request.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted, if it is, by the clock of that request.
    pub deleted_at: Option<DateTime<Utc>>,
    /// What it is filed under. Tags lie in the clear.
    pub tags: Tags,
}

impl RecordHead {
    /// Refuses what would bring a revoked credential back.
    ///
    /// # Errors
    /// [`CredentialError::InvalidState`].
    pub fn check_not_revoked(&self) -> Result<(), CredentialError> {
        if self.phase != Phase::Revoked {
            return Ok(());
        }
        Err(CredentialError::invalid_state(format!(
            "{} is revoked, which is final; delete it first, or use another name",
            self.id
        )))
    }
}

/// A record with its payload, sealed or plain.
#[derive(Debug)]
pub struct Record<P> {
    /// What is known without the key.
    pub head: RecordHead,
    /// The value.
    pub payload: P,
}

/// Only sealed records may be copied.
impl Clone for Record<Sealed> {
    fn clone(&self) -> Self {
        Self {
            head: self.head.clone(),
            payload: self.payload.clone(),
        }
    }
}

/// Up to 64 pairs of key and value a credential is filed under. They lie in the clear: no secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tag, or replaces the value of one.
    ///
    /// # Errors
    /// [`CredentialError::InvalidName`] or [`CredentialError::LimitExceeded`].
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), CredentialError> {
        check_tag(key, value)?;
        let replaced = self.0.get(key).map(|old| key.len() + old.len());
        if replaced.is_none() && self.0.len() >= limits::TAGS {
            return Err(CredentialError::limit("tags", limits::TAGS, self.0.len() + 1));
        }
        let total = self.bytes() - replaced.unwrap_or(0) + key.len() + value.len();
        if total > limits::TAGS_BYTES {
            return Err(CredentialError::limit("tag bytes", limits::TAGS_BYTES, total));
        }
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// The tags made of `pairs`.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert).
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CredentialError> {
        let mut tags = Self::new();
        for (key, value) in pairs {
            tags.insert(key, value)?;
        }
        Ok(tags)
    }

    /// The value of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every tag, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every tag of `wanted` is here, with its value.
    pub(crate) fn contains_all(&self, wanted: &Self) -> bool {
        wanted.iter().all(|(key, value)| self.get(key) == Some(value))
    }

    /// What the keys of reserved tags begin with: those of access control, which name the owner of a credential and what is
    /// shared of it.
    pub const RESERVED_PREFIX: &str = "nebula.access/";

    /// Whether the tag of `key` is reserved.
    pub fn is_reserved(key: &str) -> bool {
        key.starts_with(Self::RESERVED_PREFIX)
    }

    /// These tags in the place of `current`, whose reserved ones stay: they need not be named, and none may differ.
    ///
    /// # Errors
    /// [`CredentialError::AccessDenied`] for a reserved tag that is not in `current`; [`CredentialError::LimitExceeded`] if there
    /// is no room for both.
    pub fn keep_reserved(mut self, current: Option<&Self>) -> Result<Self, CredentialError> {
        let given = |key: &str| current.and_then(|tags| tags.get(key));
        if self
            .iter()
            .any(|(key, value)| Self::is_reserved(key) && given(key) != Some(value))
        {
            return Err(CredentialError::access_denied(
                "tags that begin with `nebula.access/` are set by access control alone; leave them out, or share the \
                 credential",
            ));
        }
        let reserved = current.into_iter().flat_map(Self::iter);
        for (key, value) in reserved.filter(|(key, _)| Self::is_reserved(key)) {
            self.insert(key, value)?;
        }
        Ok(self)
    }

    /// These tags but the reserved ones.
    #[must_use]
    pub fn without_reserved(mut self) -> Self {
        self.0.retain(|key, _| !Self::is_reserved(key));
        self
    }

    fn bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// What an `NBC1` envelope begins with. Its high bit and line ends show damage by text tools, as in PNG.
pub const ENVELOPE_MAGIC: [u8; 8] = [0x89, b'N', b'B', b'C', b'\r', b'\n', 0x1a, b'\n'];

/// A payload a store may hold: nothing in it can be read without a key, or the store encrypts by itself.
#[derive(Clone)]
pub struct Sealed(Kind);

#[derive(Clone)]
enum Kind {
    Envelope(Arc<[u8]>),
    ProviderManaged(Arc<Plaintext>),
}

impl Sealed {
    /// An envelope, as it came from a sealing layer or lay in a store.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`], or [`CredentialError::UnsupportedFormat`] for bytes that do not begin with
    /// [`ENVELOPE_MAGIC`]: a value that was never sealed cannot pass for one that was.
    pub fn envelope(bytes: impl Into<Arc<[u8]>>) -> Result<Self, CredentialError> {
        let bytes = bytes.into();
        if bytes.len() > limits::SEALED_BYTES_MAX {
            return Err(CredentialError::limit(
                "sealed bytes",
                limits::SEALED_BYTES_MAX,
                bytes.len(),
            ));
        }
        if !bytes.starts_with(&ENVELOPE_MAGIC) {
            return Err(CredentialError::unsupported_format(
                "these bytes are no NBC1 envelope; they were written by another program, or damaged",
            ));
        }
        Ok(Self(Kind::Envelope(bytes)))
    }

    /// A plain value for a store that encrypts at rest itself; others refuse it.
    pub fn provider_managed(value: Plaintext) -> Self {
        Self(Kind::ProviderManaged(Arc::new(value)))
    }

    /// The envelope, if this is one.
    pub fn as_envelope(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::Envelope(bytes) => Some(bytes),
            Kind::ProviderManaged(_) => None,
        }
    }

    /// The plain value, if this store encrypts at rest itself.
    pub fn as_provider_managed(&self) -> Option<&Plaintext> {
        match &self.0 {
            Kind::Envelope(_) => None,
            Kind::ProviderManaged(value) => Some(value),
        }
    }

    /// The envelope; what a store that does not encrypt by itself asks for.
    ///
    /// # Errors
    /// [`CredentialError::Unsupported`] for a provider-managed value.
    pub fn require_envelope(&self) -> Result<&[u8], CredentialError> {
        self.as_envelope().ok_or_else(|| {
            CredentialError::unsupported(
                "this store does not encrypt by itself; seal values with an encryption layer",
            )
        })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Envelope(bytes) => write!(f, "Sealed(envelope, {} bytes)", bytes.len()),
            Kind::ProviderManaged(value) => write!(f, "Sealed(provider-managed, {value:?})"),
        }
    }
}
