//! A log that is written: one record after the other, each by whoever's turn it is.

mod recovery;
mod rotation;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;
use nebula_credential_fs::append_private_file;
use recovery::recover;
use rotation::{finish_rotation, rotate};
use rustix::fs::stat;
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::builder::Names;
use crate::chain::Hash;
use crate::event::Event;
use crate::line::{self, Naming};
use crate::place::Place;
use crate::state::{Noted, State};
use crate::turn::{Turn, Waits};
use crate::{files, retention, unavailable};

/// Longest line: names, rule and purpose are bounded far below.
pub(crate) const LINE_MAX: usize = 64 * 1024;

/// When a file is completed, and how long completed ones are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
    pub(crate) keep: Duration,
}

/// A record that follows another within this time, and none of another process between, is one of a row.
const SOON: Duration = Duration::from_millis(1);
/// After so many of a row the turn is kept: processes that record one after the other must not wait for each other.
const ROW: u32 = 16;

/// An open log.
pub(crate) struct Log {
    path: PathBuf,
    file: Arc<File>,
    place: Place,
    files: u64,
    turn: Arc<Turn>,
    /// What the state was when this process wrote it last.
    noted: Option<Noted>,
    /// When that was, and how many records it was the last of a row of.
    row: (Instant, u32),
    /// The line that was written last.
    line: Vec<u8>,
    limits: Limits,
    /// How it is to name credentials, if that was told.
    names: Option<Names>,
}

/// A record that was written.
pub(crate) struct Written<'a> {
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
    line: &'a [u8],
}

impl Written<'_> {
    /// The line, without its end.
    pub(crate) fn text(&self) -> &str {
        // A line is ASCII.
        std::str::from_utf8(self.line).unwrap_or_default().trim_end()
    }
}

impl Log {
    /// Opens the log whose state is there, or begins one with `fresh`.
    pub(crate) fn open(
        path: &Path,
        limits: Limits,
        names: Option<Names>,
        (asked, waits): (Instant, Waits),
        fresh: impl FnOnce() -> Result<State, CredentialError>,
    ) -> Result<Self, CredentialError> {
        let turn = Turn::open_again(&files::state(path), waits)?;
        let mut begun_now = false;
        let files = {
            let held = turn.take(asked)?;
            match held.read()? {
                Some(found) => {
                    // Between two files there is none; the first record goes on in the next.
                    if found.len > 0
                        && is_missing(path)
                        && is_missing(&files::completed(path, found.files + 1))
                    {
                        return Err(removed());
                    }
                    settle(&found, names)?;
                    found.files
                }
                None => {
                    if files::exist(path)? {
                        return Err(unavailable(
                            "the log is there and its state is not; put the state back, or move the log away",
                        ));
                    }
                    let mut begun = fresh()?;
                    begun.names = Some(names.unwrap_or(Names::Clear));
                    held.write(&begun, &mut Zeroizing::default())?;
                    // A log whose state a loss of power took with it could not be continued.
                    held.sync()?;
                    begun_now = true;
                    begun.files
                }
            }
        };
        let (file, place) = open(path)?;
        if begun_now {
            files::sync_directory(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            place,
            files,
            turn: Arc::new(turn),
            noted: None,
            row: (Instant::now(), 0),
            line: Vec::new(),
            limits,
            names,
        })
    }

    /// To be paused while the file is synced.
    pub(crate) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// The present file, to be synced.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Writes records, one after the other; what is written then has left this process. `also` is told of each while no other
    /// process can write. The number of the last, which is that of `event`. `now` is when it was asked for.
    pub(crate) fn append(
        &mut self,
        now: Instant,
        time: DateTime<Utc>,
        event: &Event,
        mut also: impl FnMut(&Written<'_>, &mut State),
    ) -> Result<u64, CredentialError> {
        let mut own = Vec::new();
        let Self {
            path,
            file,
            place,
            files,
            turn,
            noted,
            row: (last, row),
            line,
            limits,
            names,
        } = self;
        let mut held = turn.take(now)?;
        let (Noted { mut state, mut bytes }, alone) = held
            .read_after(noted.take())?
            .ok_or_else(|| unavailable("the state of the log was emptied; put it back"))?;
        state.names = Some(settle(&state, *names)?);
        let len = find(path, file, (place, now), files, &mut state, time, &mut own)?;
        if len != state.len {
            own.push(recover(file, len, &mut state)?);
        }
        // What was found is written first: until then the state tells of it to whoever comes next.
        let mut rotated = false;
        if own.is_empty()
            && let Some(event) = rotate(path, file, place, files, *limits, time, &mut state)?
        {
            own.push(event);
            held.write(&state, &mut bytes)?;
            rotated = true;
        }
        let mut write = |event: &Event| -> Result<u64, CredentialError> {
            let naming = match state.names {
                Some(Names::Tagged) => Naming::Tagged(&state.tags),
                _ => Naming::Clear,
            };
            let hash = line::seal(line, &state.link, time, event, &naming);
            line.push(b'\n');
            if line.len() > LINE_MAX {
                return Err(CredentialError::limit("audit record bytes", LINE_MAX, line.len()));
            }
            put(file, state.len, line)?;
            let seq = state.link.seq;
            state.link.advance(hash);
            state.len = state.len.saturating_add(line.len() as u64);
            also(&Written { seq, hash, line }, &mut state);
            held.write(&state, &mut bytes)?;
            Ok(seq)
        };
        for event in &own {
            write(event)?;
        }
        if rotated {
            for completed in retention::expired(path, limits.keep, time)? {
                let Some(event) = retention::retirement(&completed)? else {
                    // What is damaged is evidence, and stays.
                    break;
                };
                // Recorded first: a file that is gone and of which nothing is said was taken away.
                write(&event)?;
                std::fs::remove_file(&completed)
                    .map_err(|_| unavailable("an old file of the log cannot be removed"))?;
            }
        }
        let seq = write(event)?;
        *noted = Some(Noted { state, bytes });
        let follows = alone && now.saturating_duration_since(*last) < SOON;
        *row = if follows { row.saturating_add(1) } else { 1 };
        *last = now;
        if *row > ROW {
            held.keep(now);
        }
        Ok(seq)
    }
}

/// How credentials are named in the log of `state`, if that is what was `told`.
fn settle(state: &State, told: Option<Names>) -> Result<Names, CredentialError> {
    match (state.names, told) {
        (Some(Names::Tagged), Some(Names::Clear)) => Err(CredentialError::invalid_state(
            "this audit log was begun with tags instead of names, and goes on so; leave the choice of names out, or begin a \
             new log under another path",
        )),
        (Some(Names::Clear), Some(Names::Tagged)) => Err(CredentialError::invalid_state(
            "this audit log was begun with names, and goes on so; leave the choice of names out, or begin a new log under \
             another path",
        )),
        (found, told) => Ok(found.or(told).unwrap_or(Names::Clear)),
    }
}

fn open(path: &Path) -> Result<(Arc<File>, Place), CredentialError> {
    let file = append_private_file(path)?;
    let place = Place::of(path, &file)?;
    Ok((Arc::new(file), place))
}

/// Makes sure that `file` is the log: the same file under the same name, or the one another process went on in. Its length.
fn find(
    path: &Path,
    file: &mut Arc<File>,
    (place, now): (&mut Place, Instant),
    files: &mut u64,
    state: &mut State,
    time: DateTime<Utc>,
    own: &mut Vec<Event>,
) -> Result<u64, CredentialError> {
    loop {
        if *files != state.files {
            (*file, *place) = open(path)?;
            files::sync_directory(path)?;
            *files = state.files;
        }
        let len = place.len(now);
        if len == Some(state.len) || !finish_rotation(path, state, time, own)? {
            return len.ok_or_else(removed);
        }
    }
}

fn is_missing(path: &Path) -> bool {
    matches!(stat(path), Err(Errno::NOENT))
}

fn removed() -> CredentialError {
    unavailable("the log was removed or replaced; put it back, or begin a new one under another path")
}

/// Writes a line at the end, whole or not at all.
fn put(mut file: &File, len: u64, line: &[u8]) -> Result<(), CredentialError> {
    file.write_all(line).map_err(|error| {
        // What cannot be cut off now is cut off before the next record.
        let _ = file.set_len(len);
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                unavailable("the disk of the log is full; make room")
            }
            _ => unavailable("the log cannot be written; check its disk"),
        }
    })
}
