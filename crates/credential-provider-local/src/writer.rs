//! The one thread that writes: it owns the one connection that can.

use std::time::Duration;

use nebula_credential_core::{CredentialError, OpContext};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::Fault;
use crate::home::{BUSY, Home, Role};
use crate::schema::MIGRATIONS;

/// Frames (4 KiB pages) in the log that are not written back yet, before they are when nobody waits.
const IDLE_FRAMES: i32 = 1000;
/// Frames in the log before it is written back whoever waits, so that it is used anew: 16 MiB.
const FULL_FRAMES: i32 = 4000;
/// Changes between two looks at the length of the log.
const LOOK_EVERY: u32 = 64;

/// How long to wait for readers before the log is emptied later. Other writers wait meanwhile.
const SCRUB_WAIT: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct Writer {
    /// `None` before the first change, and after a failure that left the connection in doubt.
    conn: Option<Connection>,
    changes: u32,
    /// Whether the log may still hold what was purged.
    unscrubbed: bool,
}

impl Writer {
    /// Makes one change, in a transaction of its own; durable when this returns `Ok`.
    pub(crate) fn change<T>(
        &mut self,
        home: &Home,
        ctx: &OpContext,
        body: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, CredentialError> {
        let lock = home.lock_writer()?;
        // It may have waited long, in the queue and for the lock.
        ctx.check_deadline()?;
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => home.connect(Role::Writer).map_err(|fault| home.explain(fault))?,
        };
        let (done, sound) = transact(&conn, home, body);
        drop(lock);
        // After a failed sync the system may drop the pages it could not write and report success on the next try: what
        // this connection believes of the file is void.
        if sound {
            self.conn = Some(conn);
            self.changes = self.changes.saturating_add(1);
        }
        done
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
            if let Ok(_lock) = home.lock_writer() {
                let _ = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE);
            }
        } else if idle && frames.saturating_sub(done) >= IDLE_FRAMES {
            let _ = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE);
        }
    }

    /// Empties the log, so that what a purge overwrote is not left there. A reader in the middle of its read keeps the log;
    /// then it is tried again after the next change.
    pub(crate) fn scrub(&mut self, home: &Home) {
        self.unscrubbed = true;
        if let (Some(conn), Ok(_lock)) = (&self.conn, home.lock_writer()) {
            let _ = conn.busy_timeout(SCRUB_WAIT);
            let emptied = conn.wal_checkpoint_v2(Some(c"main"), CheckpointMode::TRUNCATE);
            let _ = conn.busy_timeout(BUSY);
            self.unscrubbed = emptied.is_err();
        }
    }
}

/// The outcome, and whether the connection can be used again.
fn transact<T>(
    conn: &Connection,
    home: &Home,
    body: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> (Result<T, CredentialError>, bool) {
    let prepared = begin(conn).and_then(|tx| {
        let before = tx.total_changes();
        let value = body(&tx)?;
        if tx.total_changes() != before {
            tx.prepare_cached("UPDATE head SET generation = generation + 1")?
                .execute([])?;
        }
        Ok((tx, value))
    });
    let (tx, value) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => {
            let sound = !fault.poisons() && conn.is_autocommit();
            return (Err(home.explain(fault)), sound);
        }
    };
    match tx.commit() {
        Ok(()) => (Ok(value), true),
        Err(error) => (Err(home.explain_commit(error.into())), false),
    }
}

/// Begins a transaction on a store that still has the format this program knows.
fn begin(conn: &Connection) -> Result<Transaction<'_>, Fault> {
    // No other is open: the last one left the connection in autocommit mode, or it would not have been kept.
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let format: i64 = tx
        .prepare_cached("PRAGMA user_version")?
        .query_one([], |row| row.get(0))?;
    if usize::try_from(format) == Ok(MIGRATIONS.len()) {
        return Ok(tx);
    }
    Err(CredentialError::unsupported_format(
        "the store was upgraded by a newer version while this program ran; upgrade and restart it",
    )
    .into())
}
