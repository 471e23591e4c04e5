//! What keeps a live handle current, and what ends it.

mod news;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_cache::{Expiry, HandleUpdater};
use nebula_credential_core::{
    Credential, CredentialError, CredentialRef, ErrorKind, Phase, RecordHead, Selector,
};
pub(crate) use news::News;
use news::{ASK, Due, LOOK};
use tokio::time::{Instant, timeout};

use crate::CredentialManager;

/// How long one attempt takes at most: the policy is not looked at meanwhile.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long the record of a refusal may take: the value is handed out until then, and a log that hangs must not put it off.
#[cfg(feature = "access")]
const RECORD: Duration = Duration::from_secs(1);

/// Keeps a handle current until nobody holds it, or it has ended.
pub(crate) struct Driver<C: Credential> {
    manager: CredentialManager,
    id: CredentialRef,
    updater: HandleUpdater<C>,
    news: News,
    /// The last that is known of the credential.
    head: RecordHead,
    /// Whether what is handed out follows from `head`, a value or none.
    settled: bool,
    /// Whether there is a value to hand out, expired or not.
    held: bool,
    /// Whether there is none because it expired.
    over: bool,
    /// When what is handed out was last known to be current.
    confirmed: DateTime<Utc>,
    due: Due,
    trouble: Option<Trouble>,
}

/// Attempts fail.
struct Trouble {
    error: CredentialError,
    pause: Duration,
    next: Instant,
}

impl<C: Credential> Driver<C> {
    /// For a handle with the value of `head`, which was read after `news` were first looked at, at `confirmed`.
    pub(crate) fn new(
        manager: &CredentialManager,
        head: RecordHead,
        mut updater: HandleUpdater<C>,
        news: News,
        confirmed: DateTime<Utc>,
    ) -> Self {
        if let Some(expiry) = expiry(&head, manager) {
            updater.expires(expiry);
        }
        Self {
            manager: manager.outliving_the_request(),
            id: head.id.clone(),
            updater,
            news,
            head,
            settled: true,
            held: true,
            over: false,
            confirmed,
            due: Due::Nothing,
            trouble: None,
        }
    }

    pub(crate) async fn run(self) {
        until(self.updater.unwatched(), self.keep_current()).await;
    }

    async fn keep_current(mut self) {
        loop {
            self.news.wait().await;
            if self.step().await.is_break() {
                return;
            }
        }
    }

    async fn step(&mut self) -> ControlFlow<()> {
        let now = self.manager.now();
        if self.held
            && let Some(expired) = self.updater.expired()
        {
            self.take_back(expired);
            self.over = true;
        }
        let expires_at = self.head.version.expires_at;
        if self.over && expires_at.is_some_and(|end| end > now) {
            // The clock was set back.
            self.over = false;
            self.settled = false;
            self.due = self.due.max(Due::Ask);
        }
        self.due = self.due.max(self.news.look(&self.manager, &self.head));
        if self.due == Due::Nothing {
            if self.news.stood.is_some() {
                self.confirmed = now;
            }
            return ControlFlow::Continue(());
        }
        let rests = |trouble: &Trouble| trouble.next > Instant::now();
        if self.due == Due::Denied || !self.trouble.as_ref().is_some_and(rests) {
            let attempt = timeout(ATTEMPT, self.renew()).await;
            match attempt.unwrap_or_else(|_| Err(no_answer())) {
                Ok(true) => {
                    self.confirmed = now;
                    self.due = Due::Nothing;
                    self.trouble = None;
                }
                Ok(false) => {
                    self.updater.revoked();
                    self.count("ended");
                    return ControlFlow::Break(());
                }
                Err(error) if error.is_access_denied() => return self.denied(error),
                #[cfg(feature = "access")]
                Err(_) if self.due == Due::Denied => {
                    let refusal = self.refusal().await;
                    return self.denied(refusal);
                }
                // By its counters, which can be read, nothing changed; nor did its head, as far as it was read.
                Err(_) if self.due == Due::Confirm && self.settled => self.due = Due::Nothing,
                Err(error) => self.failed(error),
            }
        }
        self.lose_patience();
        ControlFlow::Continue(())
    }

    /// What the policy says no with where no read got that far, as the store is away: recorded as a read's would be.
    #[cfg(feature = "access")]
    async fn refusal(&self) -> CredentialError {
        let text = format!(
            "{} may not have {} any more; ask whoever keeps the access policy",
            self.manager.principal(),
            self.id
        );
        let wanted = self.manager.permission_to_read();
        let rule = self.news.denied_by();
        let refuse = self.manager.refuse(self.id.clone(), wanted, rule, text.clone());
        let refusal = timeout(RECORD, refuse).await;
        refusal.unwrap_or_else(|_| CredentialError::access_denied(text))
    }

    fn denied(&mut self, error: CredentialError) -> ControlFlow<()> {
        tracing::warn!(id = %self.id, "a live handle has ended: its holder may not have the credential any more");
        self.updater.ended(error);
        self.count("ended");
        ControlFlow::Break(())
    }

    /// Brings the handle to the current version; `false` if there is none any more.
    async fn renew(&mut self) -> Result<bool, CredentialError> {
        let head = match self.manager.head(self.id.clone()).await {
            Ok(head) => head,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        if head.deleted_at.is_some() || head.phase == Phase::Revoked {
            return Ok(false);
        }
        if self.settled && self.due <= Due::Ask && head == self.head {
            return Ok(true);
        }
        self.settled = false;
        // By its number: where the store does not tell of changes, a cache may still take an earlier one for the latest.
        let latest = Selector::Exact(head.latest);
        match self
            .manager
            .read_version::<C>(self.id.name().as_str(), latest)
            .await
        {
            Ok((read, value)) => self.hand_out(&read, value)?,
            Err(error) => match error.kind() {
                // A read is refused, and will be until there is another version or state.
                ErrorKind::Expired | ErrorKind::InvalidState | ErrorKind::TypeMismatch | ErrorKind::Codec => {
                    self.over = error.kind() == ErrorKind::Expired;
                    self.take_back(error);
                }
                // A read is refused for now: what was there before is not the value any more.
                ErrorKind::Tampered | ErrorKind::UnsupportedFormat | ErrorKind::Key => {
                    self.take_back(error.clone());
                    return Err(error);
                }
                _ => return Err(error),
            },
        }
        self.head = head;
        self.settled = true;
        Ok(true)
    }

    fn hand_out(&mut self, head: &RecordHead, value: C) -> Result<(), CredentialError> {
        let version = head.version.version;
        let expiry = expiry(head, &self.manager);
        if version > self.updater.version() {
            self.updater.rotated(version, value, expiry)?;
            self.count("rotated");
            #[cfg(feature = "telemetry")]
            if let Some(metrics) = self.manager.inner.metrics() {
                let lag = (self.manager.now() - head.version.created_at).to_std();
                let lag = lag.unwrap_or_default().as_secs_f64();
                metrics.observe(nebula_credential_telemetry::names::HANDLE_LAG, &[], lag);
            }
        } else if !self.held {
            self.updater.refreshed(version, value, expiry)?;
            self.count("resumed");
        } else {
            return Ok(());
        }
        self.held = true;
        self.over = false;
        Ok(())
    }

    /// Hands out nothing for now.
    fn take_back(&mut self, why: CredentialError) {
        if self.held {
            tracing::warn!(id = %self.id, kind = why.kind().as_str(), "a live handle has no value for now");
            self.count("suspended");
        }
        self.held = false;
        self.updater.suspended(why);
    }

    fn failed(&mut self, error: CredentialError) {
        let kind = error.kind().as_str();
        self.count("failed");
        let pause = match &self.trouble {
            None => {
                tracing::warn!(id = %self.id, kind, "a live handle could not be renewed; what there is goes on being served for a while");
                LOOK
            }
            Some(trouble) => {
                tracing::debug!(id = %self.id, kind, "a live handle could still not be renewed");
                trouble.pause.saturating_mul(2).min(ASK)
            }
        };
        let next = Instant::now() + pause;
        self.trouble = Some(Trouble { error, pause, next });
    }

    /// Serves what cannot be checked for as long as the manager was told to, and no longer.
    fn lose_patience(&mut self) {
        let Some(trouble) = &self.trouble else { return };
        let unchecked = (self.manager.now() - self.confirmed).to_std().unwrap_or_default();
        if unchecked >= self.manager.inner.handle_stale_if_error {
            let why = trouble.error.clone();
            self.take_back(why);
            // There is a value to hand out as soon as the store answers, also where nothing changed.
            self.settled = false;
        }
    }

    fn count(&self, outcome: &'static str) {
        #[cfg(feature = "telemetry")]
        if let Some(metrics) = self.manager.inner.metrics() {
            let name = nebula_credential_telemetry::names::HANDLE_RENEWALS;
            metrics.increment(name, &[("outcome", outcome)], 1);
        }
        #[cfg(not(feature = "telemetry"))]
        let _ = outcome;
    }
}

impl<C: Credential> Drop for Driver<C> {
    /// Where the task ends before the handle, with its runtime or in a panic of the type's decoder: nobody would hear of a
    /// revocation.
    fn drop(&mut self) {
        if self.updater.is_watched() {
            self.updater.ended(CredentialError::unavailable(format!(
                "nobody keeps the handle on {} current: the tokio runtime it was made in has ended, or its task failed; ask \
                 for another",
                self.id
            )));
        }
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

fn expiry(head: &RecordHead, manager: &CredentialManager) -> Option<Expiry> {
    let end = head.version.expires_at?;
    Some(Expiry::new(end, Arc::clone(&manager.inner.clock)))
}

fn no_answer() -> CredentialError {
    CredentialError::unavailable(format!(
        "the store did not answer within {} s; see that it can be reached",
        ATTEMPT.as_secs()
    ))
}
