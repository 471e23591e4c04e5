use std::any::Any;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{Clock as _, Credential, CredentialError, SecretWriter, SystemClock};

/// A credential whose type is known only at run time.
///
/// Stands where a trait object would: [`Credential`] has constructors and cannot be one. A clone shares the one value,
/// which is wiped when the last of them is dropped.
#[derive(Clone)]
pub struct AnyCredential {
    value: Arc<dyn Erased>,
    until: Option<DateTime<Utc>>,
}

trait Erased: Any + Send + Sync {
    fn credential_type(&self) -> &'static str;
    fn schema_version(&self) -> u32;
    fn validate(&self) -> Result<(), CredentialError>;
    fn is_expired(&self) -> bool;
    fn expires_at(&self) -> Option<DateTime<Utc>>;
    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError>;
    fn as_any(&self) -> &dyn Any;
}

impl<C: Credential> Erased for C {
    fn credential_type(&self) -> &'static str {
        C::credential_type()
    }
    fn schema_version(&self) -> u32 {
        C::schema_version()
    }
    fn validate(&self) -> Result<(), CredentialError> {
        C::validate(self)
    }
    fn is_expired(&self) -> bool {
        C::is_expired(self)
    }
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        C::expires_at(self)
    }
    fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError> {
        C::encode(self, out)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl AnyCredential {
    /// Forgets the type of `credential`.
    pub fn new<C: Credential>(credential: C) -> Self {
        Self {
            value: Arc::new(credential),
            until: None,
        }
    }

    /// The same credential, which ceases to work at `end` at the latest, whatever the value says of itself: what is known
    /// of its expiry may not be in it.
    #[must_use]
    pub fn until(mut self, end: DateTime<Utc>) -> Self {
        self.until = Some(self.until.map_or(end, |before| before.min(end)));
        self
    }

    /// The name of its type.
    pub fn credential_type(&self) -> &'static str {
        self.value.credential_type()
    }

    /// The version of its stored shape.
    pub fn schema_version(&self) -> u32 {
        self.value.schema_version()
    }

    /// Checks the shape of the value.
    ///
    /// # Errors
    /// Those of the type.
    pub fn validate(&self) -> Result<(), CredentialError> {
        self.value.validate()
    }

    /// Whether the value has ceased to work, by the clock of the operating system.
    pub fn is_expired(&self) -> bool {
        self.value.is_expired() || self.until.is_some_and(|end| end <= SystemClock.now())
    }

    /// When the value ceases to work, if it does.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        match (self.value.expires_at(), self.until) {
            (Some(end), Some(until)) => Some(end.min(until)),
            (end, until) => end.or(until),
        }
    }

    /// The credential, if it is a `C`.
    pub fn downcast_ref<C: Credential>(&self) -> Option<&C> {
        self.value.as_any().downcast_ref()
    }

    #[doc(hidden)]
    pub fn encode(&self, out: &mut SecretWriter) -> Result<(), CredentialError> {
        self.value.encode(out)
    }
}

impl fmt::Debug for AnyCredential {
    /// The name of the type alone: the value's own `Debug` may have been written by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyCredential({})", self.credential_type())
    }
}
