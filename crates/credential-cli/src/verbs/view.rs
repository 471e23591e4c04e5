//! What is known of credentials without a key, as text and as the stable JSON shapes.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use nebula_credential::{CredentialMetadata, Phase, RecordHead, VersionHead};
use serde::{Serialize, Serializer};

/// A credential, without its value.
#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    pub(super) tenant: String,
    pub(super) scope: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) credential_type: String,
    pub(super) version: u32,
    pub(super) state: &'static str,
    pub(super) phase: &'static str,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) expires_at: Option<String>,
    pub(super) deleted_at: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Metadata {
    pub(super) fn of_head(head: &RecordHead, now: DateTime<Utc>) -> Self {
        let phase = phase_at(head.phase, &head.version, now);
        Self {
            tenant: head.id.tenant().to_string(),
            scope: head.id.scope().to_string(),
            name: head.id.name().to_string(),
            credential_type: head.version.credential_type.to_string(),
            version: head.version.version.get(),
            state: phase.state().as_str(),
            phase: phase.as_str(),
            created_at: time(head.created_at),
            updated_at: time(head.updated_at),
            expires_at: head.version.expires_at.map(time),
            deleted_at: head.deleted_at.map(time),
            tags: head
                .tags
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

impl From<CredentialMetadata> for Metadata {
    fn from(known: CredentialMetadata) -> Self {
        Self {
            tenant: known.id.tenant().to_string(),
            scope: known.id.scope().to_string(),
            name: known.name.to_string(),
            credential_type: known.credential_type,
            version: known.version.get(),
            state: known.phase.state().as_str(),
            phase: known.phase.as_str(),
            created_at: time(known.created_at),
            updated_at: time(known.updated_at),
            expires_at: known.expires_at.map(time),
            deleted_at: known.deleted_at.map(time),
            tags: known.tags.into_iter().collect(),
        }
    }
}

/// One kept version.
#[derive(Debug, Serialize)]
pub(super) struct Version {
    pub(super) version: u32,
    pub(super) current: bool,
    /// None of one that was superseded.
    pub(super) phase: Option<&'static str>,
    #[serde(rename = "type")]
    pub(super) credential_type: String,
    pub(super) created_at: String,
    pub(super) expires_at: Option<String>,
}

impl Version {
    /// `current` is the phase of the current version, of which there is one.
    pub(super) fn new(known: &VersionHead, current: Option<Phase>, now: DateTime<Utc>) -> Self {
        Self {
            version: known.version.get(),
            current: current.is_some(),
            phase: current.map(|phase| phase_at(phase, known, now).as_str()),
            credential_type: known.credential_type.to_string(),
            created_at: time(known.created_at),
            expires_at: known.expires_at.map(time),
        }
    }
}

/// What is past its expiry is expired, whatever was stored.
fn phase_at(stored: Phase, version: &VersionHead, now: DateTime<Utc>) -> Phase {
    let is_past = version.expires_at.is_some_and(|end| end <= now);
    if is_past && stored.is_usable() {
        Phase::Expired
    } else {
        stored
    }
}

/// `deleted`, or the state it is in.
pub(super) fn standing(head: &RecordHead, now: DateTime<Utc>) -> &'static str {
    if head.deleted_at.is_some() {
        "deleted"
    } else {
        phase_at(head.phase, &head.version, now).state().as_str()
    }
}

/// Words as a program reads them: `key file` is `key_file`.
pub(super) fn code<S: Serializer>(words: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&words.replace(' ', "_"))
}

/// RFC 3339 in UTC, with as many decimals as are kept.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The same to the second, for people.
pub(super) fn short(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time.to_owned(),
    }
}
