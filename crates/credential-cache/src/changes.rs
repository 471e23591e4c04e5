//! What the holders of a handle hear of its credential.

use nebula_credential_core::{CredentialRef, Version};
use tokio::sync::watch;

/// What happened to a credential.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A new secret took the place of the old one, which will cease to work: rebuild what was made with it.
    Rotated,
    /// The same grant has a new value: what was made with the old one goes on.
    Refreshed,
    /// It cannot be had for now, and [`load`](crate::CredentialHandle::load) says why: make nothing new with it. What was made with
    /// it may go on. Another change follows when there is a value again, or never will be.
    Suspended,
    /// It must not be used any more: close what was made with it.
    Revoked,
}

impl ChangeKind {
    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Refreshed => "refreshed",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

/// A change of a credential.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What happened; [`Rotated`](ChangeKind::Rotated) also for a refresh, if a rotation before it was missed.
    pub kind: ChangeKind,
    /// The credential.
    pub id: CredentialRef,
    /// The version it is at now; of a revoked one, the last.
    pub version: Version,
    /// How many changes before this one this subscriber was too slow for. This one stands for them.
    pub missed: u64,
}

/// The latest change, as whoever keeps the credential current announces it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latest {
    number: u64,
    /// The number of the last rotation.
    rotated: u64,
    kind: ChangeKind,
    pub(crate) version: Version,
}

impl Latest {
    /// No change yet.
    pub(crate) const fn at(version: Version) -> Self {
        Self {
            number: 0,
            rotated: 0,
            kind: ChangeKind::Refreshed,
            version,
        }
    }

    pub(crate) fn becomes(&mut self, kind: ChangeKind, version: Version) {
        self.number += 1;
        if kind == ChangeKind::Rotated {
            self.rotated = self.number;
        }
        self.kind = kind;
        self.version = version;
    }
}

/// The changes of one credential. However slow a subscriber is, it learns of the latest, and of how many it missed.
#[derive(Debug, Clone)]
pub struct Changes {
    id: CredentialRef,
    latest: watch::Receiver<Latest>,
    seen: u64,
    /// The number of the last change this subscriber was told to rebuild for, or later.
    rebuilt: u64,
}

impl Changes {
    pub(crate) fn from_now_on(id: CredentialRef, mut latest: watch::Receiver<Latest>) -> Self {
        let seen = latest.borrow_and_update().number;
        Self {
            id,
            latest,
            seen,
            rebuilt: seen,
        }
    }

    /// Waits for the next change; `None` when there is nobody left to make one. May be cancelled: nothing is lost.
    pub async fn next(&mut self) -> Option<Changed> {
        self.latest.changed().await.ok()?;
        let latest = *self.latest.borrow_and_update();
        let kind = match latest.kind {
            ChangeKind::Refreshed if latest.rotated > self.rebuilt => ChangeKind::Rotated,
            kind => kind,
        };
        if kind == ChangeKind::Rotated {
            self.rebuilt = latest.number;
        }
        let missed = latest.number.saturating_sub(self.seen.saturating_add(1));
        self.seen = latest.number;
        Some(Changed {
            kind,
            id: self.id.clone(),
            version: latest.version,
            missed,
        })
    }
}
