//! One credential, always at its current value.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use nebula_credential_core::{Clock, CredentialError, CredentialRef, Version};
use tokio::sync::watch;

/// A credential in use for long, always at its current value. Clones are the same handle.
///
/// Reading takes no lock and waits for nobody. Whoever rotates, refreshes or revokes the credential tells the
/// [`HandleUpdater`]; a replaced value is dropped, and wiped by its type, when its last reader has let go of it. A value
/// that [expires](HandleUpdater::expires_at) is not handed out from that moment on, whether or not somebody says so.
pub struct CredentialHandle<C> {
    live: Arc<Live<C>>,
    /// Held by handles alone, so that whoever keeps the value current hears when the last one is dropped.
    held: watch::Receiver<()>,
}

struct Live<C> {
    id: CredentialRef,
    /// `None` while there is nothing to hand out.
    current: ArcSwapOption<Versioned<C>>,
    /// Why there is nothing: said before it is taken away.
    why: ArcSwapOption<CredentialError>,
    latest: watch::Receiver<Latest>,
}

struct Versioned<C> {
    version: Version,
    value: C,
    /// Looked at by every reader, so the clock is only asked where there is one.
    expiry: OnceLock<Expiry>,
}

struct Expiry {
    at: DateTime<Utc>,
    clock: Arc<dyn Clock>,
}

impl<C> Versioned<C> {
    fn new(version: Version, value: C) -> Self {
        Self {
            version,
            value,
            expiry: OnceLock::new(),
        }
    }

    fn check(&self, id: &CredentialRef) -> Result<(), CredentialError> {
        match self.expiry.get() {
            Some(expiry) if expiry.at <= expiry.clock.now() => Err(CredentialError::expired(format!(
                "{id} expired at {}; rotate it",
                expiry.at
            ))),
            _ => Ok(()),
        }
    }
}

impl<C: Send + Sync + 'static> CredentialHandle<C> {
    /// A handle on `value`, and what keeps it current.
    pub fn new(id: CredentialRef, version: Version, value: C) -> (Self, HandleUpdater<C>) {
        let (sender, latest) = watch::channel(Latest {
            number: 0,
            rotated: 0,
            kind: ChangeKind::Refreshed,
            version,
        });
        let live = Arc::new(Live {
            id,
            current: ArcSwapOption::from_pointee(Versioned::new(version, value)),
            why: ArcSwapOption::empty(),
            latest,
        });
        let (handles, held) = watch::channel(());
        let updater = HandleUpdater {
            live: Arc::clone(&live),
            sender,
            handles,
            is_over: false,
        };
        (Self { live, held }, updater)
    }

    /// The value as it is now. It stays as it is while the answer is held; do not hold it for long.
    ///
    /// # Errors
    /// [`CredentialError::Expired`] from the value's expiry on. While there is no value, why: [`CredentialError::InvalidState`]
    /// for a revoked credential, or what the updater said as it [ended](HandleUpdater::ended) the handle or
    /// [took it back](HandleUpdater::suspended) for now.
    pub fn load(&self) -> Result<Snapshot<C>, CredentialError> {
        let current = self.live.current.load_full().ok_or_else(|| self.live.why())?;
        current.check(&self.live.id)?;
        Ok(Snapshot(current))
    }

    /// Reads the value in place: nothing that several processors would write is written.
    ///
    /// # Errors
    /// As for [`load`](Self::load); `read` is not called then.
    pub fn with<R>(&self, read: impl FnOnce(&C) -> R) -> Result<R, CredentialError> {
        let current = self.live.current.load();
        let current = current.as_deref().ok_or_else(|| self.live.why())?;
        current.check(&self.live.id)?;
        Ok(read(&current.value))
    }

    /// The version of the value.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn version(&self) -> Result<Version, CredentialError> {
        let current = self.live.current.load();
        let current = current.as_deref().ok_or_else(|| self.live.why())?;
        current.check(&self.live.id)?;
        Ok(current.version)
    }

    /// The address of the credential.
    pub fn id(&self) -> &CredentialRef {
        &self.live.id
    }

    /// The changes from now on. A subscriber that must not miss one subscribes first, then loads.
    pub fn changes(&self) -> Changes {
        let mut latest = self.live.latest.clone();
        let seen = latest.borrow_and_update().number;
        Changes {
            id: self.live.id.clone(),
            latest,
            seen,
            rebuilt: seen,
        }
    }

    /// Whether there is still someone who keeps the value current.
    pub fn is_driven(&self) -> bool {
        self.live.latest.has_changed().is_ok()
    }
}

impl<C> Clone for CredentialHandle<C> {
    fn clone(&self) -> Self {
        Self {
            live: Arc::clone(&self.live),
            held: self.held.clone(),
        }
    }
}

impl<C> Live<C> {
    #[cold]
    fn why(&self) -> CredentialError {
        match self.why.load().as_deref() {
            Some(why) => why.clone(),
            None => CredentialError::internal("a handle has no value and nobody said why"),
        }
    }
}

impl<C> fmt::Debug for CredentialHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.live.current.load().as_ref().map(|current| current.version);
        f.debug_struct("CredentialHandle")
            .field("id", &self.live.id)
            .field("version", &version)
            .finish_non_exhaustive()
    }
}

/// A value as it was when it was [loaded](CredentialHandle::load).
pub struct Snapshot<C>(Arc<Versioned<C>>);

impl<C> Snapshot<C> {
    /// The version of this value.
    pub fn version(&self) -> Version {
        self.0.version
    }
}

impl<C> Deref for Snapshot<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0.value
    }
}

impl<C> Clone for Snapshot<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Snapshot<C> {
    /// The version alone: the value's own `Debug` may have been written by hand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.0.version)
            .finish_non_exhaustive()
    }
}

/// Keeps the handles on one credential current. There is one, held by whoever drives the credential.
pub struct HandleUpdater<C> {
    live: Arc<Live<C>>,
    sender: watch::Sender<Latest>,
    handles: watch::Sender<()>,
    is_over: bool,
}

impl<C: Send + Sync + 'static> HandleUpdater<C> {
    /// A new secret took the place of the old one.
    ///
    /// # Errors
    /// [`CredentialError::VersionConflict`] for news that came too late: `version` is not newer than the present one.
    /// Once the handle has ended, why. Nothing changes then.
    pub fn rotated(&mut self, version: Version, value: C) -> Result<(), CredentialError> {
        self.replace(ChangeKind::Rotated, version, value)
    }

    /// The same grant has a new value, such as an access token with a later expiry; stored as a new version or not.
    ///
    /// # Errors
    /// As for [`rotated`](Self::rotated), but the version may be the present one.
    pub fn refreshed(&mut self, version: Version, value: C) -> Result<(), CredentialError> {
        self.replace(ChangeKind::Refreshed, version, value)
    }

    /// The value there is now ceases to work at `at` by `clock`: from then on every [`load`](CredentialHandle::load) is an
    /// error, until another value takes its place. Said once for each value; where it is not said, none is.
    pub fn expires_at(&mut self, at: DateTime<Utc>, clock: Arc<dyn Clock>) {
        if let Some(current) = self.live.current.load().as_deref() {
            // The first word stands: readers may have gone by it.
            let _ = current.expiry.set(Expiry { at, clock });
        }
    }

    /// The value must not be handed out for now, such as one that expired, or that could not be checked for too long: every
    /// [`load`](CredentialHandle::load) from here on is the error `why`, until a value comes with
    /// [`refreshed`](Self::refreshed) or [`rotated`](Self::rotated). The value is dropped.
    pub fn suspended(&mut self, why: CredentialError) {
        if !self.is_over && self.take_away(why) {
            self.announce(ChangeKind::Suspended, self.version());
        }
    }

    /// The credential must not be used any more: every [`load`](CredentialHandle::load) from here on is an error. This is
    /// final; a refresh or rotation that ends later is refused.
    pub fn revoked(&mut self) {
        self.ended(CredentialError::invalid_state(format!(
            "{} is revoked; store a new credential",
            self.live.id
        )));
    }

    /// As [`revoked`](Self::revoked), for another reason, which [`load`](CredentialHandle::load) gives from here on: whoever
    /// holds the handle may not have the credential any more, or nobody keeps it current. Subscribers hear that it is
    /// [`Revoked`](ChangeKind::Revoked).
    pub fn ended(&mut self, why: CredentialError) {
        if !self.is_over {
            self.is_over = true;
            self.take_away(why);
            self.announce(ChangeKind::Revoked, self.version());
        }
    }

    /// The version of the value, or of the last there was.
    pub fn version(&self) -> Version {
        self.sender.borrow().version
    }

    /// Whether there was a value to take.
    fn take_away(&self, why: CredentialError) -> bool {
        self.live.why.store(Some(Arc::new(why)));
        self.live.current.swap(None).is_some()
    }

    /// Whether there is still a handle; without one there is nothing to keep current.
    pub fn is_watched(&self) -> bool {
        !self.handles.is_closed()
    }

    /// Waits until there is no handle left. It holds on to nothing of this, and may be waited for beside what keeps the value
    /// current, however long that takes.
    pub fn unwatched(&self) -> impl Future<Output = ()> + Send + 'static + use<C> {
        let handles = self.handles.clone();
        async move { handles.closed().await }
    }

    /// Another handle on the credential.
    pub fn handle(&self) -> CredentialHandle<C> {
        CredentialHandle {
            live: Arc::clone(&self.live),
            held: self.handles.subscribe(),
        }
    }

    fn replace(&mut self, kind: ChangeKind, version: Version, value: C) -> Result<(), CredentialError> {
        if self.is_over {
            return Err(self.live.why());
        }
        // Nobody else stores: there is one updater, and it is borrowed exclusively.
        let present = self.version();
        if version < present || (version == present && kind == ChangeKind::Rotated) {
            return Err(CredentialError::VersionConflict {
                name: self.live.id.to_string(),
                expected: Some(version),
                found: Some(present),
            });
        }
        self.live
            .current
            .store(Some(Arc::new(Versioned::new(version, value))));
        self.announce(kind, version);
        Ok(())
    }

    /// After the value was replaced: whoever hears of it loads the new one.
    fn announce(&self, kind: ChangeKind, version: Version) {
        self.sender.send_modify(|latest| {
            latest.number += 1;
            if kind == ChangeKind::Rotated {
                latest.rotated = latest.number;
            }
            latest.kind = kind;
            latest.version = version;
        });
    }
}

impl<C> fmt::Debug for HandleUpdater<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleUpdater")
            .field("id", &self.live.id)
            .finish_non_exhaustive()
    }
}

/// What happened to a credential.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A new secret took the place of the old one, which will cease to work: rebuild what was made with it.
    Rotated,
    /// The same grant has a new value: what was made with the old one goes on.
    Refreshed,
    /// It cannot be had for now, and [`load`](CredentialHandle::load) says why: make nothing new with it. What was made with
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

#[derive(Debug, Clone, Copy)]
struct Latest {
    number: u64,
    /// The number of the last rotation.
    rotated: u64,
    kind: ChangeKind,
    version: Version,
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
