//! Signed statements of where the log stood, in the form of a C2SP signed note (<https://c2sp.org/signed-note>), so that
//! other tools verify them too.

use std::fmt;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use nebula_credential_core::CredentialError;
use sha2::{Digest as _, Sha256};

use crate::chain::Hash;

/// The algorithm byte of Ed25519 in a signed note.
const ED25519: u8 = 1;
const ORIGIN: &str = "nebula-credential/audit";

/// What checkpoints are verified with: public.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckpointKey(VerifyingKey);

impl CheckpointKey {
    pub(crate) fn of(signing: &SigningKey) -> Self {
        Self(signing.verifying_key())
    }

    /// Reads the form that is displayed: a verifier key of signed notes.
    ///
    /// # Errors
    /// [`CredentialError::Parse`].
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let wrong =
            || CredentialError::parse_error("this is not the verifier key of an audit log's checkpoints");
        let mut parts = text.trim().splitn(3, '+');
        let (name, _, key) = (parts.next(), parts.next(), parts.next().ok_or_else(wrong)?);
        let bytes = STANDARD.decode(key).map_err(|_| wrong())?;
        let (algorithm, key) = bytes.split_first().ok_or_else(wrong)?;
        let key: &[u8; 32] = key.try_into().map_err(|_| wrong())?;
        if name != Some(ORIGIN) || *algorithm != ED25519 {
            return Err(wrong());
        }
        let found = Self(VerifyingKey::from_bytes(key).map_err(|_| wrong())?);
        if found.to_string() == text.trim() {
            Ok(found)
        } else {
            Err(wrong())
        }
    }

    /// The hint that a signature begins with.
    fn id(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(ORIGIN);
        hash.update([b'\n', ED25519]);
        hash.update(self.0.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = hash;
        [a, b, c, d]
    }
}

impl fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.0.as_bytes());
        write!(
            f,
            "{ORIGIN}+{:08x}+{}",
            u32::from_be_bytes(self.id()),
            STANDARD.encode(key)
        )
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey({self})")
    }
}

/// Where a log stood: its last record, and the hash of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

impl Checkpoint {
    fn body(&self) -> String {
        format!("{ORIGIN}\n{}\n{}\n", self.seq, STANDARD.encode(self.hash))
    }

    /// The note.
    pub(crate) fn sign(&self, key: &[u8; 32]) -> String {
        let signing = SigningKey::from_bytes(key);
        let body = self.body();
        let mut signature = CheckpointKey::of(&signing).id().to_vec();
        signature.extend_from_slice(&signing.sign(body.as_bytes()).to_bytes());
        format!("{body}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signature))
    }

    /// The checkpoints in a file of notes that `key` signed, in the order they stand in. What is no note is passed over: one
    /// that was torn off hides none of those behind it.
    pub(crate) fn read_all(notes: &[u8], key: &CheckpointKey) -> Vec<Self> {
        let text = String::from_utf8_lossy(notes);
        let mut found = Vec::new();
        for note in Self::noted(&text) {
            let mut lines = note.lines();
            let note = [lines.next(), lines.next(), lines.next(), lines.next()];
            if let [Some(seq), Some(hash), Some(""), Some(signature)] = note {
                found.extend(Self::verify(seq, hash, signature, key));
            }
        }
        found
    }

    /// The number of the record that the last note of a file speaks of. Not whether it is genuine.
    pub(crate) fn last_noted(notes: &[u8]) -> Option<u64> {
        let text = String::from_utf8_lossy(notes);
        // The number of one that was torn off is that of another record, unless its line ends.
        let number = |note: &str| note.split_once('\n')?.0.parse().ok();
        Self::noted(&text).filter_map(number).last()
    }

    /// What stands behind each first line of a note, which may follow on what is left of a torn one.
    fn noted(text: &str) -> impl Iterator<Item = &str> {
        text.match_indices(ORIGIN)
            .filter_map(|(at, origin)| text.get(at + origin.len()..)?.strip_prefix('\n'))
    }

    fn verify(seq: &str, hash: &str, signature: &str, key: &CheckpointKey) -> Option<Self> {
        let hash = STANDARD.decode(hash).ok()?;
        let checkpoint = Self {
            seq: u64::from_str(seq).ok()?,
            hash: hash.try_into().ok()?,
        };
        let signature = signature.strip_prefix("\u{2014} ")?.strip_prefix(ORIGIN)?.trim();
        let signature = STANDARD.decode(signature).ok()?;
        let (id, signature) = signature.split_first_chunk::<4>()?;
        let signature = Signature::from_slice(signature).ok()?;
        let valid = *id == key.id()
            && key
                .0
                .verify_strict(checkpoint.body().as_bytes(), &signature)
                .is_ok();
        valid.then_some(checkpoint)
    }
}
