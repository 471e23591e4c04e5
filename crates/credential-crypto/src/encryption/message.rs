//! Encrypted bytes: what they begin with, and where their parts lie.

use nebula_credential_core::CredentialError;

use crate::primitive::{COMMITMENT_LEN, SALT_LEN, Suite, TAG_LEN};

/// `89 "NBM" CR LF 1A LF`: damage by a text-mode transfer shows at once.
const MAGIC: [u8; 8] = *b"\x89NBM\r\n\x1a\n";
const VERSION: u8 = 1;
/// Magic, version, suite and kind.
const HEADER_LEN: usize = 8 + 1 + 2 + 1;
/// Longest name of a credential type that fits the header.
const TYPE_NAME_MAX: usize = 255;
/// More than any header, so that base64 text can be refused by its length.
pub(super) const OVERHEAD_MAX: usize =
    HEADER_LEN + 4 + 1 + TYPE_NAME_MAX + SALT_LEN + COMMITMENT_LEN + TAG_LEN;

/// What a message holds, as its header says.
pub(super) enum Kind<'a> {
    Bytes,
    Credential { schema: u32, name: &'a str },
}

/// Writes the context: what comes before the salt.
pub(super) fn begin(out: &mut Vec<u8>, suite: Suite, kind: &Kind<'_>) -> Result<(), CredentialError> {
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&suite.id().to_be_bytes());
    match kind {
        Kind::Bytes => out.push(1),
        Kind::Credential { schema, name } => {
            let length = u8::try_from(name.len())
                .map_err(|_| CredentialError::limit("bytes of a type's name", TYPE_NAME_MAX, name.len()))?;
            out.push(2);
            out.extend_from_slice(&schema.to_be_bytes());
            out.push(length);
            out.extend_from_slice(name.as_bytes());
        }
    }
    Ok(())
}

/// The fields of sealed bytes.
pub(super) struct Message<'a> {
    pub(super) suite: Suite,
    pub(super) kind: Kind<'a>,
    pub(super) context: &'a [u8],
    pub(super) salt: &'a [u8; SALT_LEN],
    pub(super) commitment: &'a [u8; COMMITMENT_LEN],
    pub(super) ciphertext: &'a [u8],
    pub(super) tag: &'a [u8; TAG_LEN],
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CredentialError> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| {
            CredentialError::decryption_failed(
                "these bytes were not encrypted by CredentialEncryption, or their start is damaged",
            )
        })?;
        let short = || CredentialError::decryption_failed("the bytes are cut short");
        let (version, rest) = rest.split_first().ok_or_else(short)?;
        if *version != VERSION {
            return Err(CredentialError::unsupported_format(format!(
                "message version {version}; this program reads version {VERSION}, upgrade it"
            )));
        }
        let (suite, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let suite = u16::from_be_bytes(*suite);
        let suite = Suite::from_id(suite).ok_or_else(|| {
            CredentialError::unsupported_format(format!(
                "suite {suite:#06x} is unknown; upgrade this program"
            ))
        })?;
        let (kind, rest) = rest.split_first().ok_or_else(short)?;
        let (kind, rest) = match kind {
            1 => (Kind::Bytes, rest),
            2 => {
                let (schema, rest) = rest.split_first_chunk().ok_or_else(short)?;
                let (length, rest) = rest.split_first().ok_or_else(short)?;
                let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(short)?;
                let name = std::str::from_utf8(name)
                    .map_err(|_| CredentialError::decryption_failed("the name of the type is damaged"))?;
                (
                    Kind::Credential {
                        schema: u32::from_be_bytes(*schema),
                        name,
                    },
                    rest,
                )
            }
            other => {
                return Err(CredentialError::unsupported_format(format!(
                    "message kind {other} is unknown; upgrade this program"
                )));
            }
        };
        let context = bytes
            .len()
            .checked_sub(rest.len())
            .and_then(|end| bytes.get(..end));
        let (salt, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or_else(short)?;
        Ok(Self {
            suite,
            kind,
            context: context.ok_or_else(short)?,
            salt,
            commitment,
            ciphertext,
            tag,
        })
    }
}
