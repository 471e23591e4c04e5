//! Where copies of the records go.

use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use nebula_credential_core::CredentialError;

use crate::unavailable;

/// Takes a copy of every record, after it was written to the log. Called on the path of the request: it must not block.
pub trait AuditSink: Send + Sync + 'static {
    /// A stable name, for the record of a loss.
    fn name(&self) -> &'static str;

    /// Takes one line of JSON, without a line end; `false` if it was not taken. A loss is recorded in the log.
    fn take(&self, record: &str) -> bool;
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
}

impl WriterSink {
    /// Records wait in a queue of at most `capacity`; what does not fit is lost, and the loss is recorded. A writer that
    /// fails ends the sink: everything after that is a loss.
    ///
    /// # Errors
    /// [`CredentialError::AuditUnavailable`] without a thread.
    pub fn new(
        name: &'static str,
        mut writer: impl Write + Send + 'static,
        capacity: usize,
    ) -> Result<Self, CredentialError> {
        let (queue, records) = sync_channel::<String>(capacity);
        std::thread::Builder::new()
            .name("credential-audit-sink".to_owned())
            .spawn(move || {
                for record in records {
                    let line = record + "\n";
                    if writer
                        .write_all(line.as_bytes())
                        .and_then(|()| writer.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            })
            .map_err(|_| unavailable("the system has no thread left for a sink; raise `ulimit -u`"))?;
        Ok(Self { name, queue })
    }
}

impl AuditSink for WriterSink {
    fn name(&self) -> &'static str {
        self.name
    }

    fn take(&self, record: &str) -> bool {
        match self.queue.try_send(record.to_owned()) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}
