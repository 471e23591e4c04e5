//! A change between its intent and its end.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use nebula_credential_core::{Clock, CredentialError, Report};

use crate::event::{Event, Stage};
use crate::logger::AuditLogger;

/// A change whose intent is recorded, made by [`AuditLogger::intend`]. Dropped before its end is recorded, because its
/// caller gave up, it is recorded as `abandoned`: whether it was made is not known.
#[must_use = "a change that is dropped is recorded as abandoned"]
pub struct Change {
    event: Event,
    log: AuditLogger,
    clock: Arc<dyn Clock>,
    since: Instant,
    ended: bool,
    /// Where access control says what it decided.
    report: Option<Arc<Report>>,
}

impl Change {
    pub(crate) async fn begin(
        log: AuditLogger,
        clock: Arc<dyn Clock>,
        mut event: Event,
        since: Instant,
    ) -> Result<Self, CredentialError> {
        event.stage = Stage::Intent;
        let written = match log.write(clock.now(), &event) {
            Ok(written) => Some(written),
            Err(failure) => {
                log.missed(failure)?;
                None
            }
        };
        event.stage = Stage::Outcome;
        event.intent = written.as_ref().map(|written| written.seq);
        // From here on the log tells of it: a caller that does not wait for the disk is recorded as well.
        let change = Self {
            event,
            log,
            clock,
            since,
            ended: false,
            report: None,
        };
        if let Some(written) = written
            && let Err(failure) = written.reach(change.log.changes()).await
        {
            change.log.missed(failure)?;
        }
        Ok(change)
    }

    /// Also records what `report` says was decided, should its caller give up: a change that was made by a rule for emergencies
    /// is one however that ends.
    pub(crate) fn decided_in(&mut self, report: &Arc<Report>) {
        self.report = Some(Arc::clone(report));
    }

    /// What will be recorded of its end: to say more about it than is known before.
    pub fn event(&mut self) -> &mut Event {
        &mut self.event
    }

    /// Records how it ended, before that is acknowledged. What does not say otherwise in its [event](Self::event) ended as
    /// `answer` says.
    ///
    /// # Errors
    /// That of `answer`; [`CredentialError::AuditUnavailable`] for a change that was made and could not be recorded: nobody
    /// is told so.
    ///
    /// # Panics
    /// As [`intend`](crate::AuditLogger::intend).
    pub async fn conclude<T>(mut self, answer: Result<T, CredentialError>) -> Result<T, CredentialError> {
        let kind = answer
            .as_ref()
            .map_or_else(|error| error.kind().as_str(), |_| "ok");
        self.event.outcome.get_or_insert(kind);
        self.event.duration = Some(self.since.elapsed());
        self.ended = true;
        let durability = self.log.changes();
        let written = self
            .log
            .record_as(self.clock.now(), &self.event, durability)
            .await;
        match written {
            Ok(_) => answer,
            // Refused as it was, it is refused still.
            Err(failure) => match self.log.missed(failure) {
                Ok(()) => answer,
                Err(failure) => Err(answer.err().unwrap_or(failure)),
            },
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.event.duration = Some(self.since.elapsed());
        self.event.outcome = Some("abandoned");
        if let Some(decision) = self.report.as_ref().and_then(|report| report.decision()) {
            self.event.decided(decision);
        }
        // Its caller is gone: there is nobody to refuse anything to.
        if let Err(failure) = self.log.record(&self.event) {
            let _ = self.log.missed(failure);
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}
