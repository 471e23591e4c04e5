//! The policy that holds now.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use nebula_credential_core::{CredentialError, PolicyEpoch};

use crate::policy::AccessPolicy;

/// The policy that holds now, to be replaced by another while requests are under way. Clones are the same.
#[derive(Clone)]
pub struct Policies {
    current: Arc<ArcSwap<AccessPolicy>>,
    /// Of what was to take its place.
    flaw: Arc<ArcSwapOption<CredentialError>>,
    epoch: PolicyEpoch,
}

impl Policies {
    /// Begins with `policy`.
    pub fn new(policy: AccessPolicy) -> Self {
        Self::with_epoch(policy, PolicyEpoch::default())
    }

    /// Begins with `policy`, and counts its changes in `epoch`.
    pub fn with_epoch(policy: AccessPolicy, epoch: PolicyEpoch) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(policy)),
            flaw: Arc::default(),
            epoch,
        }
    }

    /// What holds now. Takes no lock.
    pub fn current(&self) -> Arc<AccessPolicy> {
        self.current.load_full()
    }

    pub(crate) fn load(&self) -> Guard<Arc<AccessPolicy>> {
        self.current.load()
    }

    /// Puts `policy` into force: every decision from now on is by it, and caches that share the
    /// [epoch](Self::epoch) serve nothing they kept before.
    pub fn replace(&self, policy: AccessPolicy) {
        self.current.store(Arc::new(policy));
        self.flaw.store(None);
        // Afterwards, so that nothing that was decided by the old policy is kept under the new epoch.
        self.epoch.advance();
    }

    /// What is wrong with what was to take its place last, if anything is: this one holds on, and whoever changed the
    /// [file](crate::PolicyFile) may not know. Gone with the next change that is put into force.
    pub fn refused(&self) -> Option<CredentialError> {
        self.flaw.load_full().map(|flaw| (*flaw).clone())
    }

    pub(crate) fn refuse(&self, flaw: CredentialError) {
        self.flaw.store(Some(Arc::new(flaw)));
    }

    /// The epoch that each change advances; a cache below takes a clone of it.
    pub fn epoch(&self) -> PolicyEpoch {
        self.epoch.clone()
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("rules", &self.load().rules.len())
            .field("epoch", &self.epoch.current())
            .finish()
    }
}
