//! Which completed files are not kept any longer, and what is recorded of them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;

use crate::entry::Entry;
use crate::event::{Event, EventKind};
use crate::line::{self, Sealed};
use crate::log::LINE_MAX;
use crate::{files, unavailable};

/// The completed files without which the log still reaches back for `keep`, the oldest first. It is measured from the
/// earliest of three times: the first and the last record of the newest of them, and `now`. So a clock that is ahead removes
/// nothing unless it is so for a whole file and at the rotation behind it.
///
/// How far the log reaches back without a file is told by its last record and the first behind it, by the later of them: so
/// a clock that was behind does not make what is before it old. One that is later than all three was written under a clock
/// that was ahead and tells nothing: the next that is not decides, about all files before it.
pub(crate) fn expired(
    path: &Path,
    keep: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<PathBuf>, CredentialError> {
    let completed = files::all_completed(path)?;
    let Some((_, newest)) = completed.last() else {
        return Ok(Vec::new());
    };
    let (Some(begins), Some(ends)) = (time(&first_line(newest)?), time(&last_line(newest)?)) else {
        return Ok(Vec::new());
    };
    let newest = begins.min(ends).min(now);
    let (mut expired, mut undecided) = (Vec::new(), Vec::new());
    for ((_, file), (_, next)) in completed.iter().zip(completed.iter().skip(1)) {
        undecided.push(file.clone());
        let (Some(ends), Some(begins)) = (time(&last_line(file)?), time(&first_line(next)?)) else {
            break;
        };
        let Ok(left) = newest.signed_duration_since(ends.max(begins)).to_std() else {
            continue;
        };
        if left < keep {
            break;
        }
        expired.append(&mut undecided);
    }
    Ok(expired)
}

/// When a record was written.
fn time(line: &[u8]) -> Option<DateTime<Utc>> {
    serde_json::from_slice::<Entry>(line).ok().map(|entry| entry.time)
}

/// Says what a completed file ends with; `None` if that is no record.
pub(crate) fn retirement(completed: &Path) -> Result<Option<Event>, CredentialError> {
    Ok(Sealed::parse(&last_line(completed)?).map(|sealed| {
        let mut event = Event::new(EventKind::LogRetired);
        event.detail = Some(format!("through {} {}", sealed.seq, line::hex(&sealed.hash)).into());
        event
    }))
}

fn last_line(completed: &Path) -> Result<Vec<u8>, CredentialError> {
    let tail = part(completed, |len| len.saturating_sub(LINE_MAX as u64))?;
    let line = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let line = line.rsplit(|byte| *byte == b'\n').next();
    Ok(line.unwrap_or_default().to_vec())
}

fn first_line(completed: &Path) -> Result<Vec<u8>, CredentialError> {
    let head = part(completed, |_| 0)?;
    let line = head.split(|byte| *byte == b'\n').next();
    Ok(line.unwrap_or_default().to_vec())
}

/// As much of a completed file as a line can be long, from where `start` says for its length.
fn part(completed: &Path, start: impl FnOnce(u64) -> u64) -> Result<Vec<u8>, CredentialError> {
    let refused = |_| unavailable("a completed file cannot be read");
    let file = File::open(completed).map_err(refused)?;
    let len = file.metadata().map_err(refused)?.len();
    let start = start(len);
    let mut part = vec![0; usize::try_from(len - start).unwrap_or(LINE_MAX).min(LINE_MAX)];
    file.read_exact_at(&mut part, start).map_err(refused)?;
    Ok(part)
}
