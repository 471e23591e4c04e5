//! Live handles, and what keeps them current.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nebula_credential_cache::{CacheStats, CredentialHandle, HandleUpdater};
use nebula_credential_core::{
    ChangeCounters, Credential, CredentialError, CredentialName, CredentialRef, Phase, PolicyEpoch,
    RecordHead, Selector, Version, VersionHead,
};
use tokio::sync::watch;

use crate::CredentialManager;

/// How often the change counters of a store are looked at: a few nanoseconds each time, for a change made by another process
/// to be seen as soon as a person would notice.
const LOOK: Duration = Duration::from_millis(100);
/// How often a store that does not tell of changes is asked for the head of a credential.
const ASK: Duration = Duration::from_secs(30);

impl CredentialManager {
    /// A handle on a credential that is always at its current value, for what outlives a single use, such as a pool of
    /// connections. Reading it costs nanoseconds.
    ///
    /// A change through this manager is seen at once, one by another process on the same local store within 100 ms, and
    /// one in a store that does not tell of changes within 30 s. Each new value is read like any other, with this manager's
    /// principal, and the value is asked for anew within the same time when the policy changes. The handle ends when the
    /// credential is revoked or deleted, or is denied. Past its expiry a value is not handed out.
    ///
    /// Must be called in a tokio runtime, where a task keeps the handle current. It ends with the last clone of the handle,
    /// whatever it was waiting for.
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
        let name = CredentialName::new(name)?;
        let id = self.id(name.as_str())?;
        let mut news = News {
            counters: self.inner.opened().await?.store.changes().map(|counters| {
                let counter = counters.counter_of(&id);
                (counters, counter)
            }),
            stood: None,
            epoch: self.inner.policy_epoch().map(|epoch| {
                let decided = epoch.current();
                (epoch, decided)
            }),
            changed: self.inner.changed.subscribe(),
        };
        // Before the value is read: a change while it is read counts.
        news.look();
        let (head, value) = self.read_version::<C>(name.as_str(), Selector::Latest).await?;
        let (handle, mut updater) = CredentialHandle::new(id, head.version, value);
        end_in_time(self, &mut updater, &head);
        let unwatched = updater.unwatched();
        let current = keep_current(self.clone(), name, updater, news);
        runtime.spawn(until(unwatched, current));
        Ok(handle)
    }

    /// What the cache did so far, if there is one and it was used.
    pub fn cache_stats(&self) -> Option<CacheStats> {
        Some(self.inner.opened_already()?.cache.as_ref()?.stats())
    }

    /// Drops one version of a credential from the cache, because who it was meant for refused it. The next read asks the
    /// store; a newer version that is in memory already stays.
    ///
    /// # Errors
    /// [`CredentialError::InvalidName`].
    pub fn rejected(&self, name: impl AsRef<str>, version: Version) -> Result<(), CredentialError> {
        let id = self.id(name.as_ref())?;
        if let Some(cache) = self
            .inner
            .opened_already()
            .and_then(|opened| opened.cache.as_ref())
        {
            cache.rejected(&id, version);
        }
        Ok(())
    }
}

/// Where news of a credential come from.
struct News {
    counters: Option<(Arc<dyn ChangeCounters>, usize)>,
    stood: Option<u64>,
    /// The policy by which the value was read.
    epoch: Option<(PolicyEpoch, u64)>,
    changed: watch::Receiver<u64>,
}

impl News {
    /// Whether there may be something new since the last look.
    fn look(&mut self) -> bool {
        let Some((counters, counter)) = &self.counters else {
            return true;
        };
        let stands = counters.read(*counter);
        let moved = stands.is_none() || stands != self.stood;
        self.stood = stands;
        moved
    }

    /// Whether the policy changed since the last look.
    fn look_at_policy(&mut self) -> bool {
        let Some((epoch, decided)) = &mut self.epoch else {
            return false;
        };
        let now = epoch.current();
        std::mem::replace(decided, now) != now
    }

    /// Waits for a time to look.
    async fn wait(&mut self) {
        let pause = if self.counters.is_some() { LOOK } else { ASK };
        // The manager that makes changes lives as long as this task; a pause that passes is a time to look as well.
        let _ = tokio::time::timeout(pause, self.changed.changed()).await;
    }
}

/// Does `work` until it ends, or `end` comes: it is dropped then, with all it holds.
async fn until(end: impl Future<Output = ()>, work: impl Future<Output = ()>) {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|cx| match end.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => work.as_mut().poll(cx),
    })
    .await;
}

async fn keep_current<C: Credential>(
    manager: CredentialManager,
    name: CredentialName,
    mut updater: HandleUpdater<C>,
    mut news: News,
) {
    // Whether the value there is may be held on to, by what the policy says now.
    let mut in_doubt = false;
    loop {
        news.wait().await;
        in_doubt |= news.look_at_policy();
        if !news.look() && !in_doubt {
            continue;
        }
        match renew(&manager, &name, &mut updater, in_doubt).await {
            Ok(true) => in_doubt = false,
            Ok(false) => return updater.revoked(),
            Err(error) if error.is_access_denied() => return updater.ended(error),
            Err(error) => {
                tracing::debug!(kind = error.kind().as_str(), "a live handle could not be renewed");
                // Look again next time, whether or not the counter moves.
                news.stood = None;
            }
        }
    }
}

/// Brings a handle to the current version; `false` if there is none any more. What is `in_doubt` is read again also where it is
/// the current one.
async fn renew<C: Credential>(
    manager: &CredentialManager,
    name: &CredentialName,
    updater: &mut HandleUpdater<C>,
    in_doubt: bool,
) -> Result<bool, CredentialError> {
    let id: CredentialRef = manager.id(name.as_str())?;
    let head = match manager.head(id).await {
        Ok(head) => head,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    };
    if is_gone(&head) {
        return Ok(false);
    }
    let is_newer = updater.version() < head.latest;
    if is_newer || in_doubt {
        // By its number: where the store does not tell of changes, a cache may still take an earlier one for the latest.
        let latest = Selector::Exact(head.latest);
        let (head, value) = manager.read_version(name.as_str(), latest).await?;
        if is_newer {
            updater.rotated(head.version, value)?;
            end_in_time(manager, updater, &head);
        }
    }
    Ok(true)
}

/// Past its expiry a value is not handed out.
fn end_in_time<C: Credential>(
    manager: &CredentialManager,
    updater: &mut HandleUpdater<C>,
    head: &VersionHead,
) {
    if let Some(at) = head.expires_at {
        updater.expires_at(at, Arc::clone(&manager.inner.clock));
    }
}

fn is_gone(head: &RecordHead) -> bool {
    head.deleted_at.is_some() || head.phase == Phase::Revoked
}
