//! The log, as a program holds it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_fs::append_private_file;

use crate::builder::{AuditBuilder, Durability, OnFailure};
use crate::change::Change;
use crate::checkpoint::Checkpoint;
use crate::event::{Event, EventKind};
use crate::log::Log;
use crate::seed::AuditSeed;
use crate::state::State;
use crate::sync::Syncer;
use crate::turn::Waits;
use crate::{files, unavailable};

/// Records between two checkpoints, at most.
const CHECKPOINT_RECORDS: u64 = 1000;
/// Time between two checkpoints, if there are records.
const CHECKPOINT_TIME: Duration = Duration::from_secs(60);

/// A log of who did what with which credential, in which nothing can be changed or left out unnoticed. Clones are the same
/// log; several processes may write one.
///
/// ```
/// use nebula_credential_audit::AuditLogger;
///
/// let log = AuditLogger::new("./audit.log");
/// ```
#[derive(Clone)]
pub struct AuditLogger(Arc<Shared>);

struct Shared {
    settings: AuditBuilder,
    open: Mutex<Option<Open>>,
    /// By whom, and how many, since it was last recorded. Also while the log could not be opened.
    lost: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether another process was waited for in vain. Also while the log could not be opened.
    waits: Waits,
}

impl Shared {
    fn lose(&self, by: &'static str, count: u64) {
        *self.lost().entry(by).or_default() += count;
    }

    fn lost(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Open {
    log: Log,
    syncer: Arc<Syncer>,
    checkpointed: Instant,
    /// A checkpoint that is signed and could not be written yet: until it is, nothing is recorded without an error.
    due: Option<String>,
}

/// A record in the log.
pub(crate) struct InLog {
    pub(crate) seq: u64,
    syncer: Arc<Syncer>,
}

impl InLog {
    /// Waits until it is as durable as that.
    pub(crate) async fn reach(&self, durability: Durability) -> Result<(), CredentialError> {
        match durability {
            Durability::Written => Ok(()),
            Durability::Synced => self.syncer.synced(self.seq).await,
        }
    }
}

/// Who loses records when the log cannot be written and operations go on all the same.
const BEST_EFFORT: &str = "best effort";

impl AuditLogger {
    pub(crate) fn with(settings: AuditBuilder) -> Self {
        Self(Arc::new(Shared {
            settings,
            open: Mutex::new(None),
            lost: Mutex::default(),
            waits: Waits::default(),
        }))
    }

    /// The log in the file at `path`, begun on first use if it is not there, with the defaults of [`AuditBuilder`].
    ///
    /// A relative path is taken from the working directory of this moment.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self::builder(path).build()
    }

    /// The log in the file at `path`, with settings.
    pub fn builder(path: impl AsRef<Path>) -> AuditBuilder {
        AuditBuilder::new(path.as_ref().to_owned())
    }

    /// Opens the log now rather than with the first record.
    ///
    /// # Errors
    /// [`CredentialError::AuditUnavailable`]; [`CredentialError::InsecureStorage`] when a file of it is open to others;
    /// [`CredentialError::InvalidState`] when it names credentials otherwise than it was told to.
    pub fn open(&self) -> Result<(), CredentialError> {
        self.opened(Instant::now(), self.0.settings.clock.now()).map(drop)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.settings.path
    }

    /// Writes a record of something the stack does not see. Its number.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); [`CredentialError::LimitExceeded`] for an event too long to be recorded.
    pub fn record(&self, event: &Event) -> Result<u64, CredentialError> {
        self.write(self.0.settings.clock.now(), event)
            .map(|written| written.seq)
    }

    /// [`record`](Self::record), and waits until it is on the disk.
    ///
    /// # Errors
    /// As for [`record`](Self::record).
    ///
    /// # Panics
    /// In a tokio runtime without time enabled.
    pub async fn record_synced(&self, event: &Event) -> Result<u64, CredentialError> {
        self.record_as(self.0.settings.clock.now(), event, Durability::Synced)
            .await
    }

    /// Records that a change is about to be made that the stack does not see, as durably as the log was told for changes.
    /// What is returned records how it ended.
    ///
    /// # Errors
    /// As for [`record`](Self::record), unless the log was told to go on without a record.
    ///
    /// # Panics
    /// In a tokio runtime without time enabled, where records of changes are to be synced.
    pub async fn intend(&self, event: Event) -> Result<Change, CredentialError> {
        let clock = Arc::clone(&self.0.settings.clock);
        Change::begin(self.clone(), clock, event, Instant::now()).await
    }

    pub(crate) async fn record_as(
        &self,
        time: DateTime<Utc>,
        event: &Event,
        durability: Durability,
    ) -> Result<u64, CredentialError> {
        let written = self.write(time, event)?;
        written.reach(durability).await?;
        Ok(written.seq)
    }

    /// What happens when a record cannot be written.
    pub fn on_failure(&self) -> OnFailure {
        self.0.settings.on_failure
    }

    pub(crate) fn reads(&self) -> Durability {
        self.0.settings.reads
    }

    pub(crate) fn changes(&self) -> Durability {
        self.0.settings.changes
    }

    pub(crate) fn inspections(&self) -> bool {
        self.0.settings.inspections
    }

    /// What an operation does whose record could not be written: it fails with `failure`, or goes on and the loss is counted,
    /// as the log was told.
    ///
    /// # Errors
    /// `failure`, if the log [fails closed](OnFailure::FailClosed), and in any case one that is no failure of the log: a record
    /// that is too long, or a log that names credentials otherwise than it was told to.
    pub fn missed(&self, failure: CredentialError) -> Result<(), CredentialError> {
        // No failure of the log.
        if matches!(failure.kind(), ErrorKind::LimitExceeded | ErrorKind::InvalidState) {
            return Err(failure);
        }
        let settings = &self.0.settings;
        settings
            .metrics
            .increment("nebula_credential_audit_failures_total", &[], 1);
        match settings.on_failure {
            OnFailure::FailClosed => Err(failure),
            OnFailure::BestEffort => {
                tracing::warn!(
                    kind = failure.kind().as_str(),
                    "an audit record was lost, and the operation went on"
                );
                self.0.lose(BEST_EFFORT, 1);
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(
        &self,
        asked: Instant,
        time: DateTime<Utc>,
    ) -> Result<MutexGuard<'_, Option<Open>>, CredentialError> {
        let mut open = self.lock();
        if open.is_none() {
            let mut opened = self.begin(asked, time)?;
            let mut event = Event::new(EventKind::LogOpened);
            event.detail = Some(match self.0.settings.on_failure {
                OnFailure::FailClosed => "fail closed".into(),
                OnFailure::BestEffort => {
                    "best effort: operations go on when a record cannot be written".into()
                }
            });
            self.append(&mut opened, asked, time, &event)?;
            *open = Some(opened);
        }
        Ok(open)
    }

    fn begin(&self, asked: Instant, time: DateTime<Utc>) -> Result<Open, CredentialError> {
        let settings = &self.0.settings;
        let fresh = || {
            let (seed, state) = AuditSeed::generate(time.timestamp_micros())?;
            self.hand_over(&seed)?;
            Ok(state)
        };
        if let Some(seed) = AuditSeed::beside(&settings.path) {
            tracing::warn!(
                seed = %seed.display(),
                "the seed of the audit log lies beside it still: who takes it can forge records; take it to where the log \
                 is verified"
            );
        }
        let waits = (asked, Arc::clone(&self.0.waits));
        let log =
            Log::open(&settings.path, settings.limits, settings.names, waits, fresh).map_err(|error| {
                match error {
                    CredentialError::Storage(reason) => unavailable(reason),
                    other => other,
                }
            })?;
        Ok(Open {
            syncer: Arc::new(Syncer::start(Arc::clone(log.turn()))?),
            log,
            checkpointed: Instant::now(),
            due: None,
        })
    }

    /// Puts the seed of a new log beside it, durably, before there is anything it would be needed for.
    fn hand_over(&self, seed: &AuditSeed) -> Result<(), CredentialError> {
        let refused = |_| unavailable("the seed of the new log cannot be written beside it");
        let path = files::seed(&self.0.settings.path);
        let mut file = append_private_file(&path)?;
        if file.metadata().map_err(refused)?.len() > 0 {
            return Err(unavailable(
                "there is a seed without its log; move it away, or put the log back",
            ));
        }
        file.write_all(seed.text().as_bytes()).map_err(refused)?;
        file.sync_all().map_err(refused)?;
        files::sync_directory(&path)?;
        tracing::warn!(
            seed = %path.display(),
            "a new audit log was begun; keep its seed where the log is verified, and not here"
        );
        Ok(())
    }

    pub(crate) fn write(&self, time: DateTime<Utc>, event: &Event) -> Result<InLog, CredentialError> {
        event.check()?;
        let asked = Instant::now();
        let mut guard = self.opened(asked, time)?;
        let open = guard.as_mut().ok_or_else(|| unavailable("the log was closed"))?;
        let mut lost = std::mem::take(&mut *self.0.lost()).into_iter();
        while let Some((sink, count)) = lost.next() {
            let mut loss = Event::new(EventKind::RecordsLost);
            loss.detail = Some(Cow::Owned(format!("{count} by {sink}")));
            if let Err(error) = self.append(open, asked, time, &loss) {
                self.0.lose(sink, count);
                lost.for_each(|(sink, count)| self.0.lose(sink, count));
                return Err(error);
            }
        }
        let seq = self.append(open, asked, time, event)?;
        let syncer = Arc::clone(&open.syncer);
        Ok(InLog { seq, syncer })
    }

    fn append(
        &self,
        open: &mut Open,
        now: Instant,
        time: DateTime<Utc>,
        event: &Event,
    ) -> Result<u64, CredentialError> {
        let settings = &self.0.settings;
        let (mut due, mut lost) = (None, Vec::new());
        let elapsed = now.saturating_duration_since(open.checkpointed) >= CHECKPOINT_TIME;
        let written = open.log.append(now, time, event, |record, state: &mut State| {
            if elapsed || record.seq.saturating_sub(state.checkpoint) >= CHECKPOINT_RECORDS {
                state.checkpoint = record.seq;
                let stands = Checkpoint {
                    seq: record.seq,
                    hash: record.hash,
                };
                due = Some(stands.sign(&state.signing));
            }
            for sink in &settings.sinks {
                let refused = u64::from(!sink.take(record.text()));
                match refused.saturating_add(sink.lost()) {
                    0 => {}
                    count => lost.push((sink.name(), count)),
                }
            }
        });
        // First: what is told of the record below is code of others, and a turn that was kept is given back by the next sync.
        let to_sync = match &written {
            Ok(seq) => open.syncer.written(*seq, open.log.file()),
            Err(_) => Ok(()),
        };
        // Of records of the log's own that were written, also where the one that was asked for was not.
        for (sink, count) in lost {
            self.0.lose(sink, count);
            settings
                .metrics
                .increment("nebula_credential_audit_lost_total", &[("sink", sink)], count);
        }
        open.due = due.or_else(|| open.due.take());
        let seq = written?;
        settings.metrics.increment(
            "nebula_credential_audit_records_total",
            &[("event", event.kind.as_str())],
            1,
        );
        to_sync?;
        if let Some(note) = &open.due {
            self.checkpoint(note)?;
            open.due = None;
            open.checkpointed = now;
        }
        Ok(seq)
    }

    fn checkpoint(&self, note: &str) -> Result<(), CredentialError> {
        let default = || files::checkpoints(&self.0.settings.path);
        let path = self.0.settings.checkpoints.clone().unwrap_or_else(default);
        let refused = |_| unavailable("a checkpoint of the log cannot be written");
        let mut file = append_private_file(&path)?;
        let mut last = [b'\n'];
        if let Some(end) = file.metadata().map_err(refused)?.len().checked_sub(1) {
            file.read_exact_at(&mut last, end).map_err(refused)?;
        }
        // What a crash or a full disk left of another is kept apart, for whoever reads the notes line by line.
        let torn = if last == *b"\n" { "" } else { "\n" };
        file.write_all(format!("{torn}{note}").as_bytes())
            .map_err(refused)
    }
}

impl fmt::Debug for AuditLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLogger")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
