use std::sync::Arc;

use nebula_credential_core::{
    AnyCredential, Credential, CredentialError, CredentialRef, Delete, DeleteMode, IdempotencyToken, Op,
    Permission, Phase, Plaintext, Precondition, Put, Record, RecordHead, Restore, Rewrite, SecretWriter,
    Selector, Tags, Update, Version, VersionHead, encode_credential, whole_micros,
};

use crate::write::{Value, Write};
use crate::{CredentialManager, CredentialMetadata, PendingWrite, RawCredential};

/// How often a write that must win over others starts anew before it reports the conflict.
const WRITE_ATTEMPTS: usize = 64;

/// Changing.
impl CredentialManager {
    /// Stores `credential` under `name`, encrypted, as a new version. Under the name of a deleted credential a new one
    /// begins: what [`restore`](Self::restore) would have brought back is gone.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] from the type, [`CredentialError::TypeMismatch`] if a credential of another
    /// type has that name, and those of the store. An `Ok` means that it is durable.
    pub fn store<C: Credential>(&self, name: impl AsRef<str>, credential: C) -> PendingWrite<'_> {
        PendingWrite::new(self, self.value(name.as_ref(), &credential), false)
    }

    /// Replaces the value of an existing credential. The old version is kept for [`rollback`](Self::rollback);
    /// whoever asks from now on gets the new one.
    ///
    /// # Errors
    /// [`CredentialError::NotFound`] if there is none, and those of [`store`](Self::store).
    pub fn rotate<C: Credential>(&self, name: impl AsRef<str>, credential: C) -> PendingWrite<'_> {
        PendingWrite::new(self, self.value(name.as_ref(), &credential), true)
    }

    /// [`store`](Self::store) for a credential whose type is known only at run time.
    ///
    /// # Errors
    /// As there.
    pub fn store_any(&self, name: impl AsRef<str>, credential: &AnyCredential) -> PendingWrite<'_> {
        PendingWrite::new(self, self.value_any(name.as_ref(), credential), false)
    }

    /// [`rotate`](Self::rotate) for a credential whose type is known only at run time.
    ///
    /// # Errors
    /// As there.
    pub fn rotate_any(&self, name: impl AsRef<str>, credential: &AnyCredential) -> PendingWrite<'_> {
        PendingWrite::new(self, self.value_any(name.as_ref(), credential), true)
    }

    /// Makes the value before the current one current again, as a new version: nothing is lost, and the rollback
    /// can itself be rolled back.
    ///
    /// # Errors
    /// [`InvalidState`](CredentialError::InvalidState) if no earlier version is kept;
    /// [`VersionConflict`](CredentialError::VersionConflict) if someone else writes meanwhile: look which value is
    /// current now; those of [`rollback_to`](Self::rollback_to).
    pub async fn rollback(&self, name: impl AsRef<str>) -> Result<CredentialMetadata, CredentialError> {
        let id = self.id(name.as_ref())?;
        let versions = self.call(Op::Versions(id.clone())).await?.into_versions()?;
        match versions.as_slice() {
            [current, previous, ..] => self.roll(id, previous.version, Some(current.version)).await,
            _ => Err(CredentialError::invalid_state(format!(
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
        self.roll(self.id(name.as_ref())?, version, None).await
    }

    /// Where the choice of `version` was made by looking at `current`, that must still be the current one.
    async fn roll(
        &self,
        id: CredentialRef,
        version: Version,
        current: Option<Version>,
    ) -> Result<CredentialMetadata, CredentialError> {
        // The old value is put in place, and shown to nobody.
        let Record { head, payload } = self
            .with_permission(Permission::Use)
            .fetch(id.clone(), Selector::Exact(version))
            .await?;
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
            precondition: Precondition::IfVersion(current.unwrap_or(head.latest)),
            must_exist: true,
            ..Write::default()
        };
        self.with_permission(Permission::Rotate).write(value, write).await
    }

    /// Files a credential under `tags` instead of those it has. Tags lie in the clear: needs no key.
    ///
    /// The [reserved](Tags::is_reserved) ones stay as they are, under a policy and without one: the owner of a credential is
    /// not changed, and what is shared of it is changed by `share` alone.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`AccessDenied`](CredentialError::AccessDenied) for a reserved tag that differs,
    /// [`KeyNotFound`](CredentialError::KeyNotFound) if the key ring of the store is missing, and those of the store.
    pub async fn set_tags(
        &self,
        name: impl AsRef<str>,
        tags: Tags,
    ) -> Result<CredentialMetadata, CredentialError> {
        let id = self.id(name.as_ref())?;
        let tags = if self.inner.is_governed() {
            tags
        } else {
            tags.keep_reserved(Some(&self.head(id.clone()).await?.tags))?
        };
        let update = Update {
            id,
            tags: Some(tags),
            phase: None,
            precondition: Precondition::None,
        };
        let head = self.call(Op::Update(update)).await?.into_head()?;
        Ok(CredentialMetadata::new(head, self.now()))
    }

    /// Withdraws a credential for good: no version of it is handed out again, here or in another process, live handles
    /// end, and nothing can be stored over it. [`delete`](Self::delete) it first to use its name anew. Needs no key.
    ///
    /// What lies with whoever issued the secret is not changed.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`KeyNotFound`](CredentialError::KeyNotFound) if the key ring of the store
    /// is missing, and those of the store.
    pub async fn revoke(&self, name: impl AsRef<str>) -> Result<CredentialMetadata, CredentialError> {
        let update = Update {
            id: self.id(name.as_ref())?,
            tags: None,
            phase: Some(Phase::Revoked),
            precondition: Precondition::None,
        };
        let head = self.call(Op::Update(update)).await?.into_head()?;
        Ok(CredentialMetadata::new(head, self.now()))
    }

    /// Deletes a credential; [`restore`](Self::restore) undoes it. Needs no key.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`KeyNotFound`](CredentialError::KeyNotFound) if the key ring of the store
    /// is missing, and those of the store.
    pub async fn delete(&self, name: impl AsRef<str>) -> Result<(), CredentialError> {
        self.remove(name.as_ref(), DeleteMode::Soft).await
    }

    /// Destroys every version of a credential, deleted or not. This cannot be undone. Needs no key.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`KeyNotFound`](CredentialError::KeyNotFound) if the key ring of the store
    /// is missing, and those of the store.
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

    /// Undoes a deletion. Needs no key.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`InvalidState`](CredentialError::InvalidState) if it is not
    /// deleted, [`KeyNotFound`](CredentialError::KeyNotFound) if the key ring of the store is missing, and those of the
    /// store.
    pub async fn restore(&self, name: impl AsRef<str>) -> Result<CredentialMetadata, CredentialError> {
        let head = self
            .call(Op::Restore(Restore {
                id: self.id(name.as_ref())?,
            }))
            .await?
            .into_head()?;
        Ok(CredentialMetadata::new(head, self.now()))
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

    /// The tags of a credential that is stored over `live`; `None` for those it has.
    fn tags_for(
        &self,
        given: Option<&Tags>,
        live: Option<&RecordHead>,
    ) -> Result<Option<Tags>, CredentialError> {
        match given.cloned() {
            Some(tags) if !self.inner.is_governed() => {
                tags.keep_reserved(live.map(|head| &head.tags)).map(Some)
            }
            tags => Ok(tags),
        }
    }

    fn value<C: Credential>(&self, name: &str, credential: &C) -> Result<Value, CredentialError> {
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

    fn value_any(&self, name: &str, credential: &AnyCredential) -> Result<Value, CredentialError> {
        let id = self.id(name)?;
        credential.validate()?;
        let mut payload = SecretWriter::with_limit(self.inner.secret_limit);
        credential.encode(&mut payload)?;
        Ok(Value {
            id,
            credential_type: Arc::from(credential.credential_type()),
            schema_version: credential.schema_version(),
            expires_at: credential.expires_at().map(whole_micros),
            payload: payload.finish(),
        })
    }

    /// Allocates the next version and writes it. Unless the caller named a version, a conflict only means to look
    /// again: someone was faster, or the name was purged and only the store still knows its last number.
    pub(crate) async fn write(
        &self,
        value: Value,
        write: Write,
    ) -> Result<CredentialMetadata, CredentialError> {
        let opened = self.inner.opened().await?;
        // What is wrong with the key is said before anything else is.
        opened.ring().await?;
        // A store refuses what it cannot honour; what is not needed is not asked of it.
        let able = opened.store.capability();
        let token = able.idempotency.then(random).transpose()?.map(IdempotencyToken);
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
            // What a rotation replaces must be there until it is replaced: a deletion in between wins.
            let precondition = match (write.precondition, latest) {
                (Precondition::None, Some(latest)) if write.must_exist && able.compare_and_set => {
                    Precondition::IfVersion(latest)
                }
                (given, _) => given,
            };
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
                phase: write.phase.unwrap_or(Phase::Active),
                tags: self.tags_for(write.tags.as_ref(), live)?,
                payload,
                precondition,
                token,
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
}

/// A rotation needs something to rotate, a name does not change its type while it is in use, and what is revoked stays
/// so.
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
        Some(head) => head.check_not_revoked(),
        None => Ok(()),
    }
}

fn random() -> Result<[u8; 16], CredentialError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| CredentialError::internal("the operating system gave no random bytes"))?;
    Ok(bytes)
}
