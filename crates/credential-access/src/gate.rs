//! One request on its way: what is asked of the policy, and what is answered.

use std::future::poll_fn;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{
    CredentialError, CredentialRef, Get, List, MetricsEmitter, Op, OpContext, Permission, Plaintext,
    Precondition, RecordHead, Request, Response, Selector,
};
use tokio::sync::{Mutex, MutexGuard};
use tower_service::Service;

use crate::floor::Floor;
use crate::list::{self, LIST_FILTER};
use crate::policies::Policies;
use crate::policy::{DEFAULT_DENY, Inquiry, Verdict, Visible};
use crate::rule::Known;

pub(crate) type Answer = Result<Response<Plaintext>, CredentialError>;

/// What the clones of a layer have in common.
pub(crate) struct Shared {
    pub(crate) policies: Policies,
    pub(crate) step: Duration,
    pub(crate) metrics: Arc<dyn MetricsEmitter>,
    /// Held while reserved tags are read and written back: two changes in this process do not undo each other.
    pub(crate) changing: [Mutex<()>; STRIPES],
}

/// Changes of this many credentials go on at once, if none share a stripe.
const STRIPES: usize = 32;

impl Shared {
    pub(crate) async fn changing(&self, id: &CredentialRef) -> Option<MutexGuard<'_, ()>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        let stripe = usize::try_from(hash % STRIPES as u64).unwrap_or_default();
        match self.changing.get(stripe) {
            Some(stripe) => Some(stripe.lock().await),
            None => None,
        }
    }
}

/// What can be said without the record.
pub(crate) enum First {
    Refuse(CredentialError),
    Pass,
    /// It is allowed, but the reserved tags must be looked after.
    Certain,
    /// It depends on the record, or the answer must be filtered.
    Look,
}

/// A service that is asked several times for one request.
pub(crate) struct Asking<S> {
    inner: S,
    /// Polled already, and not yet called.
    ready: bool,
}

impl<S> Asking<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
{
    /// Asks through `inner`, which was polled ready.
    pub(crate) fn of(inner: S) -> Self {
        Self { inner, ready: true }
    }

    pub(crate) async fn ask(&mut self, request: Request<Plaintext>) -> Answer {
        if !mem::take(&mut self.ready) {
            poll_fn(|cx| self.inner.poll_ready(cx)).await?;
        }
        self.inner.call(request).await
    }
}

/// One request on its way.
pub(crate) struct Gate {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ctx: OpContext,
}

impl Gate {
    /// A request below, of one's own. It claims no permission.
    pub(crate) fn request(&self, op: Op<Plaintext>) -> Request<Plaintext> {
        Request {
            ctx: self.ctx.clone(),
            op,
        }
    }

    pub(crate) fn verdict(
        &self,
        id: &CredentialRef,
        permission: Option<Permission>,
        known: Known<'_>,
    ) -> Verdict {
        let policy = self.shared.policies.load();
        policy.decide(Inquiry {
            ctx: &self.ctx,
            id,
            permission,
            known,
        })
    }

    pub(crate) fn first(&self, op: &Op<Plaintext>, wanted: Option<Permission>) -> First {
        let id = match (op, op.subject()) {
            (Op::List(list), _) => return self.first_of_list(list),
            (_, Some(id)) => id,
            (_, None) => {
                return First::Refuse(CredentialError::unsupported(
                    "scans are for key jobs below the sealing layer; list instead",
                ));
            }
        };
        let verdict = self.verdict(id, wanted, Known::Nothing);
        match verdict {
            Verdict::Denied { .. } => {
                self.decided(wanted, &verdict);
                First::Refuse(self.refusal(wanted, id))
            }
            Verdict::DependsOnRecord => First::Look,
            Verdict::Allowed { .. } if keeps_tags(op) => {
                self.decided(wanted, &verdict);
                First::Pass
            }
            Verdict::Allowed { .. } => First::Certain,
        }
    }

    fn first_of_list(&self, list: &List) -> First {
        let policy = self.shared.policies.load();
        let (allowed, rule, first) = match policy.visible(&self.ctx, &list.tenant) {
            Visible::Everything => (true, LIST_FILTER, First::Pass),
            Visible::Some => (true, LIST_FILTER, First::Look),
            Visible::Nothing => {
                let refusal = CredentialError::access_denied(format!(
                    "{} may know of nothing in tenant {}; ask whoever keeps the access policy",
                    self.ctx.principal, list.tenant
                ));
                (false, DEFAULT_DENY, First::Refuse(refusal))
            }
        };
        if let (First::Look, Some(report)) = (&first, &self.ctx.report) {
            report.filtered();
        }
        let rule: Arc<str> = rule.into();
        let verdict = if allowed {
            Verdict::Allowed {
                rule,
                emergency: false,
            }
        } else {
            Verdict::Denied { rule }
        };
        self.decided(None, &verdict);
        first
    }

    /// Reports and counts what was decided, once for each request.
    pub(crate) fn decided(&self, wanted: Option<Permission>, verdict: &Verdict) {
        let Some(decision) = verdict.decision() else {
            return;
        };
        let label = match verdict {
            Verdict::Allowed { emergency: true, .. } => "emergency",
            Verdict::Allowed { .. } => "allowed",
            _ => "denied",
        };
        let permission = wanted.map_or("know", Permission::as_str);
        self.shared.metrics.increment(
            "nebula_credential_access_decisions_total",
            &[("decision", label), ("permission", permission)],
            1,
        );
        if let Some(report) = &self.ctx.report {
            report.decided(decision);
        }
    }

    /// The refusal of what is known to be there, or is refused whether it is there or not.
    pub(crate) fn refusal(&self, wanted: Option<Permission>, id: &CredentialRef) -> CredentialError {
        CredentialError::access_denied(format!(
            "{} may not {} {id}; ask its owner, or whoever keeps the access policy",
            self.ctx.principal,
            wanted.map_or("know of", Permission::as_str)
        ))
    }

    pub(crate) async fn careful<S>(
        self,
        mut inner: Asking<S>,
        op: Op<Plaintext>,
        wanted: Option<Permission>,
        certain: bool,
        floor: Floor,
    ) -> Answer
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        match op {
            Op::List(op) => {
                let page = list::filtered(&self, &mut inner, op).await;
                floor.wait().await;
                Ok(Response::Page(page?))
            }
            Op::Put(op) => self.put(inner, op, wanted, certain, floor).await,
            Op::Update(op) => self.update(inner, op, wanted, floor).await,
            op => {
                let Some(id) = op.subject() else {
                    return Err(CredentialError::internal(
                        "an operation on no credential was looked at",
                    ));
                };
                let head = self.permitted(&mut inner, id, wanted, floor).await?;
                match op {
                    Op::Head(Get {
                        version: Selector::Latest,
                        ..
                    }) => Ok(Response::Head(head)),
                    op => inner.ask(Request { ctx: self.ctx, op }).await,
                }
            }
        }
    }

    /// The head of a credential on which the operation is permitted.
    pub(crate) async fn permitted<S>(
        &self,
        inner: &mut Asking<S>,
        id: &CredentialRef,
        wanted: Option<Permission>,
        floor: Floor,
    ) -> Result<RecordHead, CredentialError>
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        let head = self.look(inner, id).await?;
        let known = head.as_ref().map_or(Known::New(None), Known::Head);
        let verdict = self.verdict(id, wanted, known);
        let knows = || self.verdict(id, None, known).is_allowed();
        match head {
            Some(head) if verdict.is_allowed() => {
                self.decided(wanted, &verdict);
                Ok(head)
            }
            Some(_) if knows() => {
                self.decided(wanted, &verdict);
                Err(self.refusal(wanted, id))
            }
            // The same whether it is there or not: words, time, and that it counts as denied, because an outer layer
            // may take longer over a denial.
            _ => {
                let verdict = match verdict {
                    Verdict::Denied { .. } => verdict,
                    _ => Verdict::Denied {
                        rule: DEFAULT_DENY.into(),
                    },
                };
                self.decided(wanted, &verdict);
                floor.wait().await;
                Err(CredentialError::not_found(id.to_string()))
            }
        }
    }

    /// What lies in the clear of a credential, deleted or not.
    pub(crate) async fn look<S>(
        &self,
        inner: &mut Asking<S>,
        id: &CredentialRef,
    ) -> Result<Option<RecordHead>, CredentialError>
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        let op = Op::Head(Get {
            id: id.clone(),
            version: Selector::Latest,
        });
        match inner.ask(self.request(op)).await.and_then(Response::into_head) {
            Ok(head) if head.id == *id => Ok(Some(head)),
            // The store is broken or lies.
            Ok(_) => Err(CredentialError::Tampered),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the reserved tags stay as they are whatever the store makes of it.
fn keeps_tags(op: &Op<Plaintext>) -> bool {
    match op {
        Op::Put(put) => put.tags.is_none() && matches!(put.precondition, Precondition::IfVersion(_)),
        Op::Update(update) => update.tags.is_none(),
        _ => true,
    }
}
