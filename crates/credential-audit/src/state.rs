//! What a writer must know to go on: a small private file beside the log, read and written by whose turn it is.

use std::os::unix::fs::FileExt as _;

use nebula_credential_core::CredentialError;
use zeroize::Zeroizing;

use crate::builder::Names;
use crate::chain::Link;
use crate::turn::Held;
use crate::unavailable;

const MAGIC: [u8; 8] = *b"\x89NBA\r\n\x1a\n";
/// Behind the magic: the version of the format, which says as well how the log names credentials. The first did not, and
/// leaves it to whoever writes next.
const VERSIONS: [(u8, Option<Names>); 3] = [(1, None), (2, Some(Names::Clear)), (3, Some(Names::Tagged))];
const LEN: usize = MAGIC.len() + 1 + 8 + 32 + 32 + 8 + 8 + 8 + 8 + 32 + 32 + 8;

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
    /// How the log names credentials, if that was settled yet.
    pub(crate) names: Option<Names>,
    pub(crate) tags: Zeroizing<[u8; 32]>,
    pub(crate) signing: Zeroizing<[u8; 32]>,
}

impl State {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.reserve_exact(LEN);
        bytes.extend_from_slice(&MAGIC);
        let version = VERSIONS.iter().find(|(_, names)| *names == self.names);
        bytes.extend(version.map(|(version, _)| *version));
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
        let [version] = take(rest)?;
        let (_, names) = *VERSIONS.iter().find(|(known, _)| *known == version)?;
        let seq = u64::from_be_bytes(take(rest)?);
        let prev = take(rest)?;
        let key = Zeroizing::new(take(rest)?);
        Some(Self {
            link: Link::new(seq, prev, *key),
            len: u64::from_be_bytes(take(rest)?),
            files: u64::from_be_bytes(take(rest)?),
            since: i64::from_be_bytes(take(rest)?),
            checkpoint: u64::from_be_bytes(take(rest)?),
            names,
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

/// A state, and the bytes it lies in the file as.
pub(crate) struct Noted {
    pub(crate) state: State,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

impl Held<'_> {
    /// The state; `None` in a new file.
    pub(crate) fn read(&self) -> Result<Option<State>, CredentialError> {
        match self.bytes()? {
            Some(bytes) => decode(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// [`read`](Self::read), with what this process noted last: the file is read only where another may have written since,
    /// and taken apart only where one did. Whether none did.
    pub(crate) fn read_after(&self, noted: Option<Noted>) -> Result<Option<(Noted, bool)>, CredentialError> {
        let noted = match noted {
            Some(noted) if self.was_kept() => return Ok(Some((noted, true))),
            noted => noted,
        };
        let Some(bytes) = self.bytes()? else {
            return Ok(None);
        };
        if let Some(noted) = noted.filter(|noted| *noted.bytes == bytes[..]) {
            return Ok(Some((noted, true)));
        }
        let state = decode(&bytes)?;
        let bytes = Zeroizing::new(bytes.to_vec());
        Ok(Some((Noted { state, bytes }, false)))
    }

    fn bytes(&self) -> Result<Option<Zeroizing<[u8; LEN]>>, CredentialError> {
        let mut bytes = Zeroizing::new([0; LEN]);
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file().read_at(rest, read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(_) => return Err(unavailable("the state of the log cannot be read")),
            }
        }
        Ok((read > 0).then_some(bytes))
    }

    /// Writes the state, which is left in `bytes` as it is written.
    pub(crate) fn write(&self, state: &State, bytes: &mut Zeroizing<Vec<u8>>) -> Result<(), CredentialError> {
        state.encode(bytes);
        self.file()
            .write_all_at(bytes, 0)
            .map_err(|_| unavailable("the state of the log cannot be written"))
    }

    pub(crate) fn sync(&self) -> Result<(), CredentialError> {
        self.file()
            .sync_data()
            .map_err(|_| unavailable("the state of the log cannot be synced"))
    }
}

fn decode(bytes: &[u8; LEN]) -> Result<State, CredentialError> {
    State::decode(bytes).ok_or_else(|| {
        unavailable(
            "the state of the log is damaged; verify the log, keep it, and begin a new one under another path",
        )
    })
}
