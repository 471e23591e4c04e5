//! Whether a credential may have changed, or may be read no longer: by its store, by the manager, by the policy.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{ChangeCounters, CredentialError, CredentialRef, RecordHead};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout_at};

use crate::CredentialManager;

/// How often the change counters of a store and the epoch of the policy are looked at: a few nanoseconds each time, for a
/// change made by another process to be seen as soon as a person would notice.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// When a store is asked for the head while its counter cannot be read: after this, and each time after twice as long, up to
/// [`ASK`]. A change that is under way ends sooner; one whose writer died may never.
const BUSY: Duration = Duration::from_secs(1);
/// How often the policy in force is asked again, because the time of a rule or a grant may be over: microseconds each time.
#[cfg(feature = "access")]
const DECIDE: Duration = Duration::from_secs(1);
/// How often a store is asked for the head of a credential at least: where it does not tell of changes, and where it does, in
/// case the one who told has been cut off. Also the longest pause between attempts that fail.
pub(super) const ASK: Duration = Duration::from_secs(30);

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Nothing,
    /// See whether the credential changed, though its store says that it did not.
    Confirm,
    /// See whether the credential changed.
    Ask,
    /// Read it again whether or not it did: another policy may decide otherwise.
    #[cfg(feature = "access")]
    Read,
    /// Read it again, because the policy says no: for the refusal to be made, and recorded, where all are.
    Denied,
}

/// Where news of a credential come from.
pub(crate) struct News {
    id: CredentialRef,
    counters: Option<(Arc<dyn ChangeCounters>, usize)>,
    /// Where the counter stood at the last look; `None` while none can be read.
    pub(super) stood: Option<u64>,
    /// When the store was asked last.
    asked_at: Instant,
    /// How long it is not asked again while no counter can be read.
    rest: Duration,
    /// The changes made through the manager.
    changed: broadcast::Receiver<CredentialRef>,
    /// Whether one of them is about the credential, or may be.
    told: bool,
    #[cfg(feature = "access")]
    policy: Option<Policy>,
}

impl News {
    pub(crate) async fn of(manager: &CredentialManager, id: &CredentialRef) -> Result<Self, CredentialError> {
        let counters = manager.inner.opened().await?.store.changes();
        let counters = counters.map(|counters| {
            let counter = counters.counter_of(id);
            (counters, counter)
        });
        Ok(Self {
            stood: counters
                .as_ref()
                .and_then(|(counters, counter)| counters.read(*counter)),
            rest: if counters.is_some() { BUSY } else { ASK },
            id: id.clone(),
            counters,
            asked_at: Instant::now(),
            told: false,
            changed: manager.inner.changed.subscribe(),
            #[cfg(feature = "access")]
            policy: manager.inner.access().map(|access| Policy::of(access, manager)),
        })
    }

    /// Waits for a time to look: a change of the credential, or the end of a pause, however many changes of others there are.
    pub(super) async fn wait(&mut self) {
        let end = Instant::now() + LOOK;
        while Instant::now() < end {
            match timeout_at(end, self.changed.recv()).await {
                Ok(Ok(id)) if id == self.id => {
                    self.told = true;
                    return;
                }
                Ok(Ok(_)) => {}
                // There were too many to know whose they were.
                Ok(Err(RecvError::Lagged(_))) => self.told = true,
                // Never: this task holds the manager that makes them.
                Ok(Err(RecvError::Closed)) | Err(_) => return,
            }
        }
    }

    /// What there is to do since the last look; `head` is what is known of the credential.
    pub(super) fn look(&mut self, manager: &CredentialManager, head: &RecordHead) -> Due {
        let now = Instant::now();
        let counters = self.counters.as_ref();
        let stands = counters.and_then(|(counters, counter)| counters.read(*counter));
        let rested = self.asked_at + self.rest <= now;
        let moved = stands != self.stood || (stands.is_none() && (self.told || rested));
        self.stood = stands;
        if stands.is_some() {
            self.rest = BUSY;
        } else if rested {
            self.rest = self.rest.saturating_mul(2).min(ASK);
        }
        let mut due = match moved {
            true => Due::Ask,
            false if self.asked_at + ASK <= now => Due::Confirm,
            false => Due::Nothing,
        };
        self.told = false;
        if due != Due::Nothing {
            self.asked_at = now;
            // Whatever was told up to now is seen by asking now.
            self.changed = self.changed.resubscribe();
        }
        #[cfg(feature = "access")]
        if let Some(policy) = &mut self.policy {
            due = due.max(policy.look(manager, head));
        }
        #[cfg(not(feature = "access"))]
        let _ = (manager, head, &mut due);
        due
    }
}

#[cfg(feature = "access")]
impl News {
    /// The rule by which the policy said no.
    pub(super) fn denied_by(&self) -> Arc<str> {
        let rule = self.policy.as_ref().and_then(|policy| policy.denied_by.clone());
        rule.unwrap_or_else(|| nebula_credential_access::DEFAULT_DENY.into())
    }
}

/// The policy that the holder of a handle is under.
#[cfg(feature = "access")]
struct Policy {
    policies: nebula_credential_access::Policies,
    /// The rule that said no at the last look.
    denied_by: Option<Arc<str>>,
    epoch: u64,
    wanted: nebula_credential_core::Permission,
    decide_at: Instant,
}

#[cfg(feature = "access")]
impl Policy {
    fn of(access: &nebula_credential_access::AccessLayer, manager: &CredentialManager) -> Self {
        let policies = access.policies().clone();
        Self {
            epoch: policies.epoch().current(),
            policies,
            denied_by: None,
            wanted: manager.permission_to_read(),
            decide_at: Instant::now() + DECIDE,
        }
    }

    fn look(&mut self, manager: &CredentialManager, head: &RecordHead) -> Due {
        let epoch = self.policies.epoch().current();
        let moved = epoch != self.epoch;
        if !moved && self.decide_at > Instant::now() {
            return Due::Nothing;
        }
        self.epoch = epoch;
        self.decide_at = Instant::now() + DECIDE;
        let inquiry = nebula_credential_access::Inquiry {
            ctx: &manager.op_context(),
            id: &head.id,
            permission: Some(self.wanted),
            known: nebula_credential_access::Known::Head(head),
        };
        let verdict = self.policies.current().decide(inquiry);
        if !verdict.is_allowed() {
            self.denied_by = verdict.decision().map(|decision| decision.rule);
            return Due::Denied;
        }
        if moved { Due::Read } else { Due::Nothing }
    }
}
