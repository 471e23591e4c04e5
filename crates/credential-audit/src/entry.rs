//! Reading a log.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Take};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::log::LINE_MAX;
use crate::unavailable;

/// A record as it was written. Whether it is genuine is for [`verify`](crate::verify()) to say.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// When it was written.
    pub time: DateTime<Utc>,
    /// What happened: [`EventKind::as_str`](crate::EventKind::as_str).
    pub event: String,
    /// Before or after: [`Stage::as_str`](crate::Stage::as_str).
    pub stage: String,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Whose credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// In which scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Which credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What stands for scope and name, in a log without names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Which version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// By which operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Wanting what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<String>,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Whether the policy allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<bool>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `ok`, the kind of the error, or `abandoned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Where a value came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How long it took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// The trace it belongs to, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The number of the record of its intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<u64>,
    /// Further words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The records of a log, the oldest first, over all its files. A line that is not a record is an error, after which the
/// reading goes on.
///
/// # Errors
/// [`CredentialError::AuditUnavailable`] when there is no log, or it cannot be read.
pub fn entries(
    path: impl AsRef<Path>,
) -> Result<impl Iterator<Item = Result<Entry, CredentialError>>, CredentialError> {
    let path = path.as_ref();
    let found = files::all(path)?;
    Ok(found.into_iter().flat_map(|file| match Lines::open(&file) {
        Ok(lines) => Either::Lines(lines.map(|(_, line)| parse(&line?))),
        Err(error) => Either::Failed(std::iter::once(Err(error))),
    }))
}

enum Either<A, B> {
    Lines(A),
    Failed(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Failed(failed) => failed.next(),
        }
    }
}

fn parse(line: &[u8]) -> Result<Entry, CredentialError> {
    serde_json::from_slice(line)
        .map_err(|_| CredentialError::parse_error("a line of the audit log is not a record; verify the log"))
}

/// The lines of a file, with their numbers from 1; none longer than a record can be.
pub(crate) struct Lines {
    file: BufReader<Take<File>>,
    number: u64,
    ended: bool,
}

impl Lines {
    pub(crate) fn open(path: &PathBuf) -> Result<Self, CredentialError> {
        let file = File::open(path).map_err(|_| unavailable("a file of the log cannot be read"))?;
        Ok(Self::of(file, u64::MAX))
    }

    /// Those of the first `len` bytes.
    pub(crate) fn of(file: File, len: u64) -> Self {
        Self {
            file: BufReader::new(file.take(len)),
            number: 0,
            ended: false,
        }
    }
}

impl Iterator for Lines {
    type Item = (u64, Result<Vec<u8>, CredentialError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut line = Vec::new();
        let read = self
            .file
            .by_ref()
            .take(LINE_MAX as u64 + 1)
            .read_until(b'\n', &mut line);
        self.number += 1;
        let outcome = match read {
            Ok(0) => return None,
            Ok(_) if line.pop_if(|byte| *byte == b'\n').is_some() => Ok(line),
            Ok(_) => {
                self.ended = true;
                Err(CredentialError::parse_error(
                    "a line of the audit log does not end, or is too long; verify the log",
                ))
            }
            Err(_) => {
                self.ended = true;
                Err(unavailable("a file of the log cannot be read"))
            }
        };
        Some((self.number, outcome))
    }
}
