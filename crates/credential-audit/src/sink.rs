//! Where copies of the records go.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use nebula_credential_core::CredentialError;

use crate::unavailable;

/// Takes a copy of every record, after it was written to the log. Called on the path of the request: it must not block.
pub trait AuditSink: Send + Sync + 'static {
    /// A stable name, for the record of a loss.
    fn name(&self) -> &'static str;

    /// Takes one line of JSON, without a line end; `false` if it was not taken. A loss is recorded in the log.
    fn take(&self, record: &str) -> bool;

    /// How many records that were taken were lost after all, beside those this told of before. It is asked with each
    /// record, and the loss is recorded in the log.
    fn lost(&self) -> u64 {
        0
    }
}

/// Emits each record as an event of the target `nebula_credential::audit`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingSink;

impl AuditSink for TracingSink {
    fn name(&self) -> &'static str {
        "tracing"
    }

    fn take(&self, record: &str) -> bool {
        tracing::info!(target: "nebula_credential::audit", record);
        true
    }
}

/// Writes each record, on a thread of its own, to anything that can be written to: a socket, a pipe, a second disk.
#[derive(Debug)]
pub struct WriterSink {
    name: &'static str,
    queue: SyncSender<String>,
    fate: Arc<Fate>,
}

/// What became of the records that were taken.
#[derive(Debug, Default)]
struct Fate {
    taken: AtomicU64,
    written: AtomicU64,
    /// Of those that were taken and not written, how many were told of as lost.
    told: AtomicU64,
    /// Nothing is written any more: the writer failed.
    ended: AtomicBool,
}

/// Says that nothing is written any more, also where the writer panics.
struct Ends(Arc<Fate>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl WriterSink {
    /// Records wait in a queue of at most `capacity`; what does not fit is lost, and the loss is recorded. A writer that
    /// fails ends the sink: what waits, and everything after that, is a loss. What still waits when the program ends is
    /// lost without a record.
    ///
    /// # Errors
    /// [`CredentialError::AuditUnavailable`] without a thread.
    pub fn new(
        name: &'static str,
        mut writer: impl Write + Send + 'static,
        capacity: usize,
    ) -> Result<Self, CredentialError> {
        let (queue, records) = sync_channel::<String>(capacity);
        let fate = Arc::new(Fate::default());
        let known = Arc::clone(&fate);
        std::thread::Builder::new()
            .name("credential-audit-sink".to_owned())
            .spawn(move || {
                let fate = Ends(known);
                for record in records {
                    let line = record + "\n";
                    if writer
                        .write_all(line.as_bytes())
                        .and_then(|()| writer.flush())
                        .is_err()
                    {
                        return;
                    }
                    fate.0.written.fetch_add(1, Ordering::Release);
                }
            })
            .map_err(|_| unavailable("the system has no thread left for a sink; raise `ulimit -u`"))?;
        Ok(Self { name, queue, fate })
    }
}

impl AuditSink for WriterSink {
    fn name(&self) -> &'static str {
        self.name
    }

    fn take(&self, record: &str) -> bool {
        match self.queue.try_send(record.to_owned()) {
            Ok(()) => {
                self.fate.taken.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    fn lost(&self) -> u64 {
        let fate = &self.fate;
        if !fate.ended.load(Ordering::Acquire) {
            return 0;
        }
        // Nothing is written any more; one that is being taken at this moment is told of the next time.
        let lost = fate
            .taken
            .load(Ordering::Relaxed)
            .saturating_sub(fate.written.load(Ordering::Acquire));
        lost.saturating_sub(fate.told.fetch_max(lost, Ordering::Relaxed))
    }
}
