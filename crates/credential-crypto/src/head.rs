//! The head that envelopes, key rings and bundles begin with, and the checksum that rings and bundles end with.
//!
//! ```text
//! magic 8 | version 1 | suite 2 | flags 2 | ... | check 32
//! ```

use nebula_credential_core::CredentialError;

use crate::Suite;
use crate::bytes::{Malformed, Reader};

/// No flag is defined yet, in any format.
pub(crate) const FLAGS: u16 = 0;
/// Bytes of the checksum: BLAKE3 of all before it. Damage is told from attack and from another key.
pub(crate) const CHECK_LEN: usize = 32;

/// The head of one format.
pub(crate) struct Head {
    /// The format in words, as errors name it.
    pub(crate) what: &'static str,
    pub(crate) magic: [u8; 8],
    /// The only version this program writes and reads.
    pub(crate) version: u8,
    /// The error for bytes that no writer of the format makes.
    pub(crate) damaged: fn() -> CredentialError,
}

impl Head {
    /// Bytes of a head.
    pub(crate) const LEN: usize = 8 + 1 + 2 + 2;

    pub(crate) fn write(&self, suite: Suite, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.magic);
        out.push(self.version);
        out.extend_from_slice(&suite.id().to_be_bytes());
        out.extend_from_slice(&FLAGS.to_be_bytes());
    }

    /// Reads what follows the magic. An unknown version is named before anything behind it is judged.
    ///
    /// # Errors
    /// [`CredentialError::UnsupportedFormat`] for a newer version or suite; that of damage.
    pub(crate) fn read(&self, reader: &mut Reader<'_>) -> Result<Suite, CredentialError> {
        let damaged = |_: Malformed| (self.damaged)();
        let version = reader.u8().map_err(damaged)?;
        if version != self.version {
            return Err(CredentialError::unsupported_format(format!(
                "the {} has format version {version} and this program knows {}; upgrade it",
                self.what, self.version
            )));
        }
        let suite = reader.u16().map_err(damaged)?;
        let suite = Suite::from_id(suite).ok_or_else(|| {
            CredentialError::unsupported_format(format!(
                "the {} uses suite {suite}, which this program does not know; upgrade it",
                self.what
            ))
        })?;
        match reader.u16() {
            Ok(FLAGS) => Ok(suite),
            _ => Err((self.damaged)()),
        }
    }

    /// Reads the head of bytes that begin with the magic and end with a checksum: the suite, all before the
    /// checksum, and a reader of what stands between head and checksum.
    ///
    /// # Errors
    /// Those of [`read`](Self::read); a wrong checksum is damage.
    pub(crate) fn checked<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<(Suite, &'a [u8], Reader<'a>), CredentialError> {
        let (body, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or_else(self.damaged)?;
        if blake3::hash(body).as_bytes() != check {
            return Err((self.damaged)());
        }
        let mut reader = Reader::new(body);
        reader.take(self.magic.len()).map_err(|_| (self.damaged)())?;
        let suite = self.read(&mut reader)?;
        Ok((suite, body, reader))
    }
}

/// Appends the checksum of `out`.
pub(crate) fn put_check(out: &mut Vec<u8>) {
    let check = blake3::hash(out);
    out.extend_from_slice(check.as_bytes());
}
