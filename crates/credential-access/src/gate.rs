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
    /// Waits for its turn to change the tags of `id`, for as long as `ctx` has time; outside of a tokio runtime, where there
    /// are no timers, for as long as it takes.
    pub(crate) async fn changing(
        &self,
        ctx: &OpContext,
        id: &CredentialRef,
    ) -> Result<Option<MutexGuard<'_, ()>>, CredentialError> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        let stripe = usize::try_from(hash % STRIPES as u64).unwrap_or_default();
        let Some(stripe) = self.changing.get(stripe) else {
            return Ok(None);
        };
        let has_timers = || tokio::runtime::Handle::try_current().is_ok();
        let Some(deadline) = ctx.deadline.filter(|_| has_timers()) else {
            return Ok(Some(stripe.lock().await));
        };
        let left = (deadline - ctx.now()).to_std().unwrap_or_default();
        match tokio::time::timeout(left, stripe.lock()).await {
            Ok(turn) => Ok(Some(turn)),
            Err(_) => Err(CredentialError::deadline_exceeded(
                "other changes took the time and nothing was done; allow more time",
            )),
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
    /// Whether what is below checks a precondition and writes as one step.
    pub(crate) compares: bool,
}

/// Why a request goes no further.
pub(crate) struct Refusal {
    error: CredentialError,
    /// Whether it must not tell if there is anything.
    hides: bool,
}

impl Refusal {
    pub(crate) async fn answer(self, floor: Floor) -> Answer {
        if self.hides {
            floor.wait().await;
        }
        Err(self.error)
    }
}

impl Gate {
    /// A request below on behalf of this one.
    pub(crate) fn request(&self, op: Op<Plaintext>) -> Request<Plaintext> {
        Request {
            ctx: self.ctx.clone(),
            op,
        }
    }

    /// A request below of one's own. What is found out about it is nothing about the answer, and not reported.
    pub(crate) fn aside(&self, op: Op<Plaintext>) -> Request<Plaintext> {
        let mut request = self.request(op);
        request.ctx.report = None;
        request
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
            Op::Delete(op) => self.delete(inner, op, wanted, floor).await,
            op => {
                let Some(id) = op.subject() else {
                    return Err(CredentialError::internal(
                        "an operation on no credential was looked at",
                    ));
                };
                let id = id.clone();
                let found = self.look(&mut inner, &id).await?;
                let (verdict, judged) = self.judge(&id, wanted, found);
                let head = match judged {
                    Ok(head) => head,
                    Err(refusal) => {
                        self.decided(wanted, &verdict);
                        return refusal.answer(floor).await;
                    }
                };
                match op {
                    Op::Head(Get {
                        version: Selector::Latest,
                        ..
                    }) => {
                        self.decided(wanted, &verdict);
                        Ok(Response::Head(head))
                    }
                    Op::Get(_) | Op::Head(_) => {
                        let answer = inner.ask(self.request(op)).await;
                        self.released(&head, wanted, verdict, answer, floor).await
                    }
                    op => {
                        self.decided(wanted, &verdict);
                        inner.ask(self.request(op)).await
                    }
                }
            }
        }
    }

    /// The answer, if what was decided on `looked` at holds for what was answered: it may have been replaced meanwhile,
    /// or come from elsewhere than the head did.
    async fn released(
        &self,
        looked: &RecordHead,
        wanted: Option<Permission>,
        verdict: Verdict,
        answer: Answer,
        floor: Floor,
    ) -> Answer {
        let answered = match &answer {
            Ok(Response::Record(record)) => Some(&record.head),
            Ok(Response::Head(head)) => Some(head),
            _ => None,
        };
        let other = answered.filter(|head| head.created_at != looked.created_at || head.tags != looked.tags);
        let Some(other) = other else {
            self.decided(wanted, &verdict);
            return answer;
        };
        let (verdict, judged) = self.judge(&looked.id, wanted, Some(other.clone()));
        self.decided(wanted, &verdict);
        match judged {
            Ok(_) => answer,
            Err(refusal) => {
                // Not held while a refusal waits.
                drop(answer);
                refusal.answer(floor).await
            }
        }
    }

    /// What is decided on what was found, and the head or the refusal that follows from it.
    pub(crate) fn judge(
        &self,
        id: &CredentialRef,
        wanted: Option<Permission>,
        found: Option<RecordHead>,
    ) -> (Verdict, Result<RecordHead, Refusal>) {
        let known = found.as_ref().map_or(Known::New(None), Known::Head);
        let verdict = self.verdict(id, wanted, known);
        let knows = || self.verdict(id, None, known).is_allowed();
        if found.is_some() && !verdict.is_allowed() && knows() {
            let error = self.refusal(wanted, id);
            return (verdict, Err(Refusal { error, hides: false }));
        }
        match found {
            Some(head) if verdict.is_allowed() => (verdict, Ok(head)),
            // The same whether it is there or not: words, time, and that it counts as denied, because an outer layer
            // may take longer over a denial.
            _ => {
                let verdict = match verdict {
                    Verdict::Denied { .. } => verdict,
                    _ => Verdict::Denied {
                        rule: DEFAULT_DENY.into(),
                    },
                };
                let error = CredentialError::not_found(id.to_string());
                (verdict, Err(Refusal { error, hides: true }))
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
        match inner.ask(self.aside(op)).await.and_then(Response::into_head) {
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
