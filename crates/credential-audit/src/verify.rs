//! Whether a log is whole.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nebula_credential_core::CredentialError;

use crate::chain::Link;
use crate::checkpoint::{Checkpoint, CheckpointKey};
use crate::entry::{Entry, Lines};
use crate::event::EventKind;
use crate::files;
use crate::line::{Sealed, hex};
use crate::seed::AuditSeed;
use crate::state::State;
use crate::turn::Turn;
use crate::unavailable;
use crate::verification::{Fault, Gap, Problem, Tail, Verification};

/// What a log is verified with.
#[derive(Debug, Clone, Copy)]
pub enum VerifyWith<'a> {
    /// The seed: every record is checked for its place and its author.
    Seed(&'a AuditSeed),
    /// The public key: the records are checked for their order, and against the signed checkpoints. What was written after
    /// the last checkpoint may be forged.
    Checkpoints(&'a CheckpointKey),
}

/// Reads a whole log, with what lies beside it: the state of its writer, and the checkpoints in `checkpoints`, or where they
/// are put unless told otherwise. Changes nothing.
///
/// # Errors
/// [`CredentialError::AuditUnavailable`] when there is no log, or it or its checkpoints cannot be read. What is wrong *in* the
/// log is no error, but in the answer.
pub fn verify(
    path: impl AsRef<Path>,
    with: VerifyWith<'_>,
    checkpoints: Option<&Path>,
) -> Result<Verification, CredentialError> {
    verify_watched(path, with, checkpoints, |_| {})
}

/// [`verify()`], and says after every 1,000 records, and at the end of every file, how many were read.
///
/// # Errors
/// As there.
pub fn verify_watched(
    path: impl AsRef<Path>,
    with: VerifyWith<'_>,
    checkpoints: Option<&Path>,
    mut progress: impl FnMut(u64),
) -> Result<Verification, CredentialError> {
    let path = path.as_ref();
    let key = match with {
        VerifyWith::Seed(seed) => seed.verifier(),
        VerifyWith::Checkpoints(key) => key,
    };
    let notes = files::notes(path, checkpoints)?;
    // After the notes: what they speak of was written before.
    let (found, known) = snapshot(path)?;
    let mut walk = Walk {
        with,
        link: None,
        notes: Checkpoint::read_all(&notes, key),
        begins_after: None,
        explained: false,
        found: Verification {
            records: 0,
            first: 0,
            begins: None,
            last: 0,
            verified_through: 0,
            files: 0,
            checkpoints: 0,
            problem: None,
            gaps: Vec::new(),
            tail: Tail::Unknown,
            unfinished: 0,
        },
    };
    for (file, opened) in found {
        let next = match (&opened, &known) {
            (Some(_), Some(state)) => Some(state.link.seq),
            _ => None,
        };
        let lines = match opened {
            Some((opened, len)) => Lines::of(opened, len),
            None => Lines::open(&file)?,
        };
        walk.file(&file, lines, next, &mut progress)?;
        progress(walk.found.records);
    }
    walk.end(path, known.map(|state| state.link))
}

/// A file, open and with its length if that still grows.
type Found = (PathBuf, Option<(File, u64)>);

/// The files of a log and the state of its writer, at one moment: others may go on writing.
fn snapshot(path: &Path) -> Result<(Vec<Found>, Option<State>), CredentialError> {
    let state = files::state(path);
    let state = match state.exists() {
        true => Some(Turn::open(&state)?),
        false => None,
    };
    let held = state.as_ref().map(|turn| turn.take(Instant::now())).transpose()?;
    let known = match &held {
        Some(held) => held.read()?,
        None => None,
    };
    let refused = |_| unavailable("a file of the log cannot be read");
    let open = |file: PathBuf| {
        if file != path {
            return Ok((file, None));
        }
        let opened = File::open(&file).map_err(refused)?;
        let len = opened.metadata().map_err(refused)?.len();
        Ok((file, Some((opened, len))))
    };
    let found = files::all(path)?
        .into_iter()
        .map(open)
        .collect::<Result<_, _>>()?;
    Ok((found, known))
}

/// The key of a place is found by going there, record by record: a number that was made up must not take for ever.
const STEPS: u64 = 1 << 26;

struct Walk<'a> {
    with: VerifyWith<'a>,
    /// Where the next record belongs; `None` before the first.
    link: Option<Link>,
    notes: Vec<Checkpoint>,
    /// What a log that does not begin at 1 would have to follow: number, hash, and where that was.
    begins_after: Option<(u64, String, PathBuf)>,
    /// Whether the log itself says that everything up to there was removed.
    explained: bool,
    found: Verification,
}

impl Walk<'_> {
    /// `next` is the number behind the last record that its writer noted, for the file that still grows: a crash can have left
    /// part of one behind those.
    fn file(
        &mut self,
        file: &Path,
        mut lines: Lines,
        next: Option<u64>,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), CredentialError> {
        self.found.files += 1;
        let mut number = 0;
        for (at, line) in &mut lines {
            number = at;
            let line = match line {
                Ok(line) => line,
                Err(CredentialError::Parse(_)) => Vec::new(),
                Err(error) => return Err(error),
            };
            if let Err(fault) = self.record(&line, file) {
                self.wrong(file, number, fault);
            }
            if self.found.problem.is_some() {
                // Beyond the first fault nothing more can be known.
                return Ok(());
            }
            if self.found.records.is_multiple_of(1000) {
                progress(self.found.records);
            }
        }
        match lines.unfinished() {
            0 => {}
            // The state knows of no more than what is whole; of less after a loss of power, which may have taken what it
            // knew last.
            bytes if next.is_some_and(|seq| seq <= self.found.last + 1) => self.found.unfinished = bytes,
            _ => self.wrong(file, number + 1, Fault::Malformed),
        }
        Ok(())
    }

    fn wrong(&mut self, file: &Path, line: u64, fault: Fault) {
        let expected = self.link.as_ref().map_or(1, |link| link.seq);
        self.found.problem.get_or_insert_with(|| Problem {
            file: file.to_owned(),
            line,
            expected,
            fault,
        });
    }

    fn record(&mut self, line: &[u8], file: &Path) -> Result<(), Fault> {
        if self.found.problem.is_some() {
            return Ok(());
        }
        let record = Sealed::parse(line).ok_or(Fault::Malformed)?;
        let entry: Entry = serde_json::from_slice(line).map_err(|_| Fault::Malformed)?;
        if self.link.is_none() {
            let link = self.begin(&record, file);
            self.link = Some(link);
        }
        let link = self.link.as_mut().ok_or(Fault::Malformed)?;
        let ahead = record.seq.saturating_sub(link.seq);
        if (1..STEPS).contains(&ahead) && entry.event == EventKind::LogRecovered.as_str() {
            // The key of the place is known by going there; what was lost is lost.
            let gap = Gap {
                from: link.seq,
                to: record.seq - 1,
            };
            let mut ahead = link.clone();
            while ahead.seq < record.seq {
                ahead.advance(record.prev);
            }
            if let VerifyWith::Seed(_) = self.with
                && !record.is_authentic(&ahead)
            {
                return Err(Fault::Forged);
            }
            *link = ahead;
            self.found.gaps.push(gap);
        }
        if record.seq != link.seq {
            return Err(Fault::OutOfOrder);
        }
        if record.prev != link.prev {
            return Err(Fault::Unchained);
        }
        if let VerifyWith::Seed(_) = self.with
            && !record.is_authentic(link)
        {
            return Err(Fault::Forged);
        }
        for note in self.notes.iter().filter(|note| note.seq == record.seq) {
            if note.hash != record.hash {
                return Err(Fault::Contradicted);
            }
            self.found.checkpoints += 1;
            self.found.verified_through = record.seq;
        }
        if let VerifyWith::Seed(_) = self.with {
            self.found.verified_through = record.seq;
        }
        link.advance(record.hash);
        if entry.event == EventKind::LogRetired.as_str()
            && let Some((seq, hash, _)) = &self.begins_after
        {
            let claim = entry.detail.as_deref().and_then(retirement);
            self.explained |= claim.is_some_and(|claim| claim == (*seq, hash.clone()));
        }
        if self.found.records == 0 {
            self.found.first = record.seq;
            self.found.begins = Some(entry.time);
        }
        self.found.records += 1;
        self.found.last = record.seq;
        Ok(())
    }

    /// Where the first record there is belongs.
    fn begin(&mut self, record: &Sealed<'_>, file: &Path) -> Link {
        let first = match self.with {
            VerifyWith::Seed(seed) => seed.first(),
            VerifyWith::Checkpoints(_) => Link::new(1, [0; 32], [0; 32]),
        };
        if record.seq <= 1 || record.seq > STEPS {
            return first;
        }
        self.begins_after = Some((record.seq - 1, hex(&record.prev), file.to_owned()));
        let mut link = first;
        while link.seq < record.seq {
            link.advance(record.prev);
        }
        link
    }

    fn end(mut self, path: &Path, known: Option<Link>) -> Result<Verification, CredentialError> {
        if let Some((seq, hash, file)) = &self.begins_after
            && !self.explained
            && (self.found.problem.is_none() || !says_so(path, *seq, hash)?)
        {
            self.found.problem = Some(Problem {
                file: file.clone(),
                line: 1,
                expected: 1,
                fault: Fault::NoBeginning,
            });
        }
        let noted = self.notes.iter().map(|note| note.seq).max().unwrap_or(0);
        let last = self.found.last;
        self.found.tail = match known {
            Some(link) if link.seq > last + 1 || noted > last => Tail::Cut {
                known: noted.max(link.seq - 1),
            },
            None if noted > last => Tail::Cut { known: noted },
            Some(_) => Tail::Complete,
            None => Tail::Unknown,
        };
        Ok(self.found)
    }
}

/// Whether some line of the log claims that it begins after that record. Not whether the claim is genuine: it says where
/// a problem is to be looked for that was found before the claim was reached.
fn says_so(path: &Path, seq: u64, hash: &str) -> Result<bool, CredentialError> {
    let claim = format!("\"detail\":\"through {seq} {hash}\"");
    for file in files::all(path)? {
        let mut lines = Lines::open(&file)?;
        if lines.any(|(_, line)| line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(&claim))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `through SEQ HASH`.
fn retirement(detail: &str) -> Option<(u64, String)> {
    let (seq, hash) = detail.strip_prefix("through ")?.split_once(' ')?;
    Some((seq.parse().ok()?, hash.to_owned()))
}
