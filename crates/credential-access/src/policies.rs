//! The policy that holds now.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use nebula_credential_core::PolicyEpoch;

use crate::policy::AccessPolicy;

/// The policy that holds now, to be replaced by another while requests are under way. Clones are the same.
#[derive(Clone)]
pub struct Policies {
    current: Arc<ArcSwap<AccessPolicy>>,
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
        // Afterwards, so that nothing that was decided by the old policy is kept under the new epoch.
        self.epoch.advance();
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
