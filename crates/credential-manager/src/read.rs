use nebula_credential_core::{
    Credential, CredentialError, CredentialName, CredentialRef, Get, List, Op, Page, Phase, Plaintext,
    Record, RecordHead, Selector, Version, decode_credential,
};

use crate::{CredentialManager, CredentialMetadata, CredentialVersion, RawCredential};

/// Reading.
impl CredentialManager {
    /// The current value.
    ///
    /// # Errors
    /// [`NotFound`](CredentialError::NotFound), [`TypeMismatch`](CredentialError::TypeMismatch),
    /// [`Expired`](CredentialError::Expired), [`InvalidState`](CredentialError::InvalidState) for a revoked one,
    /// [`Tampered`](CredentialError::Tampered), and those of the store.
    pub async fn get<C: Credential>(&self, name: impl AsRef<str>) -> Result<C, CredentialError> {
        self.read(name.as_ref(), Selector::Latest).await
    }

    /// The current value, and which version it is: what a cache wants to be told should the other side refuse it.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub async fn get_versioned<C: Credential>(
        &self,
        name: impl AsRef<str>,
    ) -> Result<(Version, C), CredentialError> {
        let (head, value) = self.read_version(name.as_ref(), Selector::Latest).await?;
        Ok((head.version.version, value))
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
        let get = Get {
            id: self.id(name)?,
            version,
        };
        // Read where it lies: a record is large, and to move it is to copy it.
        self.typed(self.call(Op::Get(get)).await?.as_record()?)
    }

    /// The value, and what is known of it.
    pub(crate) async fn read_version<C: Credential>(
        &self,
        name: &str,
        version: Selector,
    ) -> Result<(RecordHead, C), CredentialError> {
        let record = self.fetch(self.id(name)?, version).await?;
        let value = self.typed(&record)?;
        Ok((record.head, value))
    }

    /// The value of `record`, if it is of this type and may be used.
    fn typed<C: Credential>(
        &self,
        Record { head, payload }: &Record<Plaintext>,
    ) -> Result<C, CredentialError> {
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
                "{} is {}; store a new value under another name",
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
        decode_credential(payload, stored.schema_version)
    }

    pub(crate) async fn fetch(
        &self,
        id: CredentialRef,
        version: Selector,
    ) -> Result<Record<Plaintext>, CredentialError> {
        self.call(Op::Get(Get { id, version })).await?.into_record()
    }

    /// The current value as stored bytes, of whatever type, expired and revoked or not: for re-encryption and migration.
    ///
    /// # Errors
    /// Those of [`get`](Self::get), but for type, state and expiry.
    pub async fn get_raw(&self, name: impl AsRef<str>) -> Result<RawCredential, CredentialError> {
        let record = self.fetch(self.id(name.as_ref())?, Selector::Latest).await?;
        Ok(RawCredential::new(record))
    }

    /// [`get_raw`](Self::get_raw) for one version.
    ///
    /// # Errors
    /// [`VersionNotFound`](CredentialError::VersionNotFound), and those of [`get_raw`](Self::get_raw).
    pub async fn get_raw_version(
        &self,
        name: impl AsRef<str>,
        version: Version,
    ) -> Result<RawCredential, CredentialError> {
        let record = self
            .fetch(self.id(name.as_ref())?, Selector::Exact(version))
            .await?;
        Ok(RawCredential::new(record))
    }

    /// Whether there is such a credential and it is not deleted. Needs no key.
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
}
