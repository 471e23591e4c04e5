//! What a writer must know to go on: a small private file beside the log, locked while a record is written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nebula_credential_core::CredentialError;
use nebula_credential_fs::open_private_file;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::chain::Link;
use crate::unavailable;

/// Magic, format version.
const MAGIC: [u8; 9] = *b"\x89NBA\r\n\x1a\n\x01";
const LEN: usize = MAGIC.len() + 8 + 32 + 32 + 8 + 8 + 8 + 8 + 32 + 32 + 8;

/// How long to wait for another process that writes a record. That takes microseconds.
const WAIT: Duration = Duration::from_secs(1);

/// Where the log stands.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) link: Link,
    /// The length of the present file.
    pub(crate) len: u64,
    /// How many files were completed before it.
    pub(crate) files: u64,
    /// When the present file was begun, in microseconds since 1970.
    pub(crate) since: i64,
    /// The record of the last checkpoint.
    pub(crate) checkpoint: u64,
    pub(crate) tags: Zeroizing<[u8; 32]>,
    pub(crate) signing: Zeroizing<[u8; 32]>,
}

impl State {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.reserve_exact(LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.link.seq.to_be_bytes());
        bytes.extend_from_slice(&self.link.prev);
        bytes.extend_from_slice(self.link.key());
        bytes.extend_from_slice(&self.len.to_be_bytes());
        bytes.extend_from_slice(&self.files.to_be_bytes());
        bytes.extend_from_slice(&self.since.to_be_bytes());
        bytes.extend_from_slice(&self.checkpoint.to_be_bytes());
        bytes.extend_from_slice(&*self.tags);
        bytes.extend_from_slice(&*self.signing);
        let check = checksum(bytes);
        bytes.extend_from_slice(&check);
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if checksum(body) != *check {
            return None;
        }
        let rest = &mut body.strip_prefix(&MAGIC[..])?;
        let seq = u64::from_be_bytes(take(rest)?);
        let prev = take(rest)?;
        let key = Zeroizing::new(take(rest)?);
        Some(Self {
            link: Link::new(seq, prev, *key),
            len: u64::from_be_bytes(take(rest)?),
            files: u64::from_be_bytes(take(rest)?),
            since: i64::from_be_bytes(take(rest)?),
            checkpoint: u64::from_be_bytes(take(rest)?),
            tags: Zeroizing::new(take(rest)?),
            signing: Zeroizing::new(take(rest)?),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(bytes);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// How long to wait for one that was waited for in vain already: then its callers must not queue up.
const WAIT_AGAIN: Duration = Duration::from_millis(10);

/// The file of the state.
pub(crate) struct StateFile {
    file: File,
    /// Whether the last wait for the lock was in vain.
    held: Arc<AtomicBool>,
}

impl StateFile {
    pub(crate) fn open(path: &Path) -> Result<Self, CredentialError> {
        Self::open_again(path, Arc::default())
    }

    /// [`open`](Self::open), with what was known of the lock before.
    pub(crate) fn open_again(path: &Path, held: Arc<AtomicBool>) -> Result<Self, CredentialError> {
        let file = open_private_file(path)?;
        Ok(Self { file, held })
    }

    /// Waits until no other process writes a record.
    pub(crate) fn lock(&self) -> Result<Locked<'_>, CredentialError> {
        let since = Instant::now();
        let wait = match self.held.load(Ordering::Relaxed) {
            true => WAIT_AGAIN,
            false => WAIT,
        };
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    self.held.store(false, Ordering::Relaxed);
                    return Ok(Locked(&self.file));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) if since.elapsed() < wait => {
                    std::thread::sleep(Duration::from_micros(50));
                }
                Err(_) => {
                    self.held.store(true, Ordering::Relaxed);
                    return Err(unavailable(
                        "another process holds the lock of the log; find it with `fuser` and let it end",
                    ));
                }
            }
        }
    }
}

/// A state, and the bytes it lies in the file as.
pub(crate) struct Noted {
    pub(crate) state: State,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// The state, while no other process may change it.
pub(crate) struct Locked<'a>(&'a File);

impl Locked<'_> {
    /// The state; `None` in a new file.
    pub(crate) fn read(&self) -> Result<Option<State>, CredentialError> {
        Ok(self.read_after(None)?.map(|noted| noted.state))
    }

    /// [`read`](Self::read), with what this process noted last: it is taken apart anew only if another wrote since.
    pub(crate) fn read_after(&self, noted: Option<Noted>) -> Result<Option<Noted>, CredentialError> {
        let mut bytes = Zeroizing::new([0; LEN]);
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(_) => return Err(unavailable("the state of the log cannot be read")),
            }
        }
        if read == 0 {
            return Ok(None);
        }
        if let Some(noted) = noted.filter(|noted| *noted.bytes == bytes[..]) {
            return Ok(Some(noted));
        }
        let state = State::decode(&bytes).ok_or_else(|| {
            unavailable(
                "the state of the log is damaged; verify the log, keep it, and begin a new one under another path",
            )
        })?;
        let bytes = Zeroizing::new(bytes.to_vec());
        Ok(Some(Noted { state, bytes }))
    }

    /// Writes the state, which is left in `bytes` as it is written.
    pub(crate) fn write(&self, state: &State, bytes: &mut Zeroizing<Vec<u8>>) -> Result<(), CredentialError> {
        state.encode(bytes);
        self.0
            .write_all_at(bytes, 0)
            .map_err(|_| unavailable("the state of the log cannot be written"))
    }

    pub(crate) fn sync(&self) -> Result<(), CredentialError> {
        self.0
            .sync_data()
            .map_err(|_| unavailable("the state of the log cannot be synced"))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing the file, which comes at the latest with the process, gives back what this cannot.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
