//! Reading a log.

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Take};
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
    /// In which workflow, as the caller told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// In which node of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// On behalf of which user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In which environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// From which network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the principal proved itself by more than one factor, where that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa: Option<bool>,
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
pub fn entries(path: impl AsRef<Path>) -> Result<Entries, CredentialError> {
    let path = path.as_ref();
    let refused = |_| unavailable("a file of the log cannot be read");
    loop {
        let completed = files::all_completed(path)?;
        let present = match File::open(path) {
            Ok(file) => Some(Lines::of(file, u64::MAX)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(refused(error)),
        };
        // Completed in between, the present file would be missed.
        if files::all_completed(path)? != completed {
            continue;
        }
        if completed.is_empty() && present.is_none() {
            return Err(files::none());
        }
        return Ok(Entries {
            completed: completed.into_iter(),
            reading: None,
            present,
            unfinished: 0,
        });
    }
}

/// The records of a log, from [`entries`].
pub struct Entries {
    completed: std::vec::IntoIter<(u64, PathBuf)>,
    reading: Option<Lines>,
    present: Option<Lines>,
    unfinished: u64,
}

impl Entries {
    /// At the end: how many bytes there are of a last record that is not whole. It is being written; or a crash left it, and
    /// the next to write drops it and records that.
    pub fn unfinished(&self) -> u64 {
        self.unfinished
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, CredentialError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(lines) = &mut self.reading {
                match lines.next() {
                    Some((_, Ok(line))) => return Some(parse(&line)),
                    Some((_, Err(error))) => return Some(Err(error)),
                    None => {
                        let unfinished =
                            std::mem::take(&mut self.reading).map_or(0, |lines| lines.unfinished());
                        if unfinished > 0 {
                            // A file was completed with a whole record.
                            return Some(Err(unended()));
                        }
                    }
                }
            } else if let Some((_, file)) = self.completed.next() {
                match Lines::open(&file) {
                    Ok(lines) => self.reading = Some(lines),
                    Err(error) => return Some(Err(error)),
                }
            } else {
                let lines = self.present.as_mut()?;
                match lines.next() {
                    Some((_, line)) => return Some(line.and_then(|line| parse(&line))),
                    None => {
                        self.unfinished = lines.unfinished();
                        self.present = None;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

fn parse(line: &[u8]) -> Result<Entry, CredentialError> {
    serde_json::from_slice(line)
        .map_err(|_| CredentialError::parse_error("a line of the audit log is not a record; verify the log"))
}

pub(crate) fn unended() -> CredentialError {
    CredentialError::parse_error("a line of the audit log does not end, or is too long; verify the log")
}

/// The whole lines of a file, with their numbers from 1; none longer than a record can be.
pub(crate) struct Lines {
    file: BufReader<Take<File>>,
    number: u64,
    unfinished: u64,
    ended: bool,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, CredentialError> {
        let file = File::open(path).map_err(|_| unavailable("a file of the log cannot be read"))?;
        Ok(Self::of(file, u64::MAX))
    }

    /// Those of the first `len` bytes.
    pub(crate) fn of(file: File, len: u64) -> Self {
        Self {
            file: BufReader::new(file.take(len)),
            number: 0,
            unfinished: 0,
            ended: false,
        }
    }

    /// At the end: how many bytes stand behind the last whole line.
    pub(crate) fn unfinished(&self) -> u64 {
        self.unfinished
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
        let outcome = match read {
            Ok(_) if line.pop_if(|byte| *byte == b'\n').is_some() => Ok(line),
            Ok(len) if len <= LINE_MAX => {
                self.ended = true;
                self.unfinished = len as u64;
                return None;
            }
            Ok(_) => {
                self.ended = true;
                Err(unended())
            }
            Err(_) => {
                self.ended = true;
                Err(unavailable("a file of the log cannot be read"))
            }
        };
        self.number += 1;
        Some((self.number, outcome))
    }
}
