use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Circumstances, Clock, CredentialError, CredentialName, CredentialRef, Get, Op, OpContext, Permission,
    Plaintext, Principal, RecordHead, Report, Request, Response, Scope, Selector, TenantId,
};

use crate::builder::Inner;
use crate::{CredentialContext, ManagerBuilder};

/// Stores, reads, rotates and rolls back typed credentials of one tenant and scope.
///
/// Cheap to clone. Made by `new` with the embedded store, or [`builder`](Self::builder); the store is opened on first use.
///
/// # Panics
/// In a tokio runtime without time enabled, requests that wait by the clock do: every request with resilience, every change
/// with an audit log, lists and refusals that hide something with access control, and reads with a deadline through a cache.
#[derive(Clone)]
pub struct CredentialManager {
    pub(crate) inner: Arc<Inner>,
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    principal: Principal,
    purpose: Option<Arc<str>>,
    permission: Option<Permission>,
    deadline: Option<DateTime<Utc>>,
    trace_id: Option<[u8; 16]>,
    circumstances: Option<Arc<Circumstances>>,
}

impl CredentialManager {
    /// A manager on the embedded encrypted store in the user's data directory, with the key that
    /// [`Keys::from_env`](crate::Keys::from_env) finds.
    #[cfg(feature = "local")]
    #[expect(
        clippy::new_without_default,
        reason = "it reads the environment, which a default should not"
    )]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A manager on a store, with keys and limits of your choice.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new()
    }

    pub(crate) fn from_parts(inner: Inner, tenant: TenantId, scope: Scope, principal: Principal) -> Self {
        Self {
            inner: Arc::new(inner),
            tenant,
            scope,
            principal,
            purpose: None,
            permission: None,
            deadline: None,
            trace_id: None,
            circumstances: None,
        }
    }

    /// The same store, for another scope of the tenant.
    #[must_use]
    pub fn with_scope(&self, scope: Scope) -> Self {
        Self {
            scope,
            ..self.clone()
        }
    }

    /// The same store, asked by another principal.
    #[must_use]
    pub fn with_principal(&self, principal: Principal) -> Self {
        Self {
            principal,
            ..self.clone()
        }
    }

    /// The same store, asked for a purpose, which is recorded, and a policy may ask for it.
    #[must_use]
    pub fn with_purpose(&self, purpose: &str) -> Self {
        Self {
            purpose: Some(Arc::from(purpose)),
            ..self.clone()
        }
    }

    /// The same store, for who means to do that with what is asked for: [`Permission::Use`], and not see it, rather than
    /// [`Permission::Read`]. An operation that cannot be meant so needs what it needs without; see [`Permission::of`].
    #[must_use]
    pub fn with_permission(&self, permission: Permission) -> Self {
        Self {
            permission: Some(permission),
            ..self.clone()
        }
    }

    /// The same store, asked for answers until `deadline`: after that nothing is begun, and nothing waited for.
    #[must_use]
    pub fn with_deadline(&self, deadline: DateTime<Utc>) -> Self {
        Self {
            deadline: Some(deadline),
            ..self.clone()
        }
    }

    /// The same store, asked within the trace of this W3C trace id.
    #[must_use]
    pub fn with_trace_id(&self, trace_id: [u8; 16]) -> Self {
        Self {
            trace_id: Some(trace_id),
            ..self.clone()
        }
    }

    /// The same store, asked under circumstances that a policy may ask for.
    #[must_use]
    pub fn with_circumstances(&self, circumstances: Circumstances) -> Self {
        Self {
            circumstances: Some(Arc::new(circumstances)),
            ..self.clone()
        }
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Opens the store and unlocks its keys now rather than on first use.
    ///
    /// # Errors
    /// Those of the store and of the key ring.
    pub async fn open(&self) -> Result<(), CredentialError> {
        self.inner.opened().await?.ring().await.map(drop)
    }

    /// What an action of a workflow holds: access to what its allow-list names. Begins with nothing allowed.
    pub fn context(&self, principal: Principal) -> CredentialContext {
        CredentialContext::new(self.with_principal(principal))
    }

    pub(crate) async fn head(&self, id: CredentialRef) -> Result<RecordHead, CredentialError> {
        self.call(Op::Head(Get {
            id,
            version: Selector::Latest,
        }))
        .await?
        .into_head()
    }

    pub(crate) fn call(
        &self,
        op: Op<Plaintext>,
    ) -> impl Future<Output = Result<Response<Plaintext>, CredentialError>> {
        self.call_with(op, None)
    }

    /// Likewise, with what is known of it already.
    pub(crate) async fn call_with(
        &self,
        op: Op<Plaintext>,
        report: Option<Arc<Report>>,
    ) -> Result<Response<Plaintext>, CredentialError> {
        let stack = &self.inner.opened().await?.stack;
        let name = op.name();
        #[cfg(feature = "cache")]
        let changes = op.changes().then(|| op.subject().cloned()).flatten();
        let ctx = OpContext {
            permission: self
                .permission
                .filter(|claimed| Permission::of(&op, Some(*claimed)).is_ok()),
            report,
            ..self.op_context()
        };
        let answer = stack.call_dyn(Request { ctx, op }).await;
        // Also where it failed: it may have been made all the same.
        #[cfg(feature = "cache")]
        if let Some(id) = changes {
            // Without live handles, nobody listens.
            let _ = self.inner.changed.send(id);
        }
        if let Err(error) = &answer {
            tracing::debug!(
                operation = name,
                kind = error.kind().as_str(),
                "credential operation failed"
            );
        }
        answer
    }

    /// The same, for work that goes on after the request that began it: without its deadline, and its trace.
    #[cfg(feature = "cache")]
    pub(crate) fn outliving_the_request(&self) -> Self {
        Self {
            deadline: None,
            trace_id: None,
            ..self.clone()
        }
    }

    /// What is asked for when a value is read.
    #[cfg(all(feature = "access", feature = "cache"))]
    pub(crate) fn permission_to_read(&self) -> Permission {
        match self.permission {
            Some(claimed @ (Permission::Use | Permission::Test)) => claimed,
            _ => Permission::Read,
        }
    }

    pub(crate) fn op_context(&self) -> OpContext {
        OpContext {
            purpose: self.purpose.clone(),
            deadline: self.deadline,
            trace_id: self.trace_id,
            circumstances: self.circumstances.clone(),
            ..OpContext::new(self.principal.clone(), Arc::clone(&self.inner.clock))
        }
    }

    pub(crate) fn id(&self, name: &str) -> Result<CredentialRef, CredentialError> {
        Ok(CredentialRef::new(
            self.tenant.clone(),
            self.scope.clone(),
            CredentialName::new(name)?,
        ))
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }
}

impl fmt::Debug for CredentialManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialManager")
            .field("tenant", &self.tenant)
            .field("scope", &self.scope)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}
