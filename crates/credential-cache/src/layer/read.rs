//! Reads that memory did not answer: one for all who ask, and what is kept of it.

use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{CredentialError, Get, Op, OpContext, Plaintext, Record, Request, Response};
use tower_service::Service;

use crate::config::unreachable;
use crate::entry::{Entry, Failure};
use crate::fence::Stamp;
use crate::key::Key;
use crate::state::{Found, Outcome, State};
use crate::stats::{Answered, NotKept};

/// A read that memory did not answer.
pub(super) struct Read<S> {
    pub(super) state: Arc<State>,
    pub(super) inner: S,
    pub(super) key: Key,
    pub(super) ctx: OpContext,
}

/// Why a read has nothing for those who wait for it: its own caller's answer lies apart.
struct Unshared;

impl<S> Read<S>
where
    S: Service<Request<Plaintext>, Response = Response<Plaintext>, Error = CredentialError> + Clone,
{
    /// Reads; falls back on `stale` if the store cannot be reached.
    pub(super) async fn or(self, stale: Option<Arc<Entry>>) -> Result<Record<Plaintext>, CredentialError> {
        match (self.in_time().await, stale) {
            // That this caller had no time says nothing of the store.
            (Err(error), Some(stale)) if unreachable(&error) && !self.is_late(&error) => self
                .state
                .fall_back(&self.key, &stale, &self.ctx, self.cut_short().is_none())
                .unwrap_or(Err(error)),
            (answer, _) => answer,
        }
    }

    /// Whether a read ended in `error` for want of time. Who says that it is up may go by another clock than the request.
    fn is_late(&self, error: &CredentialError) -> bool {
        matches!(error, CredentialError::DeadlineExceeded(_)) || self.ctx.check_deadline().is_err()
    }

    /// After what time the store would have been asked again, had this caller had it.
    fn cut_short(&self) -> Option<Duration> {
        self.ctx.report.as_ref().and_then(|report| report.cut_short())
    }

    /// Whether the answer was found past a store that could not be reached, and may be old.
    fn passed_over(&self) -> bool {
        let report = self.ctx.report.as_ref();
        report.is_some_and(|report| report.has_passed_over())
    }

    /// Waits no longer than this caller has time: another caller's read may take as long as that one has.
    async fn in_time(&self) -> Result<Record<Plaintext>, CredentialError> {
        self.ctx.check_deadline()?;
        match self.ctx.deadline.map(|deadline| deadline - self.ctx.now()) {
            Some(left) if tokio::runtime::Handle::try_current().is_ok() => {
                tokio::time::timeout(left.to_std().unwrap_or_default(), self.read())
                    .await
                    .unwrap_or_else(|_| {
                        Err(CredentialError::deadline_exceeded(
                            "the value did not come in time; allow more time",
                        ))
                    })
            }
            _ => self.read().await,
        }
    }

    async fn read(&self) -> Result<Record<Plaintext>, CredentialError> {
        loop {
            let Some(stamp) = self.state.fence.stamp(&self.key.id) else {
                let answer = self.ask().await;
                if answer.is_ok() {
                    self.state.tally.kept(Err(NotKept::Unsettled));
                }
                return answer;
            };
            if let Some(answer) = self.with_others(stamp).await {
                return answer;
            }
        }
    }

    /// `None` if another caller's read ended for want of time that this caller has.
    async fn with_others(&self, stamp: Stamp) -> Option<Result<Record<Plaintext>, CredentialError>> {
        let ticket = self.state.flights.join(&self.key, stamp);
        let mut own = None;
        let lead = async {
            // Another read may have landed after this caller looked and before it joined.
            if let Found::Answer(answer) = self.state.find(&self.key, &self.ctx) {
                own = Some(answer);
                return Err(Unshared);
            }
            let began = self.ctx.now();
            match self.ask().await {
                Ok(record) => {
                    let sealed = self.state.seal(&self.key, &stamp, &record);
                    own = Some(Ok(record));
                    let landed = ticket.land(|| match &sealed {
                        // What is kept, if anything, may be newer.
                        Ok(_) if self.passed_over() => Err(NotKept::PassedOver),
                        Ok(body) => self.state.keep_value(&self.key, stamp, began, body),
                        Err(why) => {
                            self.state.disown(&self.key);
                            Err(*why)
                        }
                    });
                    let (body, kept) = match sealed {
                        Ok(body) => (Ok(Ok(body)), landed.unwrap_or(Err(NotKept::Changed))),
                        Err(why) => (Err(Unshared), Err(why)),
                    };
                    self.state.tally.kept(kept);
                    body
                }
                // Those who wait may have more time.
                Err(error) if self.is_late(&error) => {
                    own = Some(Err(error));
                    Err(Unshared)
                }
                Err(error) => {
                    own = Some(Err(error.clone()));
                    let cut_short = self.cut_short();
                    let failure = Failure { error, cut_short };
                    ticket.land(|| self.state.keep_error(&self.key, stamp, self.ctx.now(), &failure));
                    Ok(Err(failure))
                }
            }
        };
        let shared: Option<Outcome> = ticket.wait(lead).await;
        Some(match (own, shared) {
            (Some(own), _) => own,
            (None, Some(Err(failure))) if !failure.answers(&self.ctx) => return None,
            (None, Some(outcome)) => {
                self.state.tally.answered(Answered::Shared, None);
                match outcome {
                    Ok(body) => self.state.serve_shared(&self.key, &stamp, &self.ctx, &body),
                    Err(failure) => Err(failure.error),
                }
            }
            (None, None) => Err(CredentialError::internal("a shared read ended without an answer")),
        })
    }

    async fn ask(&self) -> Result<Record<Plaintext>, CredentialError> {
        self.state.tally.answered(Answered::Store, None);
        let op = Op::Get(Get {
            id: self.key.id.clone(),
            version: self.key.version,
        });
        let request = Request {
            ctx: self.ctx.clone(),
            op,
        };
        super::ask(self.inner.clone(), request).await?.into_record()
    }
}
