//! One credential, always at its current value.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use nebula_credential_core::{Clock, CredentialError, CredentialRef, Version};
use tokio::sync::watch;

use crate::changes::{ChangeKind, Changes, Latest};

/// A credential in use for long, always at its current value. Clones are the same handle.
///
/// Reading takes no lock and waits for nobody. Whoever rotates, refreshes or revokes the credential tells the
/// [`HandleUpdater`]; a replaced value is dropped, and wiped by its type, when its last reader has let go of it. A value
/// that [expires](HandleUpdater::expires) is not handed out from that moment on, whether or not somebody says so.
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

/// When a value ceases to work, and by which clock.
#[derive(Clone)]
pub struct Expiry {
    at: DateTime<Utc>,
    clock: Arc<dyn Clock>,
}

impl Expiry {
    /// From `at` on, by `clock`.
    pub fn new(at: DateTime<Utc>, clock: Arc<dyn Clock>) -> Self {
        Self { at, clock }
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiry")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<C> Versioned<C> {
    fn new(version: Version, value: C, expiry: Option<Expiry>) -> Self {
        Self {
            version,
            value,
            expiry: expiry.map_or_else(OnceLock::new, OnceLock::from),
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
        let (sender, latest) = watch::channel(Latest::at(version));
        let live = Arc::new(Live {
            id,
            current: ArcSwapOption::from_pointee(Versioned::new(version, value, None)),
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
        Changes::from_now_on(self.live.id.clone(), self.live.latest.clone())
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
    /// A new secret took the place of the old one. No reader has it from its `expiry` on, if it has one.
    ///
    /// # Errors
    /// [`CredentialError::VersionConflict`] for news that came too late: `version` is not newer than the present one.
    /// Once the handle has ended, why. Nothing changes then.
    pub fn rotated(
        &mut self,
        version: Version,
        value: C,
        expiry: Option<Expiry>,
    ) -> Result<(), CredentialError> {
        self.replace(ChangeKind::Rotated, version, value, expiry)
    }

    /// The same grant has a new value, such as an access token with a later expiry; stored as a new version or not.
    ///
    /// # Errors
    /// As for [`rotated`](Self::rotated), but the version may be the present one.
    pub fn refreshed(
        &mut self,
        version: Version,
        value: C,
        expiry: Option<Expiry>,
    ) -> Result<(), CredentialError> {
        self.replace(ChangeKind::Refreshed, version, value, expiry)
    }

    /// The value there is now has an expiry, and nobody has said so yet: from then on every
    /// [`load`](CredentialHandle::load) is an error, until another value takes its place. For the value a handle is made with,
    /// before anybody has the handle; what follows is [given](Self::rotated) with its own.
    pub fn expires(&mut self, expiry: Expiry) {
        if let Some(current) = self.live.current.load().as_deref() {
            // The first word stands: readers may have gone by it.
            let _ = current.expiry.set(expiry);
        }
    }

    /// Why the value there is now is not handed out: its time is over. `None` where it is, and where there is none.
    pub fn expired(&self) -> Option<CredentialError> {
        self.live.current.load().as_deref()?.check(&self.live.id).err()
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

    fn replace(
        &mut self,
        kind: ChangeKind,
        version: Version,
        value: C,
        expiry: Option<Expiry>,
    ) -> Result<(), CredentialError> {
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
            .store(Some(Arc::new(Versioned::new(version, value, expiry))));
        self.announce(kind, version);
        Ok(())
    }

    /// After the value was replaced: whoever hears of it loads the new one.
    fn announce(&self, kind: ChangeKind, version: Version) {
        self.sender.send_modify(|latest| latest.becomes(kind, version));
    }
}

impl<C> fmt::Debug for HandleUpdater<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleUpdater")
            .field("id", &self.live.id)
            .finish_non_exhaustive()
    }
}
