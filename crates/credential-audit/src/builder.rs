//! Settings of a log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{Clock, MetricsEmitter, NoMetrics, SystemClock};

use crate::log::Limits;
use crate::logger::AuditLogger;
use crate::sink::AuditSink;

/// How far a record is on its way when an operation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system: it survives the end of this process. It is synced with others within 5 ms.
    Written,
    /// On the disk: it survives the loss of power.
    Synced,
}

/// What happens to an operation whose record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It fails; nothing is released or changed.
    FailClosed,
    /// It goes on. That this was chosen, and how many records were lost, is recorded.
    BestEffort,
}

/// How the log names credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// By their names.
    Clear,
    /// By a keyed hash, so that the log gives away which records belong together and nothing else.
    Tagged,
}

/// Settings of an [`AuditLogger`].
#[must_use = "a builder does nothing until `build`"]
pub struct AuditBuilder {
    pub(crate) path: PathBuf,
    pub(crate) changes: Durability,
    pub(crate) reads: Durability,
    pub(crate) inspections: bool,
    pub(crate) on_failure: OnFailure,
    pub(crate) names: Option<Names>,
    pub(crate) limits: Limits,
    pub(crate) checkpoints: Option<PathBuf>,
    pub(crate) sinks: Vec<Box<dyn AuditSink>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<dyn MetricsEmitter>,
}

impl AuditBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path: absolute(path),
            changes: Durability::Synced,
            reads: Durability::Written,
            inspections: false,
            on_failure: OnFailure::FailClosed,
            names: None,
            limits: Limits {
                bytes: 64 << 20,
                age: Duration::from_secs(30 * 86_400),
                keep: Duration::from_secs(365 * 86_400),
            },
            checkpoints: None,
            sinks: Vec::new(),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(NoMetrics),
        }
    }

    /// How durable the records of changes are; [`Durability::Synced`] by default: the intent before the change is made, and
    /// the outcome before it is acknowledged.
    pub fn changes(mut self, durability: Durability) -> Self {
        self.changes = durability;
        self
    }

    /// How durable the record of a read is before the value is released; [`Durability::Written`] by default.
    pub fn reads(mut self, durability: Durability) -> Self {
        self.reads = durability;
        self
    }

    /// Records every look at what is known without the key; by default those that were denied, and lists that an access policy
    /// filters.
    pub fn inspections(mut self, record: bool) -> Self {
        self.inspections = record;
        self
    }

    /// What happens when a record cannot be written; [`OnFailure::FailClosed`] by default.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How the log names credentials; by default as it was begun, and a new one in the clear. A log is begun in one of the two
    /// ways and goes on in it, whoever writes: told of the other, it is not opened.
    pub fn names(mut self, names: Names) -> Self {
        self.names = Some(names);
        self
    }

    /// How long a file becomes before the log goes on in another; 64 MiB by default.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How old a file becomes before the log goes on in another; 30 days by default.
    pub fn max_file_age(mut self, age: Duration) -> Self {
        self.limits.age = age;
        self
    }

    /// How long completed files are kept; 365 days by default. Looked at when a file is completed, and by the times in the
    /// records: what is left reaches back for this long at least from the first record of the last completed file, or its
    /// last, or the rotation, whichever is earliest; that file is always kept.
    ///
    /// A clock that is ahead removes nothing unless it is so for a whole file and the rotation behind it. One that is behind
    /// puts removals off to the next rotation without it; where one file ends and the next begins under it, the first of the
    /// two counts as old as the clock said, and goes with those before it.
    pub fn keep(mut self, time: Duration) -> Self {
        self.limits.keep = time;
        self
    }

    /// Where signed checkpoints go: best to another disk. By default beside the log, its name with `.checkpoints` behind it.
    pub fn checkpoints(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoints = Some(absolute(path.into()));
        self
    }

    /// Gives a copy of every record to `sink`, too.
    pub fn sink(mut self, sink: impl AuditSink) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// What time it is, for what does not come with a request.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where measurements go.
    pub fn metrics(mut self, metrics: Arc<dyn MetricsEmitter>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The log. Opens nothing yet: what is wrong is reported by the first record, or by [`AuditLogger::open`].
    pub fn build(self) -> AuditLogger {
        AuditLogger::with(self)
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    // Fails on an empty path, which opening refuses, and without a working directory.
    std::path::absolute(&path).unwrap_or(path)
}
