use nebula_credential_core::{CredentialError, ErrorKind, OpContext, StoreHandle};
use nebula_credential_crypto::{Epoch, EpochUse, JobReport, KeyJob, KeyRing, KeyRingFile, Progress};

use crate::CredentialManager;
use crate::blocking::blocking;

/// The key ring, and work on the whole store: every tenant and scope, whatever this manager is bound to.
///
/// Where there is an access policy, all of this takes [`Permission::Admin`](nebula_credential_core::Permission::Admin) by a
/// rule without limits on tenants, scopes, names and tags. Where there is an audit log, work is recorded before and after, and
/// what was refused is recorded; work whose caller gives up is recorded as abandoned.
impl CredentialManager {
    /// The key ring of the store: its slots and epochs, and how to change them. That it was given out is recorded; what is
    /// changed through it is recorded where it is done by [`administer`](Self::administer).
    ///
    /// # Errors
    /// [`AccessDenied`](CredentialError::AccessDenied), and those of [`open`](Self::open).
    pub async fn key_ring(&self) -> Result<KeyRingFile, CredentialError> {
        let ctx = self.leave("key_ring").await?;
        let ring = match self.inner.opened().await {
            Ok(opened) => opened.ring().await.cloned(),
            Err(error) => Err(error),
        };
        self.record_given(&ctx, "key_ring", ring).await
    }

    /// Starts a new epoch of the key ring: what is stored from now on is wrapped by a new key. Follow it with
    /// [`rewrap`](Self::rewrap). The store is scanned first: a ring older than the records would give the number of one
    /// of their keys to another key.
    ///
    /// # Errors
    /// [`AccessDenied`](CredentialError::AccessDenied); [`InvalidState`](CredentialError::InvalidState) if records need a newer
    /// key than the ring has; those of the store, unless it is damaged, and of the key ring, which is as before then.
    pub async fn rotate_key(&self) -> Result<Epoch, CredentialError> {
        self.administer("rotate_key", self.new_epoch()).await
    }

    async fn new_epoch(&self) -> Result<Epoch, CredentialError> {
        let opened = self.inner.opened().await?;
        let ring = opened.ring().await?.clone();
        let used = if opened.store.capability().rewrite {
            match EpochUse::scan(&opened.store, ring.ring(), &self.op_context()).await {
                Ok(used) => used.epochs().map(|(epoch, _)| epoch).max(),
                // A key that may have leaked must not stay in use because a record is damaged.
                Err(error) if error.kind() == ErrorKind::Storage => {
                    tracing::warn!("the store could not be scanned; the age of the key ring was not checked");
                    None
                }
                Err(error) => return Err(error),
            }
        } else {
            None
        };
        let now = self.now();
        let rotate = move || {
            ring.update(|draft| {
                let new = draft.rotate(now)?;
                if used.is_some_and(|used| used >= new) {
                    return Err(CredentialError::invalid_state(
                        "the key ring is older than the records in the store, and would use the number of one of their \
                         keys again; put the newest copy of the key ring back first",
                    ));
                }
                Ok(new)
            })
        };
        blocking(rotate).await?
    }

    /// Wraps every data key of the store under the newest key of the ring. Payloads are not touched, readers and
    /// writers go on meanwhile, and what was done stays done when it is interrupted: run it again.
    ///
    /// `progress` is called after each page.
    ///
    /// # Errors
    /// [`AccessDenied`](CredentialError::AccessDenied), and those of the store. A record that cannot be opened stops nothing and
    /// is counted in the report.
    pub async fn rewrap(&self, progress: impl FnMut(&Progress) + Send) -> Result<JobReport, CredentialError> {
        self.administer("rewrap", self.key_job(KeyJob::rewrap, progress))
            .await
    }

    /// Seals every value of the store again under a fresh data key: what to do after a data key may have leaked.
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub async fn re_encrypt_all(
        &self,
        progress: impl FnMut(&Progress) + Send,
    ) -> Result<JobReport, CredentialError> {
        self.administer("re_encrypt_all", self.key_job(KeyJob::re_encrypt, progress))
            .await
    }

    async fn key_job(
        &self,
        job: impl FnOnce(StoreHandle, KeyRing, OpContext) -> KeyJob,
        progress: impl FnMut(&Progress) + Send,
    ) -> Result<JobReport, CredentialError> {
        let opened = self.inner.opened().await?;
        let ring = opened.ring().await?.ring().clone();
        let report = job(opened.store.clone(), ring, self.op_context())
            .run(progress)
            .await;
        // Also what a job has wrapped that failed. The process may end with it.
        opened.count_wraps().await;
        report
    }
}
