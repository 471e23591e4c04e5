//! Live handles, and what keeps them current.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use nebula_credential_cache::{CacheStats, CredentialHandle, HandleUpdater};
use nebula_credential_core::{
    ChangeCounters, Credential, CredentialError, CredentialName, CredentialRef, Phase, RecordHead, Selector,
    Version,
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
    /// principal: what a policy denies later is not followed. The handle ends when the credential is revoked or deleted.
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
            changed: self.inner.changed.subscribe(),
        };
        // Before the value is read: a change while it is read counts.
        news.look();
        let (version, value) = self.read_version::<C>(name.as_str(), Selector::Latest).await?;
        let (handle, updater) = CredentialHandle::new(id, version, value);
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
    loop {
        news.wait().await;
        if !news.look() {
            continue;
        }
        match renew(&manager, &name, &mut updater).await {
            Ok(true) => {}
            Ok(false) => return updater.revoked(),
            Err(error) => {
                tracing::debug!(kind = error.kind().as_str(), "a live handle could not be renewed");
                // Look again next time, whether or not the counter moves.
                news.stood = None;
            }
        }
    }
}

/// Brings a handle to the current version; `false` if there is none any more.
async fn renew<C: Credential>(
    manager: &CredentialManager,
    name: &CredentialName,
    updater: &mut HandleUpdater<C>,
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
    if updater
        .handle()
        .version()
        .is_ok_and(|version| version < head.latest)
    {
        // By its number: where the store does not tell of changes, a cache may still take an earlier one for the latest.
        let latest = Selector::Exact(head.latest);
        let (version, value) = manager.read_version(name.as_str(), latest).await?;
        updater.rotated(version, value)?;
    }
    Ok(true)
}

fn is_gone(head: &RecordHead) -> bool {
    head.deleted_at.is_some() || head.phase == Phase::Revoked
}
