use std::collections::BTreeSet;
use std::sync::Arc;

use nebula_credential_core::{Credential, CredentialError, CredentialName, Permission, Principal};

use crate::CredentialManager;

/// What an action holds: access to the credentials it was declared to need, and to no others.
///
/// An empty allow-list allows nothing. What it does not name is refused whatever a policy says, by the rule `allow-list`: as
/// other refusals, in the audit log, the trace and `nebula_credential_denied_total` where there are such.
///
/// ```
/// # use nebula_credential_manager::CredentialManager;
/// # use nebula_credential_core::{CredentialError, CredentialName, Principal};
/// # use nebula_credential_types::ApiKeyCredential;
/// # async fn action(manager: CredentialManager) -> Result<(), CredentialError> {
/// let action = Principal::Action(CredentialName::new("send_invoice")?);
/// let context = manager.context(action).allow("my_api")?;
/// let cred: ApiKeyCredential = context.get_credential("my_api").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CredentialContext {
    manager: CredentialManager,
    allowed: Arc<BTreeSet<CredentialName>>,
}

impl CredentialContext {
    pub(crate) fn new(manager: CredentialManager) -> Self {
        Self {
            manager: manager.with_permission(Permission::Use),
            allowed: Arc::default(),
        }
    }

    /// Adds `name` to the allow-list.
    ///
    /// # Errors
    /// [`CredentialError::InvalidName`].
    pub fn allow(mut self, name: impl AsRef<str>) -> Result<Self, CredentialError> {
        Arc::make_mut(&mut self.allowed).insert(CredentialName::new(name)?);
        Ok(self)
    }

    /// Says what the credentials are wanted for. Recorded, and a policy may ask for it.
    #[must_use]
    pub fn purpose(mut self, purpose: &str) -> Self {
        self.manager = self.manager.with_purpose(purpose);
        self
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        self.manager.principal()
    }

    /// The current value of a credential on the allow-list, to be put to use: what is asked for is [`Permission::Use`].
    ///
    /// # Errors
    /// [`CredentialError::AccessDenied`] if `name` is not on it, whether or not it exists; those of
    /// [`CredentialManager::get`].
    pub async fn get_credential<C: Credential>(&self, name: impl AsRef<str>) -> Result<C, CredentialError> {
        let name = CredentialName::new(name)?;
        if !self.allowed.contains(&name) {
            return Err(self.manager.refuse_undeclared(&name).await);
        }
        self.manager.get(name).await
    }
}

impl std::fmt::Debug for CredentialContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialContext")
            .field("principal", self.principal())
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}
