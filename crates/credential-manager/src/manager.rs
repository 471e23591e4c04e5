use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Clock, Credential, CredentialError, CredentialName, CredentialRef, Delete, DeleteMode, Get,
    IdempotencyToken, List, Op, OpContext, Page, Phase, Plaintext, Precondition, Principal, Put, Record,
    RecordHead, Request, Response, Restore, Rewrite, Scope, Selector, Tags, TenantId, Update, Version,
    VersionHead, decode_credential, encode_credential, whole_micros,
};
use tower::ServiceExt as _;

use crate::builder::Inner;
use crate::store::{Value, Write};
use crate::{Builder, CredentialContext, CredentialMetadata, CredentialVersion, RawCredential, Store};

/// How often a write that must win over others starts anew before it reports the conflict.
const WRITE_ATTEMPTS: usize = 64;

/// Stores, reads, rotates and rolls back typed credentials of one tenant and scope.
///
/// Cheap to clone. Made by [`new`](Self::new) or [`builder`](Self::builder); the store is opened on first use.
#[derive(Clone)]
pub struct CredentialManager {
    pub(crate) inner: Arc<Inner>,
    tenant: TenantId,
    scope: Scope,
    principal: Principal,
    purpose: Option<Arc<str>>,
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
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_parts(inner: Inner, tenant: TenantId, scope: Scope, principal: Principal) -> Self {
        Self {
            inner: Arc::new(inner),
            tenant,
            scope,
            principal,
            purpose: None,
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

    pub(crate) fn with_purpose(&self, purpose: &str) -> Self {
        Self {
            purpose: Some(Arc::from(purpose)),
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
        self.inner.stack().await.map(drop)
    }

    /// What an action of a workflow holds: access to what its allow-list names. Begins with nothing allowed.
    pub fn context(&self, principal: Principal) -> CredentialContext {
        CredentialContext::new(self.with_principal(principal))
    }

    /// Stores `credential` under `name`, encrypted, as a new version.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] from the type, [`CredentialError::TypeMismatch`] if a credential of another
    /// type has that name, and those of the store. An `Ok` means that it is durable.
    pub fn store<C: Credential>(&self, name: impl AsRef<str>, credential: C) -> Store<'_> {
        Store::new(self, name.as_ref(), credential, false)
    }

    /// Replaces the value of an existing credential. The old version is kept for [`rollback`](Self::rollback);
    /// whoever asks from now on gets the new one.
    ///
    /// # Errors
    /// [`CredentialError::NotFound`] if there is none, and those of [`store`](Self::store).
    pub fn rotate<C: Credential>(&self, name: impl AsRef<str>, credential: C) -> Store<'_> {
        Store::new(self, name.as_ref(), credential, true)
    }

    /// The current value.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`TypeMismatch`](CredentialError::TypeMismatch),
    /// [`Expired`](CredentialError::Expired), [`InvalidState`](CredentialError::InvalidState) for a revoked one,
    /// [`Tampered`](CredentialError::Tampered), and those of the store.
    pub async fn get<C: Credential>(&self, name: impl AsRef<str>) -> Result<C, CredentialError> {
        self.read(name.as_ref(), Selector::Latest).await
    }

    /// The value of one version.
    ///
    /// # Errors
    /// [`VersionNotFound`](CredentialError::VersionNotFound), and those of [`get`](Self::get).
    pub async fn get_version<C: Credential>(
        &self,
        name: impl AsRef<str>,
        version: Version,
    ) -> Result<C, CredentialError> {
        self.read(name.as_ref(), Selector::Exact(version)).await
    }

    async fn read<C: Credential>(&self, name: &str, version: Selector) -> Result<C, CredentialError> {
        let Record { head, payload } = self.fetch(self.id(name)?, version).await?;
        let stored = &head.version;
        if *stored.credential_type != *C::credential_type() {
            return Err(CredentialError::type_mismatch(format!(
                "{} is of type {}, not {}; ask for that type",
                head.id.name(),
                stored.credential_type,
                C::credential_type()
            )));
        }
        if !head.phase.is_usable() && head.phase != Phase::Expired {
            return Err(CredentialError::invalid_state(format!(
                "{} is {}; store a new value",
                head.id.name(),
                head.phase
            )));
        }
        if let Some(end) = stored.expires_at.filter(|end| *end <= self.now()) {
            return Err(CredentialError::expired(format!(
                "{} expired at {end}; rotate it",
                head.id.name()
            )));
        }
        decode_credential(&payload, stored.schema_version)
    }

    async fn fetch(
        &self,
        id: CredentialRef,
        version: Selector,
    ) -> Result<Record<Plaintext>, CredentialError> {
        self.call(Op::Get(Get { id, version })).await?.into_record()
    }

    /// The current value as stored bytes, of whatever type, expired or not: for re-encryption and migration.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), but for type and expiry.
    pub async fn get_raw(&self, name: impl AsRef<str>) -> Result<RawCredential, CredentialError> {
        let record = self.fetch(self.id(name.as_ref())?, Selector::Latest).await?;
        Ok(RawCredential::new(record))
    }

    /// Seals `raw` again under a fresh data key and the newest key of the ring, in place: no new version.
    ///
    /// # Errors
    /// [`VersionConflict`](CredentialError::VersionConflict) if it changed since it was read.
    pub async fn re_encrypt(
        &self,
        name: impl AsRef<str>,
        raw: &RawCredential,
    ) -> Result<(), CredentialError> {
        let id = self.id(name.as_ref())?;
        let expected = self
            .inner
            .sealed(&self.op_context(), &id, raw.head.version.version)
            .await?;
        let opened = self
            .fetch(id.clone(), Selector::Exact(raw.head.version.version))
            .await?;
        if opened.payload.expose() != raw.payload.expose() || opened.head.version != raw.head.version {
            return Err(CredentialError::VersionConflict {
                name: id.to_string(),
                expected: Some(raw.head.version.version),
                found: Some(opened.head.latest),
            });
        }
        self.call(Op::Rewrite(Rewrite {
            id,
            version: raw.head.version.version,
            expected,
            payload: opened.payload,
        }))
        .await
        .map(drop)
    }

    /// The names of all credentials of this tenant and scope that are not deleted. Needs no key.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self) -> Result<Vec<CredentialName>, CredentialError> {
        let mut names = Vec::new();
        let mut query = self.list_query();
        loop {
            let page = self.list_page(query.clone()).await?;
            names.extend(page.items.into_iter().map(|head| head.id.name().clone()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(names),
            }
        }
    }

    /// The query for everything in this tenant and scope; narrow it and pass it to
    /// [`list_page`](Self::list_page).
    pub fn list_query(&self) -> List {
        List {
            scope: Some(self.scope.clone()),
            ..List::of(self.tenant.clone())
        }
    }

    /// One page of heads, by scope and name. The tenant of `query` is replaced by this manager's. Needs no key.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list_page(&self, query: List) -> Result<Page, CredentialError> {
        self.call(Op::List(List {
            tenant: self.tenant.clone(),
            ..query
        }))
        .await?
        .into_page()
    }

    /// Whether there is such a credential and it is not deleted.
    ///
    /// # Errors
    /// Those of the store: unreachable is not absent.
    pub async fn exists(&self, name: impl AsRef<str>) -> Result<bool, CredentialError> {
        match self.head(self.id(name.as_ref())?).await {
            Ok(head) => Ok(head.deleted_at.is_none()),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is known of a credential without its key. A deleted one is found.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), and those of the store.
    pub async fn metadata(&self, name: impl AsRef<str>) -> Result<CredentialMetadata, CredentialError> {
        let head = self.head(self.id(name.as_ref())?).await?;
        Ok(CredentialMetadata::new(head, self.now()))
    }

    /// Files a credential under `tags` instead of those it has. Tags lie in the clear.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), and those of the store.
    pub async fn set_tags(
        &self,
        name: impl AsRef<str>,
        tags: Tags,
    ) -> Result<CredentialMetadata, CredentialError> {
        let update = Update {
            id: self.id(name.as_ref())?,
            tags: Some(tags),
            phase: None,
            precondition: Precondition::None,
        };
        let head = self.call(Op::Update(update)).await?.into_head()?;
        Ok(CredentialMetadata::new(head, self.now()))
    }

    /// Every kept version, newest first. Needs no key.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), and those of the store.
    pub async fn versions(&self, name: impl AsRef<str>) -> Result<Vec<CredentialVersion>, CredentialError> {
        let id = self.id(name.as_ref())?;
        let phase = self.head(id.clone()).await?.phase;
        let now = self.now();
        let versions = self.call(Op::Versions(id)).await?.into_versions()?;
        let describe = |(i, version)| CredentialVersion::new(version, Some(phase).filter(|_| i == 0), now);
        Ok(versions.into_iter().enumerate().map(describe).collect())
    }

    /// Makes the value before the current one current again, as a new version: nothing is lost, and the rollback
    /// can itself be rolled back.
    ///
    /// # Errors
    /// [`InvalidState`](CredentialError::InvalidState) if no earlier version is kept; those of
    /// [`rollback_to`](Self::rollback_to).
    pub async fn rollback(&self, name: impl AsRef<str>) -> Result<CredentialMetadata, CredentialError> {
        let id = self.id(name.as_ref())?;
        let versions = self.call(Op::Versions(id.clone())).await?.into_versions()?;
        match versions.get(1) {
            Some(previous) => self.roll(id, previous.version).await,
            None => Err(CredentialError::invalid_state(format!(
                "{} has no earlier version to roll back to; store a new value",
                id.name()
            ))),
        }
    }

    /// Makes the value of `version` current again, as a new version.
    ///
    /// # Errors
    /// [`VersionNotFound`](CredentialError::VersionNotFound),
    /// [`InvalidState`](CredentialError::InvalidState) if `version` is the current one,
    /// [`VersionConflict`](CredentialError::VersionConflict) if someone else writes meanwhile, and those of the
    /// store.
    pub async fn rollback_to(
        &self,
        name: impl AsRef<str>,
        version: Version,
    ) -> Result<CredentialMetadata, CredentialError> {
        self.roll(self.id(name.as_ref())?, version).await
    }

    async fn roll(&self, id: CredentialRef, version: Version) -> Result<CredentialMetadata, CredentialError> {
        let Record { head, payload } = self.fetch(id.clone(), Selector::Exact(version)).await?;
        if head.latest == version {
            return Err(CredentialError::invalid_state(format!(
                "version {version} of {} is the current one; name an earlier one",
                id.name()
            )));
        }
        let value = Value {
            id,
            credential_type: head.version.credential_type,
            schema_version: head.version.schema_version,
            expires_at: head.version.expires_at,
            payload,
        };
        let write = Write {
            precondition: Precondition::IfVersion(head.latest),
            tags: None,
            must_exist: true,
        };
        self.write(value, write).await
    }

    /// Deletes a credential; [`restore`](Self::restore) undoes it.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), and those of the store.
    pub async fn delete(&self, name: impl AsRef<str>) -> Result<(), CredentialError> {
        self.remove(name.as_ref(), DeleteMode::Soft).await
    }

    /// Destroys every version of a credential, deleted or not. This cannot be undone.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), and those of the store.
    pub async fn purge(&self, name: impl AsRef<str>) -> Result<(), CredentialError> {
        self.remove(name.as_ref(), DeleteMode::Purge).await
    }

    async fn remove(&self, name: &str, mode: DeleteMode) -> Result<(), CredentialError> {
        let op = Delete {
            id: self.id(name)?,
            mode,
            precondition: Precondition::None,
        };
        self.call(Op::Delete(op)).await.map(drop)
    }

    /// Undoes a deletion.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`InvalidState`](CredentialError::InvalidState) if it is not
    /// deleted, and those of the store.
    pub async fn restore(&self, name: impl AsRef<str>) -> Result<CredentialMetadata, CredentialError> {
        let head = self
            .call(Op::Restore(Restore {
                id: self.id(name.as_ref())?,
            }))
            .await?
            .into_head()?;
        Ok(CredentialMetadata::new(head, self.now()))
    }

    pub(crate) fn value<C: Credential>(&self, name: &str, credential: &C) -> Result<Value, CredentialError> {
        let id = self.id(name)?;
        credential.validate()?;
        Ok(Value {
            id,
            credential_type: Arc::from(C::credential_type()),
            schema_version: C::schema_version(),
            expires_at: credential.expires_at().map(whole_micros),
            payload: encode_credential(credential, self.inner.secret_limit)?,
        })
    }

    /// Allocates the next version and writes it. Unless the caller named a version, a conflict only means to look
    /// again: someone was faster, or the name was purged and only the store still knows its last number.
    pub(crate) async fn write(
        &self,
        value: Value,
        write: Write,
    ) -> Result<CredentialMetadata, CredentialError> {
        let token = IdempotencyToken(random()?);
        let mut payload = value.payload;
        let mut highest = None;
        for attempt in 1.. {
            let current = match self.head(value.id.clone()).await {
                Ok(head) => Some(head),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error),
            };
            let live = current.as_ref().filter(|head| head.deleted_at.is_none());
            check_target(live, &value.id, &value.credential_type, write.must_exist)?;
            let latest = current.as_ref().map(|head| head.latest);
            write.precondition.check(&value.id, latest, live.is_some())?;
            let version = latest
                .max(highest)
                .map_or(Some(Version::FIRST), Version::next)
                .ok_or_else(|| {
                    CredentialError::invalid_state(format!(
                        "{} has used up its version numbers; use another name",
                        value.id
                    ))
                })?;
            let again = attempt < WRITE_ATTEMPTS && !matches!(write.precondition, Precondition::IfVersion(_));
            let copy = if again {
                Some(Plaintext::new(payload.expose().to_vec()))
            } else {
                None
            };
            let put = Put {
                id: value.id.clone(),
                version: VersionHead {
                    version,
                    credential_type: Arc::clone(&value.credential_type),
                    schema_version: value.schema_version,
                    created_at: self.now(),
                    expires_at: value.expires_at,
                },
                phase: Phase::Active,
                tags: write.tags.clone(),
                payload,
                precondition: write.precondition,
                token: Some(token),
                keep_versions: self.inner.keep_versions,
            };
            match (self.call(Op::Put(put)).await, copy) {
                (Err(CredentialError::VersionConflict { found, .. }), Some(copy)) => {
                    highest = found;
                    payload = copy;
                }
                (answer, _) => return Ok(CredentialMetadata::new(answer?.into_head()?, self.now())),
            }
        }
        Err(CredentialError::internal("the write loop ended"))
    }

    async fn head(&self, id: CredentialRef) -> Result<RecordHead, CredentialError> {
        self.call(Op::Head(Get {
            id,
            version: Selector::Latest,
        }))
        .await?
        .into_head()
    }

    async fn call(&self, op: Op<Plaintext>) -> Result<Response<Plaintext>, CredentialError> {
        let stack = self.inner.stack().await?.clone();
        let name = op.name();
        let answer = stack
            .oneshot(Request {
                ctx: self.op_context(),
                op,
            })
            .await;
        if let Err(error) = &answer {
            tracing::debug!(
                operation = name,
                kind = error.kind().as_str(),
                "credential operation failed"
            );
        }
        answer
    }

    pub(crate) fn op_context(&self) -> OpContext {
        OpContext {
            purpose: self.purpose.clone(),
            ..OpContext::new(self.principal.clone(), Arc::clone(&self.inner.clock))
        }
    }

    fn id(&self, name: &str) -> Result<CredentialRef, CredentialError> {
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

/// A rotation needs something to rotate, and a name does not change its type while it is in use.
fn check_target(
    live: Option<&RecordHead>,
    id: &CredentialRef,
    credential_type: &str,
    must_exist: bool,
) -> Result<(), CredentialError> {
    match live {
        None if must_exist => Err(CredentialError::not_found(id.to_string())),
        Some(head) if *head.version.credential_type != *credential_type => {
            Err(CredentialError::type_mismatch(format!(
                "{} is of type {}, not {credential_type}; delete it first, or use another name",
                id.name(),
                head.version.credential_type
            )))
        }
        _ => Ok(()),
    }
}

fn random() -> Result<[u8; 16], CredentialError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| CredentialError::internal("the operating system gave no random bytes"))?;
    Ok(bytes)
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
