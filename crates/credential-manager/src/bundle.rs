use std::sync::Arc;

use nebula_credential_core::{CredentialError, Phase, Plaintext, Selector};
use nebula_credential_crypto::{Bundle, BundledCredential};

use crate::write::Value;
use crate::{CredentialManager, PendingWrite};

/// Bundles: credentials on their way to another store, for whoever holds another key.
///
/// ```
/// # use nebula_credential_core::CredentialError;
/// # use nebula_credential_crypto::{Bundle, Passphrase};
/// # use nebula_credential_manager::CredentialManager;
/// # async fn hand_over(here: CredentialManager, there: CredentialManager) -> Result<(), CredentialError> {
/// let bundle = here.export(["github_token", "prod/db"]).await?;
/// let sealed: Vec<u8> = bundle.seal(&Passphrase::new("correct horse battery staple"))?;
///
/// let bundle = Bundle::open(&sealed, &Passphrase::new("correct horse battery staple"))?;
/// for credential in bundle.credentials() {
///     there.import(&credential.name, credential).if_absent().await?;
/// }
/// # Ok(())
/// # }
/// ```
impl CredentialManager {
    /// Reads the current values of `names`, of whatever type, expired and revoked or not, into a bundle. Seal it on a
    /// thread that may block.
    ///
    /// # Errors
    /// Those of [`get_raw`](Self::get_raw) and of [`Bundle::add`]. A name that stands there twice is one credential.
    pub async fn export<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Bundle, CredentialError> {
        let mut ids = names
            .into_iter()
            .map(|name| self.id(name.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        ids.sort();
        ids.dedup();
        let mut bundle = Bundle::new(self.tenant.clone(), self.scope.clone(), self.now());
        for id in ids {
            let record = self.fetch(id, Selector::Latest).await?;
            bundle.add(BundledCredential {
                name: record.head.id.name().clone(),
                version: record.head.version,
                phase: record.head.phase,
                // Who may do what here is nobody's business there.
                tags: record.head.tags.without_reserved(),
                payload: record.payload,
            })?;
        }
        Ok(bundle)
    }

    /// Stores a credential of a bundle under `name` as a new version, with the tags, the expiry and the schema version
    /// it had. The value is taken as it was stored, also one of a type that this program does not know.
    ///
    /// Its owner and what is shared of it do not come along: whoever imports it under a policy owns it.
    ///
    /// What was in use is [`Active`](Phase::Active) here: a rotation or refresh that had begun is a matter of the store
    /// it began in. What was not in use stays so: what was revoked is revoked here too.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] for a value beyond this manager's limit; those of [`store`](Self::store).
    pub fn import(&self, name: impl AsRef<str>, credential: &BundledCredential) -> PendingWrite<'_> {
        let phase = match credential.phase {
            phase if phase.is_usable() => Phase::Active,
            phase => phase,
        };
        PendingWrite::new(self, self.value_bundled(name.as_ref(), credential), false)
            .tags(credential.tags.clone().without_reserved())
            .phase(phase)
    }

    fn value_bundled(&self, name: &str, credential: &BundledCredential) -> Result<Value, CredentialError> {
        let payload = credential.payload.expose();
        if payload.len() > self.inner.secret_limit {
            return Err(CredentialError::limit(
                "secret bytes",
                self.inner.secret_limit,
                payload.len(),
            ));
        }
        Ok(Value {
            id: self.id(name)?,
            credential_type: Arc::clone(&credential.version.credential_type),
            schema_version: credential.version.schema_version,
            expires_at: credential.version.expires_at,
            payload: Plaintext::new(payload.to_vec()),
        })
    }
}
