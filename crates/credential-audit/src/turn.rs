//! Whose turn it is to write: a lock between processes, which one that writes without pause keeps for some milliseconds.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nebula_credential_core::CredentialError;
use nebula_credential_fs::open_private_file;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::unavailable;

/// How long to wait for another process. It writes a record in microseconds, and keeps its turn for milliseconds.
const WAIT: Duration = Duration::from_secs(1);
/// How long to wait for one that was waited for in vain already. Who asked while another waited in vain does not wait at all:
/// callers must not queue up.
const WAIT_AGAIN: Duration = Duration::from_millis(30);
/// How long it is before one that waits looks again.
const LOOK: Duration = Duration::from_micros(50);
/// How long others have their chance at least, after a turn that was kept, before one is kept again.
const PAUSE: Duration = Duration::from_millis(1);

/// The lock on the file of the state.
///
/// To take it and give it back for every record, and to read what another process may have written meanwhile, takes as
/// long as to write a record. So a writer may keep its turn from one record to the next. Whoever syncs the log ends that
/// before each sync, which comes 5 ms after a record at the latest, and no turn is kept while a sync is under way:
/// however long the disk takes, others can write.
pub(crate) struct Turn {
    file: File,
    waits: Waits,
    keeping: Mutex<Keeping>,
}

/// When the last wait ended in vain, if it did.
pub(crate) type Waits = Arc<Mutex<Option<Instant>>>;

#[derive(Default)]
struct Keeping {
    /// Whether the lock is held, and nobody writes.
    kept: bool,
    /// Whether it must be given back after every record.
    paused: bool,
    /// When that was demanded last.
    since: Option<Instant>,
}

impl Turn {
    pub(crate) fn open(path: &Path) -> Result<Self, CredentialError> {
        Self::open_again(path, Arc::default())
    }

    /// [`open`](Self::open), with what was known of the lock before.
    pub(crate) fn open_again(path: &Path, waits: Waits) -> Result<Self, CredentialError> {
        Ok(Self {
            file: open_private_file(path)?,
            waits,
            keeping: Mutex::default(),
        })
    }

    /// Waits until no other process writes. Only one thread at a time may have the turn; `asked` is when it was asked for.
    pub(crate) fn take(&self, asked: Instant) -> Result<Held<'_>, CredentialError> {
        let kept = std::mem::take(&mut self.keeping().kept);
        if !kept {
            self.wait(asked)?;
        }
        Ok(Held {
            turn: self,
            kept,
            keep: None,
        })
    }

    fn wait(&self, asked: Instant) -> Result<(), CredentialError> {
        let mut in_vain = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = match *in_vain {
            None => WAIT,
            Some(ended) if asked <= ended => Duration::ZERO,
            Some(_) => WAIT_AGAIN,
        };
        let mut since = None;
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    *in_vain = None;
                    return Ok(());
                }
                Err(Errno::WOULDBLOCK | Errno::INTR)
                    if since.get_or_insert_with(Instant::now).elapsed() < patience =>
                {
                    std::thread::sleep(LOOK);
                }
                Err(_) => {
                    *in_vain = Some(Instant::now());
                    return Err(unavailable(
                        "another process holds the lock of the log; find it with `fuser` and let it end",
                    ));
                }
            }
        }
    }

    /// Gives a turn that was kept back, and has none kept until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        let mut keeping = self.keeping();
        keeping.paused = true;
        keeping.since = Some(Instant::now());
        if std::mem::take(&mut keeping.kept) {
            // Before another thread takes it: the lock belongs to the open file, which both share.
            self.unlock();
        }
    }

    /// Turns may be kept again.
    pub(crate) fn resume(&self) {
        self.keeping().paused = false;
    }

    fn keeping(&self) -> MutexGuard<'_, Keeping> {
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unlock(&self) {
        // Closing the file, which comes at the latest with the process, gives back what this cannot.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// The right to write, given back on drop.
pub(crate) struct Held<'a> {
    turn: &'a Turn,
    kept: bool,
    keep: Option<Instant>,
}

impl Held<'_> {
    /// Whether it was kept, so that no other process can have written.
    pub(crate) fn was_kept(&self) -> bool {
        self.kept
    }

    /// Has it kept rather than given back, if it may be now.
    pub(crate) fn keep(&mut self, now: Instant) {
        self.keep = Some(now);
    }

    pub(crate) fn file(&self) -> &File {
        &self.turn.file
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(now) = self.keep {
            let mut keeping = self.turn.keeping();
            let had_a_chance = |since| now.saturating_duration_since(since) >= PAUSE;
            if !keeping.paused && keeping.since.is_none_or(had_a_chance) {
                keeping.kept = true;
                return;
            }
        }
        self.turn.unlock();
    }
}
