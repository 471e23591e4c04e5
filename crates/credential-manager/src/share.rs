//! Who a credential is shared with.

use std::sync::Arc;

use nebula_credential_access::{Grant, Sharing, grants, owner, sharing_difference};
use nebula_credential_core::{CredentialError, Op, Permission, Precondition, Principal, Report};

use crate::{CredentialManager, CredentialMetadata};

impl CredentialManager {
    /// Changes who a credential is shared with. Where there is a policy, it decides whether this may be; nobody shares what
    /// they do not have.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), those of [`Sharing::apply`], [`AccessDenied`](CredentialError::AccessDenied),
    /// [`VersionConflict`](CredentialError::VersionConflict), and those of the store.
    pub async fn share(
        &self,
        name: impl AsRef<str>,
        change: &Sharing,
    ) -> Result<CredentialMetadata, CredentialError> {
        let id = self.id(name.as_ref())?;
        let head = self.head(id).await?;
        let mut update = change.apply(&head, self.principal(), self.now())?;
        update.precondition = Precondition::IfVersion(head.latest);
        // The request has all grants that are to hold. Which of them are new is for the record.
        let report = Report::default();
        if let Some(tags) = &update.tags {
            report.changes(sharing_difference(&head.tags, tags));
        }
        let sharing = self.with_permission(Permission::Share);
        let head = sharing
            .call_with(Op::Update(update), Some(Arc::new(report)))
            .await?
            .into_head()?;
        Ok(CredentialMetadata::new(head, self.now()))
    }

    /// Who owns a credential, if someone does, and whom it is shared with, ended grants included.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), and those of the store.
    pub async fn sharing(
        &self,
        name: impl AsRef<str>,
    ) -> Result<(Option<Principal>, Vec<Grant>), CredentialError> {
        let head = self.head(self.id(name.as_ref())?).await?;
        Ok((owner(&head.tags), grants(&head.tags).collect()))
    }
}
