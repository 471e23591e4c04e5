//! What a verification found.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

/// What was found.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Records that were read.
    pub records: u64,
    /// The number of the first of them: more than 1 where old files were removed as the retention says.
    pub first: u64,
    /// When that was written.
    pub begins: Option<DateTime<Utc>>,
    /// The number of the last.
    pub last: u64,
    /// The last record that is what its writer wrote, by the seed, or by a signed checkpoint at or behind it. What comes
    /// after it may be forged.
    pub verified_through: u64,
    /// Files that were read.
    pub files: u64,
    /// Signed checkpoints that the log agrees with.
    pub checkpoints: u64,
    /// The first thing that is wrong, if anything is.
    pub problem: Option<Problem>,
    /// Records that are missing, and whose loss the log itself records: after a loss of power, or because someone cut the
    /// log off while nothing wrote it.
    pub gaps: Vec<Gap>,
    /// What is known of the end.
    pub tail: Tail,
    /// Bytes behind the last record of one that a crash left unfinished: the next to write drops them, and records that.
    pub unfinished: u64,
}

impl Verification {
    /// Nothing is wrong, nothing is missing, and every record was verified.
    pub fn is_intact(&self) -> bool {
        self.is_consistent() && self.verified_through >= self.last
    }

    /// Nothing was found to be wrong or missing. What lies behind [`verified_through`](Self::verified_through) may be forged
    /// all the same.
    pub fn is_consistent(&self) -> bool {
        self.problem.is_none() && self.gaps.is_empty() && !matches!(self.tail, Tail::Cut { .. })
    }

    /// Whether the log says that it holds everything since `then`: it begins with its first record, or with one of that time
    /// or before. Ask for the [`keep`](crate::AuditBuilder::keep) of the log before now.
    ///
    /// It finds a retention that is set too short, and files removed by someone who kept only genuine records. It is no proof:
    /// whoever takes over the machine writes the records from then on with any time, so one dated long ago can stand first
    /// and everything before it be recorded as removed. Against that help copies of the log, or of its checkpoints, that are
    /// kept elsewhere: who knows the number of a record that must still be there looks that [`first`](Self::first) is no
    /// later.
    pub fn reaches_back_to(&self, then: DateTime<Utc>) -> bool {
        self.first == 1 || self.begins.is_some_and(|begins| begins <= then)
    }
}

/// What is wrong, and where it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: u64,
    /// The number of the record that was expected there.
    pub expected: u64,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, line {}, where record {} belongs: {}",
            self.file.display(),
            self.line,
            self.expected,
            self.fault.as_str()
        )
    }
}

/// Kinds of problems.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The line is no record.
    Malformed,
    /// Another record stands there: some were removed, inserted, doubled or moved.
    OutOfOrder,
    /// The record does not follow from the one before it: one of them was changed.
    Unchained,
    /// The record was changed, or was written by someone who did not hold the key of its place.
    Forged,
    /// The log does not begin at its beginning, and nothing in it says why.
    NoBeginning,
    /// A signed checkpoint says otherwise.
    Contradicted,
}

impl Fault {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "not a record",
            Self::OutOfOrder => "another record: some were removed, inserted, doubled or moved",
            Self::Unchained => "it does not follow from the record before it: one of them was changed",
            Self::Forged => "changed, or not written by the holder of the key of its place",
            Self::NoBeginning => {
                "the log does not begin here, and nothing in it says that older files were removed"
            }
            Self::Contradicted => "a signed checkpoint says otherwise",
        }
    }
}

/// Records that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first that is missing.
    pub from: u64,
    /// The last that is missing.
    pub to: u64,
}

/// What is known of the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing is missing: the writer's state ends at the same record.
    Complete,
    /// Records are missing: the state, or a checkpoint, knows of later ones.
    Cut {
        /// The last that is known to have been written.
        known: u64,
    },
    /// The state is not there. Up to the last checkpoint nothing is missing; what came after it cannot be known.
    Unknown,
}
