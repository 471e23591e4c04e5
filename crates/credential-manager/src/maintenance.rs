#[cfg(feature = "audit")]
use nebula_credential_audit::{Event, EventKind, Stage};
use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_crypto::{Epoch, EpochUse, JobReport, KeyJob, KeyRingFile, Progress};

use crate::CredentialManager;
use crate::blocking::blocking;

/// The key ring, and work on the whole store: every tenant and scope, whatever this manager is bound to.
impl CredentialManager {
    /// The key ring of the store: its slots and epochs, and how to change them.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn key_ring(&self) -> Result<KeyRingFile, CredentialError> {
        Ok(self.inner.opened().await?.ring().await?.clone())
    }

    /// Starts a new epoch of the key ring: what is stored from now on is wrapped by a new key. Follow it with
    /// [`rewrap`](Self::rewrap). The store is scanned first: a ring older than the records would give the number of one
    /// of their keys to another key.
    ///
    /// # Errors
    /// [`InvalidState`](CredentialError::InvalidState) if records need a newer key than the ring has; those of the store,
    /// unless it is damaged, and of the key ring, which is as before then.
    pub async fn rotate_key(&self) -> Result<Epoch, CredentialError> {
        self.recorded("rotate_key", self.new_epoch()).await
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
    /// Those of the store. A record that cannot be opened stops nothing and is counted in the report.
    pub async fn rewrap(&self, progress: impl FnMut(&Progress) + Send) -> Result<JobReport, CredentialError> {
        let opened = self.inner.opened().await?;
        let job = KeyJob::rewrap(
            opened.store.clone(),
            opened.ring().await?.ring().clone(),
            self.op_context(),
        );
        self.recorded("rewrap", job.run(progress)).await
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
            opened.ring().await?.ring().clone(),
            self.op_context(),
        );
        self.recorded("re_encrypt_all", job.run(progress)).await
    }

    /// Does `work` on the keys, recorded before and after: it does not pass the layers.
    #[cfg(feature = "audit")]
    async fn recorded<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, CredentialError>>,
    ) -> Result<T, CredentialError> {
        let Some(log) = self.inner.audit_log() else {
            return work.await;
        };
        let record = async |event: &Event| match log.record_synced(event).await {
            Err(failure) => log.missed(failure).map(|()| None),
            Ok(number) => Ok(Some(number)),
        };
        let mut event = Event::new(EventKind::KeyRotated);
        event.stage = Stage::Intent;
        event.principal = Some(self.principal().clone());
        event.operation = Some(operation);
        event.purpose = self.op_context().purpose.as_deref().map(str::to_owned);
        event.intent = record(&event).await?;
        event.stage = Stage::Outcome;
        let done = work.await;
        event.outcome = Some(done.as_ref().map_or_else(|error| error.kind().as_str(), |_| "ok"));
        // Refused as it was, it is refused still; made as it was, nobody is told so.
        match record(&event).await {
            Ok(_) => done,
            Err(failure) => Err(done.err().unwrap_or(failure)),
        }
    }

    #[cfg(not(feature = "audit"))]
    async fn recorded<T>(
        &self,
        _: &'static str,
        work: impl Future<Output = Result<T, CredentialError>>,
    ) -> Result<T, CredentialError> {
        work.await
    }
}
