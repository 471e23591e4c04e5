//! Changes: the reserved tags stay with access control.

use std::sync::Arc;

use nebula_credential_core::{
    CredentialError, Delete, Op, Permission, Plaintext, Precondition, Put, RecordHead, Request, Response,
    Tags, Update, Version,
};
use tower_service::Service;

use crate::floor::Floor;
use crate::gate::{Answer, Asking, Gate};
use crate::policy::{DEFAULT_DENY, Verdict};
use crate::record;
use crate::rule::Known;
use crate::sharing;

/// How often a change of tags or a deletion looks again where another was faster, before it reports the conflict.
const ATTEMPTS: usize = 8;

impl Gate {
    pub(crate) async fn put<S>(
        self,
        mut inner: Asking<S>,
        mut op: Put<Plaintext>,
        wanted: Option<Permission>,
        certain: bool,
        floor: Floor,
    ) -> Answer
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        let shared = Arc::clone(&self.shared);
        let changing = shared.changing(&self.ctx, &op.id).await?;
        let rotates = wanted == Some(Permission::Rotate);
        // The store takes neither where there is a live one: its tags stay as they are.
        let creates = op.precondition == Precondition::IfAbsent || op.version.version == Version::FIRST;
        let found = if certain && creates && !rotates {
            None
        } else {
            self.look(&mut inner, &op.id).await?
        };
        let live = found.as_ref().filter(|head| head.deleted_at.is_none());
        let mut lacking = wanted;
        let mut verdict = match live {
            Some(head) => self.verdict(&op.id, wanted, Known::Head(head)),
            // A rotation has no tags to give.
            None => self.verdict(&op.id, wanted, Known::New(op.tags.as_ref().filter(|_| !rotates))),
        };
        let mut retagged = None;
        if let Some((head, tags)) = live.zip(op.tags.as_ref()).filter(|_| verdict.is_allowed()) {
            let tags = tags.clone().keep_reserved(Some(&head.tags))?;
            (lacking, verdict) = self.retagging(head, &tags, wanted);
            retagged = Some(tags);
        }
        self.decided(wanted, &verdict);
        if !verdict.is_allowed() {
            drop(changing);
            floor.wait().await;
            return Err(self.refusal(lacking, &op.id));
        }
        if rotates && live.is_none() {
            return Err(CredentialError::not_found(op.id.to_string()));
        }
        // What has a token may have been done already, whatever it asks for.
        if let Some(head) = live.filter(|_| op.token.is_none()) {
            check_seen(op.precondition, head)?;
        }
        let unconditional = op.precondition == Precondition::None && self.compares;
        op.tags = match live {
            None => {
                let mut tags = op.tags.unwrap_or_default().keep_reserved(None)?;
                tags.insert(record::OWNER_TAG, &self.ctx.principal.to_string())?;
                Some(tags)
            }
            // Under a precondition the store itself leaves the tags as they are, whoever changes them meanwhile.
            Some(_) if unconditional => retagged,
            Some(head) => match op.precondition {
                Precondition::IfVersion(_) => retagged,
                // One that is deleted meanwhile must not be stored anew without an owner.
                _ => Some(retagged.unwrap_or_else(|| head.tags.clone())),
            },
        };
        // It was decided on what was found, and holds for nothing else.
        let seen = found.as_ref().filter(|_| unconditional);
        if let Some(head) = seen {
            op.precondition = match head.deleted_at {
                None => Precondition::IfVersion(head.latest),
                Some(_) => Precondition::IfAbsent,
            };
        }
        let answer = inner
            .ask(Request {
                ctx: self.ctx,
                op: Op::Put(op),
            })
            .await;
        match (answer, seen) {
            // It was deleted or restored meanwhile, of which the caller has said nothing: let it look again.
            (Err(CredentialError::NotFound(_) | CredentialError::AlreadyExists(_)), Some(head)) => {
                Err(CredentialError::VersionConflict {
                    name: head.id.to_string(),
                    expected: Some(head.latest),
                    // Live where it was deleted, or deleted where it was live: what it is now was not told.
                    found: None,
                })
            }
            (answer, _) => answer,
        }
    }

    pub(crate) async fn update<S>(
        self,
        mut inner: Asking<S>,
        op: Update,
        wanted: Option<Permission>,
        floor: Floor,
    ) -> Answer
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        let shared = Arc::clone(&self.shared);
        let changing = shared.changing(&self.ctx, &op.id).await?;
        for attempt in 1.. {
            let found = self.look(&mut inner, &op.id).await?;
            let (mut verdict, judged) = self.judge(&op.id, wanted, found);
            let head = match judged {
                Ok(head) => head,
                Err(refusal) => {
                    drop(changing);
                    self.decided(wanted, &verdict);
                    return refusal.answer(floor).await;
                }
            };
            let mut op = op.clone();
            let mut lacking = wanted;
            let shares = wanted == Some(Permission::Share);
            if let Some(tags) = op.tags.take_if(|_| !shares) {
                let tags = tags.keep_reserved(Some(&head.tags))?;
                (lacking, verdict) = self.retagging(&head, &tags, wanted);
                op.tags = Some(tags);
            }
            if !verdict.is_allowed() {
                self.decided(wanted, &verdict);
                return Err(self.refusal(lacking, &op.id));
            }
            if shares && let Err(error) = self.check_sharing(&head, &op) {
                if error.is_access_denied() {
                    verdict = Verdict::Denied {
                        rule: DEFAULT_DENY.into(),
                    };
                }
                self.decided(wanted, &verdict);
                return Err(error);
            }
            // Its owner and grants are not for what is stored anew under its name.
            let unconditional = op.precondition == Precondition::None && self.compares;
            if unconditional {
                op.precondition = Precondition::IfVersion(head.latest);
            }
            let again = unconditional && attempt < ATTEMPTS;
            let last = Last::new(&self, wanted, &verdict);
            check_seen(op.precondition, &head)?;
            match inner.ask(self.request(Op::Update(op))).await {
                Err(CredentialError::VersionConflict { .. }) if again => last.overtaken(),
                answer => return answer,
            }
        }
        Err(CredentialError::internal(
            "a change of tags ended without an answer",
        ))
    }

    pub(crate) async fn delete<S>(
        self,
        mut inner: Asking<S>,
        op: Delete,
        wanted: Option<Permission>,
        floor: Floor,
    ) -> Answer
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        for attempt in 1.. {
            let found = self.look(&mut inner, &op.id).await?;
            let (verdict, judged) = self.judge(&op.id, wanted, found);
            let head = match judged {
                Ok(head) => head,
                Err(refusal) => {
                    self.decided(wanted, &verdict);
                    return refusal.answer(floor).await;
                }
            };
            // It was decided on what was found, and holds for nothing that took its place.
            let unconditional = op.precondition == Precondition::None && self.compares;
            let mut op = op.clone();
            if unconditional {
                op.precondition = match head.deleted_at {
                    None => Precondition::IfVersion(head.latest),
                    Some(_) => Precondition::IfAbsent,
                };
            }
            let again = unconditional && attempt < ATTEMPTS;
            let last = Last::new(&self, wanted, &verdict);
            check_seen(op.precondition, &head)?;
            let answer = inner.ask(self.request(Op::Delete(op))).await;
            let overtaken = match &answer {
                Err(CredentialError::VersionConflict { .. } | CredentialError::AlreadyExists(_)) => true,
                // Deleted meanwhile: a purge destroys that, too.
                Err(CredentialError::NotFound(_)) => head.deleted_at.is_none(),
                _ => false,
            };
            if !(again && overtaken) {
                return answer;
            }
            last.overtaken();
        }
        Err(CredentialError::internal("a deletion ended without an answer"))
    }

    /// Whether what is wanted is allowed under `tags` too: nobody tags a credential out of reach of the rules. To set
    /// others takes [`Permission::Write`], whatever else is wanted.
    fn retagging(
        &self,
        head: &RecordHead,
        tags: &Tags,
        wanted: Option<Permission>,
    ) -> (Option<Permission>, Verdict) {
        let mut after = head.clone();
        after.tags.clone_from(tags);
        let verdict = self.verdict(&head.id, wanted, Known::Head(&after));
        let write = Some(Permission::Write);
        if wanted == write || after.tags == head.tags || !verdict.is_allowed() {
            return (wanted, verdict);
        }
        let writes = [head, &after].map(|head| self.verdict(&head.id, write, Known::Head(head)));
        match writes.into_iter().find(|verdict| !verdict.is_allowed()) {
            Some(denied) => (write, denied),
            None => (wanted, verdict),
        }
    }

    fn check_sharing(&self, head: &RecordHead, op: &Update) -> Result<(), CredentialError> {
        let (Some(tags), None) = (&op.tags, op.phase) else {
            return Err(CredentialError::access_denied(
                "sharing changes grants alone; ask for `write` to change more",
            ));
        };
        let policy = self.shared.policies.load();
        let has = |tags: &Tags| {
            let head = RecordHead {
                tags: tags.clone(),
                ..head.clone()
            };
            policy.permitted(&self.ctx, &head.id, Known::Head(&head))
        };
        sharing::check_sharing(&head.tags, tags, &self.ctx.principal, has, self.ctx.now())
    }
}

/// What was decided last, which counts: once for each request, also where its caller gives up while it is done.
struct Last<'a> {
    gate: &'a Gate,
    wanted: Option<Permission>,
    verdict: Option<&'a Verdict>,
}

impl<'a> Last<'a> {
    fn new(gate: &'a Gate, wanted: Option<Permission>, verdict: &'a Verdict) -> Self {
        Self {
            gate,
            wanted,
            verdict: Some(verdict),
        }
    }

    /// It is decided anew.
    fn overtaken(mut self) {
        self.verdict = None;
    }
}

impl Drop for Last<'_> {
    fn drop(&mut self) {
        if let Some(verdict) = self.verdict {
            self.gate.decided(self.wanted, verdict);
        }
    }
}

/// What was decided on `head` holds for that version: where a caller asks for one that is not there, none that comes meanwhile
/// is changed. The answer is that of the store.
fn check_seen(asked: Precondition, head: &RecordHead) -> Result<(), CredentialError> {
    asked.check(&head.id, Some(head.latest), head.deleted_at.is_none())
}
