//! Going on in a new file, and finishing where a process died over that.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;
use nebula_credential_fs::append_private_file;
use rustix::fs::fstat;

use super::recovery::recover;
use super::{Limits, is_missing, open};
use crate::event::{Event, EventKind};
use crate::place::Place;
use crate::state::State;
use crate::{files, unavailable};

/// Completes the present file if it is long or old enough, and goes on in a new one.
pub(super) fn rotate(
    path: &Path,
    file: &mut Arc<File>,
    place: &mut Place,
    files: &mut u64,
    limits: Limits,
    time: DateTime<Utc>,
    state: &mut State,
) -> Result<Option<Event>, CredentialError> {
    let now = time.timestamp_micros();
    // A clock that was ahead and was put right: the file is of an age again.
    state.since = state.since.min(now);
    let age = now.saturating_sub(state.since);
    let old = u128::try_from(age).is_ok_and(|age| age >= limits.age.as_micros());
    if state.len == 0 || (state.len < limits.bytes && !old) {
        return Ok(None);
    }
    let refused = |_| unavailable("the log cannot go on in a new file; check its directory");
    file.sync_data().map_err(refused)?;
    let completed = files::completed(path, state.files + 1);
    if !is_missing(&completed) {
        return Err(unavailable(
            "the file the log would be completed as is there already; move it away",
        ));
    }
    std::fs::rename(path, &completed).map_err(refused)?;
    (*file, *place) = open(path)?;
    files::sync_directory(path)?;
    state.files += 1;
    state.len = 0;
    state.since = now;
    *files = state.files;
    Ok(Some(continues(&completed)))
}

/// A process may have died after it had renamed the full file, and before it had said so; after a loss of power, the state
/// may be from before that. Whether there was a completed file the state did not know of.
pub(super) fn finish_rotation(
    path: &Path,
    state: &mut State,
    time: DateTime<Utc>,
    own: &mut Vec<Event>,
) -> Result<bool, CredentialError> {
    let completed = files::completed(path, state.files + 1);
    if is_missing(&completed) {
        return Ok(false);
    }
    let file = append_private_file(&completed)?;
    let found = fstat(&file).map_err(|_| unavailable("the log cannot be examined"))?;
    let len = u64::try_from(found.st_size).unwrap_or(u64::MAX);
    if len != state.len {
        own.push(recover(&file, len, state)?);
    }
    state.files += 1;
    state.len = 0;
    state.since = time.timestamp_micros();
    own.push(continues(&completed));
    Ok(true)
}

fn continues(completed: &Path) -> Event {
    let mut event = Event::new(EventKind::LogRotated);
    let name = completed.file_name().map(|name| name.to_string_lossy());
    event.detail = name.map(|name| format!("continues {name}").into());
    event
}
