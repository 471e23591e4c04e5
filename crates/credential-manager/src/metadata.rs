use std::collections::HashMap;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialName, CredentialRef, CredentialState, Phase, RecordHead, Version, VersionHead,
};

/// What is known of a credential without its key.
///
/// When a credential was last read, and how often, is not here: counting reads would make every read a write.
/// The audit log knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialMetadata {
    /// Its address: tenant, scope and name.
    pub id: CredentialRef,
    /// Its name.
    pub name: CredentialName,
    /// The credential type it was stored as, such as `postgres`.
    pub credential_type: String,
    /// The short form of `phase`.
    pub state: CredentialState,
    /// Where it stands in its life.
    pub phase: Phase,
    /// The current version.
    pub version: Version,
    /// When its first version was stored.
    pub created_at: DateTime<Utc>,
    /// When its value, tags or phase last changed.
    pub updated_at: DateTime<Utc>,
    /// When the current version ceases to work, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was deleted, if it is.
    pub deleted_at: Option<DateTime<Utc>>,
    /// What it is filed under.
    pub tags: HashMap<String, String>,
}

impl CredentialMetadata {
    /// The metadata at `now`: a credential past its expiry is expired, whatever was stored.
    pub(crate) fn new(head: RecordHead, now: DateTime<Utc>) -> Self {
        let phase = phase_at(head.phase, &head.version, now);
        Self {
            name: head.id.name().clone(),
            id: head.id,
            credential_type: head.version.credential_type.as_ref().to_owned(),
            state: phase.state(),
            phase,
            version: head.version.version,
            created_at: head.created_at,
            updated_at: head.updated_at,
            expires_at: head.version.expires_at,
            deleted_at: head.deleted_at,
            tags: head
                .tags
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

/// One kept version of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialVersion {
    /// Its number.
    pub version: Version,
    /// Whether it is the one that is handed out.
    pub current: bool,
    /// The phase of the current version. One that was superseded has none: whether it still works is known to whoever
    /// issued it.
    pub phase: Option<Phase>,
    /// The credential type it was stored as.
    pub credential_type: String,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it ceases to work, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

impl CredentialVersion {
    pub(crate) fn new(version: VersionHead, current: Option<Phase>, now: DateTime<Utc>) -> Self {
        Self {
            version: version.version,
            current: current.is_some(),
            phase: current.map(|stored| phase_at(stored, &version, now)),
            credential_type: version.credential_type.as_ref().to_owned(),
            created_at: version.created_at,
            expires_at: version.expires_at,
        }
    }
}

fn phase_at(stored: Phase, version: &VersionHead, now: DateTime<Utc>) -> Phase {
    let past = version.expires_at.is_some_and(|end| end <= now);
    if past && stored.is_usable() {
        Phase::Expired
    } else {
        stored
    }
}
