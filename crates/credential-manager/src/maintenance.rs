use nebula_credential_core::CredentialError;
use nebula_credential_crypto::{Epoch, JobReport, KeyJob, KeyRingFile, Progress};

use crate::CredentialManager;
use crate::blocking::blocking;

/// The key ring, and work on the whole store: every tenant and scope, whatever this manager is bound to.
impl CredentialManager {
    /// The key ring of the store: its slots and epochs, and how to change them.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn key_ring(&self) -> Result<KeyRingFile, CredentialError> {
        Ok(self.inner.opened().await?.ring.clone())
    }

    /// Starts a new epoch of the key ring: what is stored from now on is wrapped by a new key. Follow it with
    /// [`rewrap`](Self::rewrap).
    ///
    /// # Errors
    /// Those of the key ring; it is as before then.
    pub async fn rotate_key(&self) -> Result<Epoch, CredentialError> {
        let ring = self.key_ring().await?;
        let now = self.now();
        blocking(move || ring.update(|draft| draft.rotate(now))).await?
    }

    /// Wraps every data key of the store under the newest key of the ring. Payloads are not touched, readers and
    /// writers go on meanwhile, and what was done stays done when it is interrupted: run it again.
    ///
    /// `progress` is called after each page.
    ///
    /// # Errors
    /// Those of the store. A record that cannot be opened stops nothing and is counted in the report.
    pub async fn rewrap(&self, progress: impl FnMut(&Progress) + Send) -> Result<JobReport, CredentialError> {
        let opened = self.inner.opened().await?;
        let job = KeyJob::rewrap(
            opened.store.clone(),
            opened.ring.ring().clone(),
            self.op_context(),
        );
        job.run(progress).await
    }

    /// Seals every value of the store again under a fresh data key: what to do after a data key may have leaked.
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub async fn re_encrypt_all(
        &self,
        progress: impl FnMut(&Progress) + Send,
    ) -> Result<JobReport, CredentialError> {
        let opened = self.inner.opened().await?;
        let job = KeyJob::re_encrypt(
            opened.store.clone(),
            opened.ring.ring().clone(),
            self.op_context(),
        );
        job.run(progress).await
    }
}
