//! A store that can do everything, written for plainness, and the mistakes stores make.

mod list;
mod mistake;
mod put;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialError, CredentialRef, Get, IdempotencyToken, Record, RecordHead, Sealed, Version, VersionHead,
};

pub use self::mistake::Mistake;

type Answer<T> = Result<T, CredentialError>;

const MOST: u32 = 20;

struct Kept {
    head: VersionHead,
    payload: Sealed,
    token: Option<IdempotencyToken>,
}

struct Entry {
    head: RecordHead,
    kept: BTreeMap<Version, Kept>,
}

impl Entry {
    fn live(&self) -> bool {
        !self.kept.is_empty() && self.head.deleted_at.is_none()
    }
}

#[derive(Default)]
pub struct Disk {
    entries: Mutex<BTreeMap<CredentialRef, Entry>>,
    writing: Mutex<()>,
}

#[derive(Clone)]
pub struct Model {
    disk: Arc<Disk>,
    mistake: Mistake,
    encrypts: bool,
    /// The disk as a handle that caches for ever saw it.
    frozen: Arc<Mutex<BTreeMap<CredentialRef, Record<Sealed>>>>,
}

impl Model {
    pub fn new(disk: Arc<Disk>, mistake: Mistake) -> Self {
        Self {
            disk,
            mistake,
            encrypts: false,
            frozen: Arc::default(),
        }
    }

    pub fn encrypting(self) -> Self {
        Self {
            encrypts: true,
            ..self
        }
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<CredentialRef, Entry>> {
        self.disk.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address things are kept under.
    fn key(&self, id: &CredentialRef) -> CredentialRef {
        let part = |tenant: &str, scope: &str, name: &str| {
            CredentialRef::new(
                tenant.parse().unwrap(),
                scope.parse().unwrap(),
                name.parse().unwrap(),
            )
        };
        match self.mistake {
            Mistake::TenantBlind => part("any", id.scope().as_str(), id.name().as_str()),
            Mistake::JoinedAddress => {
                let joined = format!("{}/{}", id.scope(), id.name());
                let joined = if joined.len() > 128 {
                    id.name().to_string()
                } else {
                    joined
                };
                part(id.tenant().as_str(), "any", &joined)
            }
            Mistake::ScopeBlind => part(id.tenant().as_str(), "any", id.name().as_str()),
            Mistake::CutsNames => part(
                id.tenant().as_str(),
                id.scope().as_str(),
                id.name().as_str().get(..127).unwrap_or(id.name().as_str()),
            ),
            _ => id.clone(),
        }
    }

    fn time(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let nanos = |time: DateTime<Utc>| {
            time.timestamp_nanos_opt()
                .map_or(DateTime::<Utc>::UNIX_EPOCH, DateTime::from_timestamp_nanos)
        };
        match self.mistake {
            Mistake::MillisecondTimes => DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap(),
            Mistake::NanosecondTimes => nanos(time),
            _ => time,
        }
    }

    fn read(&self, op: &Get, deleted_too: bool) -> Answer<Record<Sealed>> {
        let key = self.key(&op.id);
        let entries = self.entries();
        let found = entries
            .get(&key)
            .filter(|entry| entry.live() || deleted_too && !entry.kept.is_empty());
        let entry = found.ok_or_else(|| {
            if self.is(Mistake::AbsentIsUnavailable) {
                return CredentialError::unavailable("nothing came back");
            }
            absent(&op.id)
        })?;
        let wanted = op.version.resolve(entry.head.latest);
        let newest = entry.kept.values().next_back();
        let kept = entry.kept.get(&wanted).ok_or_else(|| {
            if self.is(Mistake::MissingVersionIsNotFound) {
                return absent(&op.id);
            }
            CredentialError::version_not_found(&op.id, wanted)
        })?;
        let payload = match newest {
            Some(newest) if self.is(Mistake::LatestPayloadForAll) => newest.payload.clone(),
            _ => kept.payload.clone(),
        };
        let head = RecordHead {
            id: op.id.clone(),
            version: match newest {
                Some(newest) if self.is(Mistake::OneDescriptionForAll) => VersionHead {
                    version: wanted,
                    ..newest.head.clone()
                },
                _ => kept.head.clone(),
            },
            ..entry.head.clone()
        };
        Ok(Record { head, payload })
    }
}

fn absent(id: &CredentialRef) -> CredentialError {
    CredentialError::not_found(id.to_string())
}
