//! Changes: the reserved tags stay with access control.

use std::sync::Arc;

use nebula_credential_core::{
    CredentialError, Op, Permission, Plaintext, Precondition, Put, RecordHead, Request, Response, Tags,
    Update, Version,
};
use tower_service::Service;

use crate::floor::Floor;
use crate::gate::{Answer, Asking, Gate};
use crate::policy::Verdict;
use crate::record;
use crate::rule::Known;

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
        let _changing = shared.changing(&op.id).await;
        // The store takes neither where there is a live one: its tags stay as they are.
        let creates = op.precondition == Precondition::IfAbsent || op.version.version == Version::FIRST;
        let live = if certain && creates {
            None
        } else {
            let head = self.look(&mut inner, &op.id).await?;
            head.filter(|head| head.deleted_at.is_none())
        };
        let known = live.as_ref().map_or(Known::New(op.tags.as_ref()), Known::Head);
        let mut verdict = self.verdict(&op.id, wanted, known);
        let retags = live.as_ref().zip(op.tags.as_ref());
        if let Some((head, tags)) = retags.filter(|_| verdict.is_allowed()) {
            verdict = self.after_retagging(head, tags, wanted)?;
        }
        self.decided(wanted, &verdict);
        if !verdict.is_allowed() {
            floor.wait().await;
            return Err(self.refusal(wanted, &op.id));
        }
        op.tags = match &live {
            None => {
                let mut tags = op.tags.unwrap_or_default().keep_reserved(None)?;
                tags.insert(record::OWNER_TAG, &self.ctx.principal.to_string())?;
                Some(tags)
            }
            Some(head) => match op.tags {
                Some(tags) => Some(tags.keep_reserved(Some(&head.tags))?),
                // One that is deleted meanwhile must not be stored anew without an owner.
                None if !matches!(op.precondition, Precondition::IfVersion(_)) => Some(head.tags.clone()),
                None => None,
            },
        };
        let op = Op::Put(op);
        inner.ask(Request { ctx: self.ctx, op }).await
    }

    pub(crate) async fn update<S>(
        self,
        mut inner: Asking<S>,
        mut op: Update,
        wanted: Option<Permission>,
        floor: Floor,
    ) -> Answer
    where
        S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError>,
    {
        let shared = Arc::clone(&self.shared);
        let _changing = shared.changing(&op.id).await;
        let head = self.permitted(&mut inner, &op.id, wanted, floor).await?;
        if wanted == Some(Permission::Share) {
            self.check_sharing(&head, &op)?;
        } else if let Some(tags) = op.tags.take() {
            if !self.after_retagging(&head, &tags, wanted)?.is_allowed() {
                return Err(self.refusal(wanted, &op.id));
            }
            op.tags = Some(tags.keep_reserved(Some(&head.tags))?);
        }
        let op = Op::Update(op);
        inner.ask(Request { ctx: self.ctx, op }).await
    }

    /// Whether what is wanted is allowed under the tags it shall have, too: nobody tags a credential out of reach of
    /// the rules.
    fn after_retagging(
        &self,
        head: &RecordHead,
        tags: &Tags,
        wanted: Option<Permission>,
    ) -> Result<Verdict, CredentialError> {
        let mut after = head.clone();
        after.tags = tags.clone().keep_reserved(Some(&head.tags))?;
        Ok(self.verdict(&head.id, wanted, Known::Head(&after)))
    }

    fn check_sharing(&self, head: &RecordHead, op: &Update) -> Result<(), CredentialError> {
        let (Some(tags), None) = (&op.tags, op.phase) else {
            return Err(CredentialError::access_denied(
                "sharing changes grants alone; ask for `write` to change more",
            ));
        };
        let policy = self.shared.policies.load();
        let has = policy.permitted(&self.ctx, &head.id, Known::Head(head));
        record::check_sharing(&head.tags, tags, &self.ctx.principal, has, self.ctx.now())
    }
}
