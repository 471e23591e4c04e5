//! What a manager keeps in memory: live handles, and the cache.

use nebula_credential_cache::{CacheLayer, CacheStats, CredentialHandle};
use nebula_credential_core::{Credential, CredentialError, Selector, Version};

use crate::CredentialManager;
use crate::drive::{Driver, News};

impl CredentialManager {
    /// A handle on a credential that is always at its current value, for what outlives a single use, such as a pool of
    /// connections. Reading it costs nanoseconds.
    ///
    /// A change through this manager is seen at once, one by another process on the same local store within 100 ms, and
    /// one in a store that does not tell of changes, or was made to forget how, within 30 s. Each new value is read like any
    /// other, with this manager's principal, permission, purpose and circumstances. From then on [`load`](CredentialHandle::load) is an error:
    ///
    /// * for good, when the credential is revoked or deleted, and when a policy denies it: within 100 ms of a change of the
    ///   policy, and within a second where the time of a rule or a grant is over, but up to 11 s later while the store does
    ///   not answer, or nothing can be recorded;
    /// * until there is a new value, when it expires, at that moment, or when it is in a state or of a type in which no read
    ///   gives it out;
    /// * until the store answers again, when what is there could not be checked for longer than
    ///   [`handle_stale_if_error`](crate::ManagerBuilder::handle_stale_if_error), 15 minutes unless told otherwise. Up to then it is
    ///   served, with a warning. While a local store tells that nothing changed, nothing is to be checked.
    ///
    /// Must be called in a tokio runtime with time enabled, where a task keeps the handle current. The task ends with the last
    /// clone of the handle, whatever it was waiting for; when the runtime ends first, so does the handle. Without time enabled
    /// the task panics, and the handle ends at once.
    ///
    /// # Errors
    /// Those of [`get`](Self::get); [`CredentialError::Unsupported`] outside a tokio runtime.
    pub async fn handle<C: Credential>(
        &self,
        name: impl AsRef<str>,
    ) -> Result<CredentialHandle<C>, CredentialError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            CredentialError::unsupported(
                "a live handle is kept current by a task; call this in a tokio runtime",
            )
        })?;
        let id = self.id(name.as_ref())?;
        // Before the value is read: a change while it is read counts.
        let news = News::of(self, &id).await?;
        let began = self.now();
        let (head, value) = self.read_version::<C>(name.as_ref(), Selector::Latest).await?;
        let (handle, updater) = CredentialHandle::new(id, head.version.version, value);
        runtime.spawn(Driver::new(self, head, updater, news, began).run());
        Ok(handle)
    }

    /// What the cache did so far, if there is one and it was used.
    pub fn cache_stats(&self) -> Option<CacheStats> {
        Some(self.cache()?.stats())
    }

    /// Drops one version of a credential from the cache, because who it was meant for refused it. The next read asks the
    /// store; a newer version that is in memory already stays. Without a version to name, [`forget`](Self::forget) it.
    ///
    /// # Errors
    /// [`CredentialError::InvalidName`].
    pub fn rejected(&self, name: impl AsRef<str>, version: Version) -> Result<(), CredentialError> {
        let id = self.id(name.as_ref())?;
        if let Some(cache) = self.cache() {
            cache.rejected(&id, version);
        }
        Ok(())
    }

    /// Drops what the cache of this process holds of a credential, every version of it, and that it is absent: for news of a
    /// change that came by another way, such as a message, where the store itself does not tell. What is being read at the
    /// moment is not kept. The store and live handles are as before.
    ///
    /// # Errors
    /// [`CredentialError::InvalidName`].
    pub fn forget(&self, name: impl AsRef<str>) -> Result<(), CredentialError> {
        let id = self.id(name.as_ref())?;
        if let Some(cache) = self.cache() {
            cache.invalidate(&id);
        }
        Ok(())
    }

    /// Drops everything the cache of this process holds, of every tenant and scope.
    pub fn forget_all(&self) {
        if let Some(cache) = self.cache() {
            cache.clear();
        }
    }

    fn cache(&self) -> Option<&CacheLayer> {
        self.inner.opened_already()?.cache.as_ref()
    }
}
