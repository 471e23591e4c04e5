//! What changes credentials, and what every store checks before it does.

use chrono::{DateTime, Utc};

use crate::{CredentialError, CredentialRef, Phase, RecordHead, Sealed, Tags, Version, VersionHead};

/// What must hold for a change to be made; checked and made as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// There is no such credential, or it is deleted.
    IfAbsent,
    /// It is not deleted and this is its latest version.
    IfVersion(Version),
}

impl Precondition {
    /// Compares with what a store holds: its latest version, and whether that is live (not deleted).
    ///
    /// # Errors
    /// [`CredentialError::AlreadyExists`], [`CredentialError::VersionConflict`] or [`CredentialError::NotFound`].
    pub fn check(
        self,
        id: &CredentialRef,
        latest: Option<Version>,
        live: bool,
    ) -> Result<(), CredentialError> {
        match self {
            Self::None => Ok(()),
            Self::IfAbsent if live => Err(CredentialError::already_exists(id.to_string())),
            Self::IfAbsent => Ok(()),
            Self::IfVersion(_) if !live => Err(CredentialError::not_found(id.to_string())),
            Self::IfVersion(expected) if latest == Some(expected) => Ok(()),
            Self::IfVersion(expected) => Err(CredentialError::VersionConflict {
                name: id.to_string(),
                expected: Some(expected),
                found: latest,
            }),
        }
    }
}

/// Makes a repeated change harmless: a store that has applied this token answers as it did then.
///
/// A token names one change of one credential. It is looked up before the precondition and the version are checked;
/// where it is found, nothing is written, whatever else the request says, and the answer is the version it made. A
/// store remembers it at least as long as it keeps that version. A refused change does not use its token up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyToken(pub [u8; 16]);

/// Stores a new version.
///
/// The version is chosen above the sealing layer, because it is sealed into the payload. A store accepts it only if
/// it is the one after the latest it ever held for this name; otherwise it reports a conflict.
#[derive(Debug, Clone)]
pub struct Put<P> {
    /// The credential.
    pub id: CredentialRef,
    /// The new version's head; `version` is the latest plus one.
    pub version: VersionHead,
    /// The phase the credential is in afterwards.
    pub phase: Phase,
    /// The tags it has afterwards; `None` keeps those of a live credential.
    pub tags: Option<Tags>,
    /// The value.
    pub payload: P,
    /// What must hold.
    pub precondition: Precondition,
    /// Makes a repetition harmless.
    pub token: Option<IdempotencyToken>,
    /// How many versions to keep, the new one included; at least 1, and never more than
    /// [`Capability::max_versions`](crate::Capability::max_versions): a store takes anything else as the nearer of the two.
    pub keep_versions: u32,
}

impl<P> Put<P> {
    /// The checks every store makes before it writes, in the step that writes: the precondition, that the version is
    /// the one after `latest`, which the store ever held, and that what is revoked stays so. `live` is the head, if the
    /// credential is live.
    ///
    /// # Errors
    /// Those of [`Precondition::check`], [`CredentialError::VersionConflict`], and [`CredentialError::InvalidState`].
    pub fn check(&self, latest: Option<Version>, live: Option<&RecordHead>) -> Result<(), CredentialError> {
        self.precondition.check(&self.id, latest, live.is_some())?;
        let next = latest.map_or(Some(Version::FIRST), Version::next);
        if next == Some(self.version.version) {
            return live.map_or(Ok(()), RecordHead::check_not_revoked);
        }
        Err(CredentialError::VersionConflict {
            name: self.id.to_string(),
            expected: Version::new(self.version.version.get() - 1),
            found: latest,
        })
    }

    /// The head after this change at `now`, where `live` is the one before it, if the credential is live.
    pub fn head(&self, live: Option<&RecordHead>, now: DateTime<Utc>) -> RecordHead {
        let old_tags = || live.map(|head| head.tags.clone()).unwrap_or_default();
        RecordHead {
            id: self.id.clone(),
            version: self.version.clone(),
            latest: self.version.version,
            phase: self.phase,
            created_at: live.map_or(self.version.created_at, |head| head.created_at),
            updated_at: now,
            deleted_at: None,
            tags: self.tags.clone().unwrap_or_else(old_tags),
        }
    }
}

/// Puts other bytes in the place of a payload, if it is still the one that was read; deleted credentials included.
///
/// Nothing else changes, not even [`updated_at`](RecordHead::updated_at).
#[derive(Debug, Clone)]
pub struct Rewrite<P> {
    /// The credential.
    pub id: CredentialRef,
    /// The version.
    pub version: Version,
    /// The payload as it was read; anything else there is a conflict.
    pub expected: Sealed,
    /// The new payload.
    pub payload: P,
}

/// Changes what lies in the clear; no new version. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The credential.
    pub id: CredentialRef,
    /// The new tags, all of them.
    pub tags: Option<Tags>,
    /// The new phase.
    pub phase: Option<Phase>,
    /// What must hold.
    pub precondition: Precondition,
}

impl Update {
    /// The checks every store makes before it changes `live`, in the step that does: the precondition, and that what is
    /// revoked stays so.
    ///
    /// # Errors
    /// Those of [`Precondition::check`], and [`CredentialError::InvalidState`].
    pub fn check(&self, live: &RecordHead) -> Result<(), CredentialError> {
        self.precondition.check(&self.id, Some(live.latest), true)?;
        match self.phase {
            None | Some(Phase::Revoked) => Ok(()),
            Some(_) => live.check_not_revoked(),
        }
    }
}

/// Deletes a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The credential.
    pub id: CredentialRef,
    /// How thoroughly.
    pub mode: DeleteMode,
    /// What must hold.
    pub precondition: Precondition,
}

/// How thoroughly to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Hide it; it can be restored.
    Soft,
    /// Destroy every payload, deleted or not. The last version number is remembered and never used again.
    Purge,
}

/// Undoes a soft deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The credential.
    pub id: CredentialRef,
}
