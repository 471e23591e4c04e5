//! A policy in a file, read anew when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{CredentialError, MetricsEmitter, NoMetrics, PolicyEpoch};

use crate::policies::Policies;
use crate::policy::{AccessPolicy, POLICY_BYTES_MAX};

/// A policy in a file. Who can write the file decides over every credential: one that
/// belongs to or can be written by anyone but the effective user and root, or lies where others can replace it, is refused.
/// A symbolic link of one of the two is followed.
pub struct PolicyFile {
    path: PathBuf,
    policies: Policies,
    metrics: Arc<dyn MetricsEmitter>,
    seen: Seen,
}

/// What was found last.
#[derive(Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    /// It could not be read.
    Flaw(CredentialError),
}

/// What a look at the file found.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// What was there before.
    Unchanged,
    /// Another policy, which holds now.
    Applied,
    /// Something that is no policy; the one before holds on. Told once for each such change, here, in the trace and in the
    /// metrics, and as long as it lasts by [`Policies::refused`].
    Refused(CredentialError),
}

impl PolicyFile {
    /// Reads the policy at `path`, and counts its changes in an epoch of its own.
    ///
    /// # Errors
    /// [`CredentialError::Parse`] for what is no policy, with the line and what to write;
    /// [`CredentialError::InsecureStorage`] for a file that others can change; [`CredentialError::LimitExceeded`];
    /// [`CredentialError::Storage`] for one that cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CredentialError> {
        Self::open_with(path, PolicyEpoch::default(), Arc::new(NoMetrics))
    }

    /// Likewise, but counts changes in `epoch` and reports to `metrics`.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(
        path: impl Into<PathBuf>,
        epoch: PolicyEpoch,
        metrics: Arc<dyn MetricsEmitter>,
    ) -> Result<Self, CredentialError> {
        let path = path.into();
        let text = read(&path)?;
        let policy = AccessPolicy::parse(&text)?;
        Ok(Self {
            path,
            policies: Policies::with_epoch(policy, epoch),
            metrics,
            seen: Seen::Text(text),
        })
    }

    /// The policy that holds.
    pub fn policies(&self) -> Policies {
        self.policies.clone()
    }

    /// Looks at the file, and puts what is new there into force.
    pub fn reload(&mut self) -> Reload {
        let found = read(&self.path);
        self.take(found)
    }

    /// Looks every `interval` of tokio's time, for as long as the future is polled, and tells `report` what is not
    /// [`Reload::Unchanged`]. The file is compared by its content: no change is too quick to be seen.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and in one without time enabled.
    pub async fn watch(mut self, interval: Duration, mut report: impl FnMut(Reload) + Send) {
        loop {
            tokio::time::sleep(interval).await;
            let path = self.path.clone();
            // A file system that hangs must not hang the runtime.
            let Ok(found) = tokio::task::spawn_blocking(move || read(&path)).await else {
                continue;
            };
            match self.take(found) {
                Reload::Unchanged => {}
                change => report(change),
            }
        }
    }

    fn take(&mut self, found: Result<String, CredentialError>) -> Reload {
        let seen = found.map_or_else(Seen::Flaw, Seen::Text);
        if seen == self.seen {
            return Reload::Unchanged;
        }
        let parsed = match &seen {
            Seen::Text(text) => AccessPolicy::parse(text).map_err(CredentialError::from),
            Seen::Flaw(flaw) => Err(flaw.clone()),
        };
        self.seen = seen;
        let (outcome, reload) = match parsed {
            Ok(policy) => {
                tracing::info!(
                    path = %self.path.display(),
                    rules = policy.rules.len(),
                    "the access policy changed, and holds from now on"
                );
                self.policies.replace(policy);
                ("applied", Reload::Applied)
            }
            Err(flaw) => {
                tracing::warn!(
                    path = %self.path.display(),
                    %flaw,
                    "the access policy changed to something that is none; the one before holds on"
                );
                self.policies.refuse(flaw.clone());
                ("refused", Reload::Refused(flaw))
            }
        };
        self.metrics.increment(
            "nebula_credential_access_reloads_total",
            &[("outcome", outcome)],
            1,
        );
        reload
    }
}

impl std::fmt::Debug for PolicyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyFile")
            .field("path", &self.path)
            .field("policies", &self.policies)
            .finish_non_exhaustive()
    }
}

/// Reads the text.
fn read(path: &Path) -> Result<String, CredentialError> {
    let Some(bytes) = bytes(path)? else {
        return Err(CredentialError::storage(format!(
            "the access policy {} cannot be read: there is no such file; check the path",
            path.display()
        )));
    };
    String::from_utf8(bytes).map_err(|_| {
        CredentialError::parse_error(format!(
            "the access policy {} is not UTF-8 text; save it as such",
            path.display()
        ))
    })
}

#[cfg(unix)]
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, CredentialError> {
    let bytes = nebula_credential_fs::read_trusted_file(path, POLICY_BYTES_MAX)?;
    Ok(bytes.map(|bytes| bytes.to_vec()))
}

/// Elsewhere the system keeps others from writing, or does not: nothing is known of owners and modes.
#[cfg(not(unix))]
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, CredentialError> {
    use std::io::Read as _;

    let unreadable = || {
        CredentialError::storage(format!(
            "the access policy {} cannot be read; check the path and its permissions",
            path.display()
        ))
    };
    let file = std::fs::File::open(path).map_err(|_| unreadable())?;
    let mut bytes = Vec::new();
    let room = u64::try_from(POLICY_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    file.take(room)
        .read_to_end(&mut bytes)
        .map_err(|_| unreadable())?;
    if bytes.len() > POLICY_BYTES_MAX {
        let (most, found) = (POLICY_BYTES_MAX, bytes.len());
        return Err(CredentialError::limit("policy bytes", most, found));
    }
    Ok(Some(bytes))
}
