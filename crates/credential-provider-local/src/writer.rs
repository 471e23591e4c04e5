//! The one thread that writes: it owns the one connection that can.

use std::time::Duration;

use nebula_credential_core::CredentialError;
use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

use crate::group::{Change, End, Member, overwrite, transact};
use crate::home::{Home, Role, empty_log};

/// Frames (4 KiB pages) in the log that are not written back yet, before they are when nobody waits.
const IDLE_FRAMES: i32 = 1000;
/// Frames in the log before it is written back whoever waits, so that it is used anew: 16 MiB.
const FULL_FRAMES: i32 = 4000;
/// Changes between two looks at the length of the log.
const LOOK_EVERY: u32 = 64;
/// Changes after which a look that could do nothing is repeated.
const LOOK_AGAIN: u32 = 8;

/// Frames in the log that are left to the next process, which reads them within 0.1 ms: to write them back would cost a
/// process that makes one change two syncs more.
const LEFT_FRAMES: i32 = 64;

/// How long to wait for readers before the log is emptied later. Other writers wait meanwhile.
const SCRUB_WAIT: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct Writer {
    /// `None` before the first change, and after a failure that left the connection in doubt.
    conn: Option<Connection>,
    changes: u32,
    /// Whether the log may still hold what was purged.
    unscrubbed: bool,
    /// Whether it was said that what a dead writer left cannot be settled.
    warned: bool,
}

impl Writer {
    /// Makes `first`, and what `next` brings meanwhile, in one transaction; durable before anyone is told so.
    pub(crate) fn change(
        &mut self,
        home: &Home,
        first: Box<dyn Change>,
        next: impl FnMut() -> Option<Box<dyn Change>>,
    ) {
        if first.is_abandoned() {
            return;
        }
        let opened = home.lock_writer().and_then(|lock| {
            let conn = match self.conn.take() {
                Some(conn) => conn,
                None => home.connect(Role::Writer).map_err(|fault| home.explain(fault))?,
            };
            Ok((lock, conn, home.counters()?))
        });
        let (lock, conn, counters) = match opened {
            Ok(opened) => opened,
            Err(error) => return first.tell(Some(error)),
        };
        let mut group = vec![Member::new(first)];
        let (end, sound) = transact(&conn, counters, &mut group, next);
        drop(lock);
        // After a failed sync the system may drop the pages it could not write and report success on the next try: what
        // this connection believes of the file is void.
        if sound {
            self.conn = Some(conn);
        }
        self.tell(home, group, end);
    }

    /// Tells each member of a group what became of it.
    fn tell(&mut self, home: &Home, mut group: Vec<Member>, end: End) {
        let failure = match end {
            End::Committed => {
                self.changes = self
                    .changes
                    .saturating_add(u32::try_from(group.len()).unwrap_or(u32::MAX));
                if group
                    .iter()
                    .any(|member| member.refusal.is_none() && member.change.scrubs())
                {
                    self.scrub(home);
                }
                for Member { change, refusal } in group {
                    change.tell(refusal.map(|fault| home.explain(fault)));
                }
                return;
            }
            End::Undone(fault) => home.explain(fault),
            End::Failed(fault) => home.explain_commit(fault),
        };
        match group.pop() {
            Some(only) if group.is_empty() => {
                let refusal = only.refusal.map(|fault| home.explain(fault));
                only.change.tell(Some(refusal.unwrap_or(failure)));
            }
            // One of them may be to blame for what befell all. What is in doubt cannot be tried again, but a refusal for
            // the sake of a change in doubt can.
            last => {
                for member in group.into_iter().chain(last) {
                    if failure.is_outcome_unknown() && member.refusal.is_none() {
                        member.change.tell(Some(failure.clone()));
                    } else {
                        self.change(home, member.change, || None);
                    }
                }
            }
        }
    }

    /// Settles what a dead writer left under way, which is not for as long as somebody writes. Nobody waits for it, and a
    /// failure leaves all as it is.
    pub(crate) fn settle(&mut self, home: &Home) {
        match self.try_settle(home) {
            Ok(()) => self.warned = false,
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(
                        kind = error.kind().as_str(),
                        "a change of the local store was cut short, and what it left cannot be settled: caches ask \
                         the store each time, until a change succeeds"
                    );
                }
            }
        }
    }

    fn try_settle(&mut self, home: &Home) -> Result<(), CredentialError> {
        let counters = home.counters()?;
        // Whoever holds it is alive, or the system would have released it.
        let Some(lock) = home.try_lock_writer()? else {
            return Ok(());
        };
        let Some(under_way) = counters.resume() else {
            return Ok(());
        };
        let explain = |fault| home.explain(fault);
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => home.connect(Role::Writer).map_err(explain)?,
        };
        overwrite(&conn).map_err(explain)?;
        under_way.settle();
        drop(lock);
        self.conn = Some(conn);
        Ok(())
    }

    /// Writes the log back into the database when it is long. After the answers are given; a failure here loses
    /// nothing and shows again in the next change.
    pub(crate) fn maintain(&mut self, home: &Home, idle: bool) {
        if self.unscrubbed && idle {
            self.scrub(home);
        }
        if self.changes < LOOK_EVERY {
            return;
        }
        self.changes = 0;
        let Some(conn) = &self.conn else { return };
        let Ok((frames, done)) = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::NOOP) else {
            return;
        };
        if frames >= FULL_FRAMES && done < frames {
            // A log is used anew only when it was written back whole, which never happens while another process makes it
            // longer. Under the lock, nobody does.
            if let Ok(_lock) = home.lock_writer()
                && !conn
                    .wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE)
                    .is_ok_and(|(frames, done)| done >= frames)
            {
                // A reader was in the middle of a read: soon again, or the log grows by as much once more.
                self.changes = LOOK_EVERY - LOOK_AGAIN;
            }
        } else if idle && frames.saturating_sub(done) >= IDLE_FRAMES {
            let _ = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE);
        }
    }

    /// Closes the connection, and empties the log before if it is long. Where others write or read meanwhile, the log is
    /// theirs to empty; a failure loses nothing, for the log stays.
    ///
    /// The files of the log stay too, even empty: without them SQLite could not read a store on a medium that cannot be
    /// written.
    pub(crate) fn close(&mut self, home: &Home) {
        let Some(conn) = self.conn.take() else { return };
        let is_long = || {
            let length = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::NOOP);
            length.is_ok_and(|(frames, _)| frames > LEFT_FRAMES)
        };
        if (self.unscrubbed || is_long())
            && let Ok(Some(_lock)) = home.try_lock_writer()
        {
            self.unscrubbed &= empty_log(&conn, Duration::ZERO).is_err();
        }
    }

    /// Empties the log, so that what a purge overwrote is not left there. A reader in the middle of its read keeps the log;
    /// then it is tried again after the next change.
    pub(crate) fn scrub(&mut self, home: &Home) {
        self.unscrubbed = true;
        if let (Some(conn), Ok(_lock)) = (&self.conn, home.lock_writer()) {
            self.unscrubbed = empty_log(conn, SCRUB_WAIT).is_err();
        }
    }
}
