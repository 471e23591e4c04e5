//! What a log is verified with.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use nebula_credential_core::{CredentialError, CredentialRef};
use zeroize::Zeroizing;

use crate::chain::{Link, tag_key};
use crate::checkpoint::CheckpointKey;
use crate::line::{hex, tag};
use crate::state::State;
use crate::{files, unavailable};

const HEADER: &str = "nebula-credential audit seed v1";

/// The secret a log begins from. Whoever has it can verify the log, find a credential by its tag, and forge records: it
/// belongs where the log is checked, not where it is written.
///
/// It is written once, beside a new log, under the log's name with `.seed` behind it. Take it away from there.
pub struct AuditSeed {
    seed: Zeroizing<[u8; 32]>,
    verifier: CheckpointKey,
}

impl AuditSeed {
    /// Reads what was written beside the new log.
    ///
    /// # Errors
    /// [`CredentialError::Parse`].
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let wrong = || {
            CredentialError::parse_error(
                "this is not the seed of an audit log; give the `.seed` file of the log",
            )
        };
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(wrong());
        }
        let seed = lines
            .next()
            .and_then(|line| line.strip_prefix("seed "))
            .ok_or_else(wrong)?;
        let bytes = Zeroizing::new(STANDARD.decode(seed).map_err(|_| wrong())?);
        let seed: [u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong())?;
        let verifier = lines
            .next()
            .and_then(|line| line.strip_prefix("verifier "))
            .ok_or_else(wrong)?;
        Ok(Self {
            seed: Zeroizing::new(seed),
            verifier: CheckpointKey::parse(verifier)?,
        })
    }

    /// The seed file of the log at `path`, if it was not taken away from beside it yet: it should be.
    pub fn beside(path: impl AsRef<Path>) -> Option<PathBuf> {
        let seed = files::seed(path.as_ref());
        std::fs::symlink_metadata(&seed).is_ok().then_some(seed)
    }

    /// What checkpoints are verified with, which is no secret.
    pub fn verifier(&self) -> &CheckpointKey {
        &self.verifier
    }

    pub(crate) fn first(&self) -> Link {
        Link::first(&self.seed)
    }

    /// What stands for a credential in a log without names: 32 hexadecimal digits.
    pub fn tag(&self, id: &CredentialRef) -> String {
        hex(&tag(&Zeroizing::new(tag_key(&self.seed)), id))
    }

    /// A new one, and the state its log begins in.
    pub(crate) fn generate(now: i64) -> Result<(Self, State), CredentialError> {
        let draw = || {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *bytes)
                .map_err(|_| unavailable("the system has no random bytes for the seed of the log"))?;
            Ok::<_, CredentialError>(bytes)
        };
        let (seed, signing) = (draw()?, draw()?);
        let verifier = CheckpointKey::of(&SigningKey::from_bytes(&signing));
        let state = State {
            link: Link::first(&seed),
            len: 0,
            files: 0,
            since: now,
            checkpoint: 0,
            names: None,
            tags: Zeroizing::new(tag_key(&seed)),
            signing,
        };
        Ok((Self { seed, verifier }, state))
    }

    pub(crate) fn text(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(STANDARD.encode(*self.seed));
        Zeroizing::new(format!("{HEADER}\nseed {}\nverifier {}\n", *seed, self.verifier))
    }
}

impl fmt::Debug for AuditSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditSeed([REDACTED])")
    }
}
