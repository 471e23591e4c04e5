//! Sealed bundles: credentials on their way from one store to another, under a key of their own.

mod contents;
mod format;

use std::fmt;

use chrono::{DateTime, Datelike as _, Utc};
use nebula_credential_core::{
    CredentialError, CredentialName, Phase, Plaintext, Scope, Tags, TenantId, VersionHead, limits,
    whole_micros,
};

use crate::protector::{Protector, SlotKind};
use crate::{Entropy, OsEntropy, Suite};

/// Longest bundle, in bytes: 64 MiB hold 60 credentials of the longest kind, or all of a large store of usual ones.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most credentials in one bundle.
const CREDENTIALS_MAX: usize = 65_536;
/// Longest name of a credential type, as in an envelope.
const TYPE_NAME_MAX: usize = 255;

/// Credentials of one tenant and scope, to be sealed for whoever holds another key, or just opened.
///
/// A sealed bundle shows its length in steps of 4,096 bytes and which kind of key opens it. Where the credentials come
/// from, their names, their number and their values are sealed as one: nothing can be changed, left out, added or put
/// in another order. The bytes are described in [`format`](crate::format).
///
/// ```
/// use nebula_credential_core::{
///     Clock as _, CredentialName, Phase, Plaintext, Scope, SystemClock, Tags, TenantId, Version, VersionHead,
/// };
/// use nebula_credential_crypto::{Bundle, BundledCredential, Passphrase};
///
/// # fn main() -> Result<(), nebula_credential_core::CredentialError> {
/// let now = SystemClock.now();
/// let mut bundle = Bundle::new(TenantId::default(), Scope::default(), now);
/// bundle.add(BundledCredential {
///     name: CredentialName::new("github_token")?,
///     version: VersionHead {
///         version: Version::FIRST,
///         credential_type: "secret_text".into(),
///         schema_version: 1,
///         created_at: now,
///         expires_at: None,
///     },
///     phase: Phase::Active,
///     tags: Tags::new(),
///     payload: Plaintext::new(br#"{"text":"ghp_16C7e42F"}"#.to_vec()),
/// })?;
/// let sealed = bundle.seal(&Passphrase::new("correct horse battery staple"))?;
///
/// let opened = Bundle::open(&sealed, &Passphrase::new("correct horse battery staple"))?;
/// assert_eq!(opened.credentials()[0].payload.expose(), br#"{"text":"ghp_16C7e42F"}"#);
/// assert!(Bundle::open(&sealed, &Passphrase::new("incorrect horse")).is_err());
/// # Ok(())
/// # }
/// ```
pub struct Bundle {
    tenant: TenantId,
    scope: Scope,
    exported_at: DateTime<Utc>,
    /// Ascending by name; no name twice.
    credentials: Vec<BundledCredential>,
}

/// One credential of a [`Bundle`]: one version and its value.
#[derive(Debug)]
pub struct BundledCredential {
    /// Its name where it comes from.
    pub name: CredentialName,
    /// The version that was exported: number, type, schema and times.
    pub version: VersionHead,
    /// Where it stood in its life.
    pub phase: Phase,
    /// What it was filed under. In a bundle tags are sealed with the rest.
    pub tags: Tags,
    /// The encoded value.
    pub payload: Plaintext,
}

impl Bundle {
    /// A bundle with nothing in it, from `scope` of `tenant`, made at `exported_at`.
    pub fn new(tenant: TenantId, scope: Scope, exported_at: DateTime<Utc>) -> Self {
        Self {
            tenant,
            scope,
            exported_at: whole_micros(exported_at),
            credentials: Vec::new(),
        }
    }

    /// Puts a credential in. What order they are added in does not matter.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] for more than 65,536 credentials, a value beyond
    /// [`SECRET_BYTES_MAX`](limits::SECRET_BYTES_MAX) or a type name beyond 255 bytes; [`CredentialError::Validation`] for
    /// a name that is in it, a type name with control characters or a time outside the years 1 to 9999.
    pub fn add(&mut self, mut credential: BundledCredential) -> Result<(), CredentialError> {
        if self.credentials.len() >= CREDENTIALS_MAX {
            return Err(CredentialError::limit(
                "credentials of a bundle",
                CREDENTIALS_MAX,
                self.credentials.len() + 1,
            ));
        }
        credential.version.created_at = whole_micros(credential.version.created_at);
        credential.version.expires_at = credential.version.expires_at.map(whole_micros);
        credential.check()?;
        let place = self
            .credentials
            .binary_search_by(|known| known.name.cmp(&credential.name));
        match place {
            Ok(_) => Err(CredentialError::validation(format!(
                "{} is in the bundle already; add it once",
                credential.name
            ))),
            Err(place) => {
                self.credentials.insert(place, credential);
                Ok(())
            }
        }
    }

    /// The tenant the credentials come from.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The scope they come from.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// When the bundle was made.
    pub fn exported_at(&self) -> DateTime<Utc> {
        self.exported_at
    }

    /// The credentials, by name.
    pub fn credentials(&self) -> &[BundledCredential] {
        &self.credentials
    }

    /// The credentials, by name, for good.
    pub fn into_credentials(self) -> Vec<BundledCredential> {
        self.credentials
    }

    /// Seals it for whoever holds `protector`. May block, as [`Protector`] says.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] beyond [`BUNDLE_BYTES_MAX`]; [`CredentialError::EncryptionFailed`] without
    /// random bytes; [`CredentialError::Validation`] for a time of export outside the years 1 to 9999; those of the
    /// protector.
    pub fn seal(&self, protector: &dyn Protector) -> Result<Vec<u8>, CredentialError> {
        self.seal_with(Suite::default(), &OsEntropy, protector)
    }

    /// [`seal`](Self::seal) with other algorithms, or with another source of random bytes, as tests want it.
    ///
    /// # Errors
    /// Those of [`seal`](Self::seal).
    pub fn seal_with(
        &self,
        suite: Suite,
        entropy: &dyn Entropy,
        protector: &dyn Protector,
    ) -> Result<Vec<u8>, CredentialError> {
        check_time(self.exported_at)?;
        format::seal(self, suite, entropy, protector)
    }

    /// Opens a sealed bundle. May block, as [`Protector`] says.
    ///
    /// # Errors
    /// Each its own: [`CredentialError::Unlock`] when `protector` is not what it was sealed for;
    /// [`CredentialError::DecryptionFailed`] when it is damaged or was altered;
    /// [`CredentialError::UnsupportedFormat`] when it is no bundle, or one of a newer format;
    /// [`CredentialError::LimitExceeded`] or [`CredentialError::Validation`] when it is too long or asks for key
    /// derivation parameters out of bounds, before any derivation; those of a key provider.
    pub fn open(bytes: &[u8], protector: &dyn Protector) -> Result<Self, CredentialError> {
        format::open(bytes, protector)
    }

    /// The kind of protector that opens `bytes`, as they say themselves: to know what to ask for. Needs no key.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) but for the protector's.
    pub fn opened_by(bytes: &[u8]) -> Result<SlotKind, CredentialError> {
        format::opened_by(bytes)
    }

    /// Whether `bytes` begin as a sealed bundle does, or as one that was copied as text. No text begins so.
    pub fn is_sealed(bytes: &[u8]) -> bool {
        format::is_sealed(bytes)
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("tenant", &self.tenant)
            .field("scope", &self.scope)
            .field("exported_at", &self.exported_at)
            .field("credentials", &self.credentials.len())
            .finish()
    }
}

impl BundledCredential {
    /// What holds of a credential in a bundle, written or read.
    fn check(&self) -> Result<(), CredentialError> {
        let kind = &self.version.credential_type;
        for (what, limit, found) in [
            ("credential type name bytes", TYPE_NAME_MAX, kind.len()),
            ("secret bytes", limits::SECRET_BYTES_MAX, self.payload.len()),
        ] {
            if found > limit {
                return Err(CredentialError::limit(what, limit, found));
            }
        }
        if kind.chars().any(char::is_control) {
            return Err(CredentialError::validation(format!(
                "the type of {} has control characters in its name; rename the type",
                self.name
            )));
        }
        check_time(self.version.created_at)?;
        self.version.expires_at.map_or(Ok(()), check_time)
    }
}

fn check_time(time: DateTime<Utc>) -> Result<(), CredentialError> {
    if (1..=9999).contains(&time.year()) {
        return Ok(());
    }
    Err(CredentialError::validation(
        "a time of the bundle lies outside the years 1 to 9999; correct the clock",
    ))
}
