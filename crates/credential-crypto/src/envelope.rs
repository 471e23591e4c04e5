//! The `NBC1` envelope: layout, context, padding. `FORMAT.md` is its specification.

use std::sync::Arc;

use nebula_credential_core::{
    CredentialError, CredentialRef, ENVELOPE_MAGIC, KEY_REFERENCE_BYTES, Plaintext, Sealed, VersionHead,
    WRAPPED_KEY_BYTES, limits,
};
use zeroize::Zeroize;

use crate::Suite;
use crate::bytes::{Malformed, Reader, Writer};
use crate::head::{FLAGS, Head};
use crate::primitive::{
    Aad, COMMITMENT_LEN, KEY_LEN, Label, SALT_LEN, TAG_LEN, open_in_place, seal_in_place,
};

const HEAD: Head = Head {
    what: "envelope",
    magic: ENVELOPE_MAGIC,
    version: 1,
    damaged: || CredentialError::Tampered,
};
/// Head, salt and padded length.
const HEADER_LEN: usize = Head::LEN + SALT_LEN + 4;
/// Longest name of a credential type: it stands behind one length byte.
const TYPE_NAME_MAX: usize = 255;
/// Longest header and context: header, three names and a type behind their lengths, schema version, version,
/// creation, whether it expires, and when.
const BOUND_MAX: usize = HEADER_LEN + 3 * (1 + limits::NAME_BYTES) + 1 + TYPE_NAME_MAX + 4 + 4 + 8 + 1 + 8;
/// Secrets are padded to multiples of this: the length of a stored secret tells little about it.
const BUCKET: usize = 256;
/// The true length, at the end of the padded secret.
const LENGTH_LEN: usize = 4;
/// Longest padded secret.
const PADDED_MAX: usize = (limits::SECRET_BYTES_MAX + LENGTH_LEN).next_multiple_of(BUCKET);

// The longest envelope fits every store.
const _: () = assert!(
    HEADER_LEN + COMMITMENT_LEN + 4 + KEY_REFERENCE_BYTES + WRAPPED_KEY_BYTES + PADDED_MAX + TAG_LEN
        <= limits::SEALED_BYTES_MAX
);

/// Where a payload belongs. It is part of what is sealed, and opens nowhere else.
///
/// The address must be the one the caller asked for, never the one a stored row claims.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The address.
    pub id: &'a CredentialRef,
    /// Version, type, schema and times.
    pub version: &'a VersionHead,
}

/// Header and context in one piece: what the payload and its wrapped key are bound to.
///
/// The salt comes first. It enters the payload's key derivation by itself, so the payload is bound to the rest.
///
/// Made empty and then filled, because to move it takes longer than to fill it.
pub(crate) struct Bound {
    bytes: [u8; BOUND_MAX],
    length: usize,
}

impl Bound {
    pub(crate) const fn empty() -> Self {
        Self {
            bytes: [0; BOUND_MAX],
            length: 0,
        }
    }

    /// Each text stands behind its length byte and all else has a fixed length, so no two contexts read alike.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] for a type name beyond 255 bytes.
    pub(crate) fn fill(
        &mut self,
        suite: Suite,
        place: Place<'_>,
        padded: u32,
    ) -> Result<(), CredentialError> {
        let kind = place.version.credential_type.len();
        if kind > TYPE_NAME_MAX {
            return Err(CredentialError::limit(
                "credential type name bytes",
                TYPE_NAME_MAX,
                kind,
            ));
        }
        let mut writer = Writer::new(&mut self.bytes);
        let left = Self::write(&mut writer, suite, place, padded).map_err(short)?;
        self.length = BOUND_MAX - left;
        Ok(())
    }

    /// Says how much of the buffer is left.
    fn write(
        writer: &mut Writer<'_>,
        suite: Suite,
        Place { id, version }: Place<'_>,
        padded: u32,
    ) -> Result<usize, Malformed> {
        writer.reserve(SALT_LEN)?;
        writer.array(&HEAD.magic)?;
        writer.array(&[HEAD.version])?;
        writer.array(&suite.id().to_be_bytes())?;
        writer.array(&FLAGS.to_be_bytes())?;
        writer.array(&padded.to_be_bytes())?;
        for text in [
            id.tenant().as_str(),
            id.scope().as_str(),
            id.name().as_str(),
            &version.credential_type,
        ] {
            writer.array(&[u8::try_from(text.len()).map_err(|_| Malformed)?])?;
            writer.put(text.as_bytes())?;
        }
        let (known, expires) = version.expires_at.map_or((0, 0), |at| (1, at.timestamp_micros()));
        writer.array(&version.schema_version.to_be_bytes())?;
        writer.array(&version.version.get().to_be_bytes())?;
        writer.array(&version.created_at.timestamp_micros().to_be_bytes())?;
        writer.array(&[known])?;
        writer.array(&expires.to_be_bytes())?;
        Ok(writer.remaining())
    }

    /// Sets the salt of the payload.
    pub(crate) fn set_salt(&mut self, salt: &[u8; SALT_LEN]) {
        if let Some(place) = self.bytes.first_chunk_mut() {
            *place = *salt;
        }
    }

    /// Header and context without the salt: the payload commits to it.
    pub(crate) fn context(&self) -> &[u8] {
        self.bytes.get(SALT_LEN..self.length).unwrap_or_default()
    }

    /// All of it: the wrapped key is bound to it.
    pub(crate) fn with_its_salt(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The length `secret` has when padded.
///
/// # Errors
/// [`CredentialError::LimitExceeded`].
pub(crate) fn padded_len(secret: usize) -> Result<u32, CredentialError> {
    if secret > limits::SECRET_BYTES_MAX {
        return Err(CredentialError::limit(
            "secret bytes",
            limits::SECRET_BYTES_MAX,
            secret,
        ));
    }
    let padded = (secret + LENGTH_LEN).next_multiple_of(BUCKET);
    u32::try_from(padded).map_err(|_| CredentialError::internal("a padded secret is longer than 4 GiB"))
}

/// The fields of an envelope, found and bounded but not yet believed.
#[derive(Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) suite: Suite,
    pub(crate) salt: &'a [u8; SALT_LEN],
    pub(crate) padded: u32,
    commitment: &'a [u8; COMMITMENT_LEN],
    pub(crate) reference: &'a [u8],
    pub(crate) wrapped: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN],
    /// Everything before the re-wrappable part, and everything behind it.
    head: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Finds the fields. There is one way to write an envelope; anything else is refused. Allocates nothing.
    ///
    /// # Errors
    /// [`CredentialError::UnsupportedFormat`] for another magic, version or suite; [`CredentialError::Tampered`].
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, CredentialError> {
        if bytes.len() > limits::SEALED_BYTES_MAX {
            return Err(CredentialError::limit(
                "sealed bytes",
                limits::SEALED_BYTES_MAX,
                bytes.len(),
            ));
        }
        let mut reader = Reader::new(bytes);
        let magic = reader.take(ENVELOPE_MAGIC.len()).map_err(tampered)?;
        if magic != ENVELOPE_MAGIC {
            return Err(CredentialError::unsupported_format(
                "these bytes are no NBC1 envelope; they were written by another program, or damaged",
            ));
        }
        let suite = HEAD.read(&mut reader)?;
        Self::fields(bytes, suite, reader).map_err(tampered)
    }

    fn fields(bytes: &'a [u8], suite: Suite, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let salt = reader.array()?;
        let padded = reader.u32()?;
        let commitment = reader.array()?;
        let head = bytes.len() - reader.remaining();
        let reference = reader.block(KEY_REFERENCE_BYTES)?;
        let wrapped = reader.block(WRAPPED_KEY_BYTES)?;
        let tail = bytes.len() - reader.remaining();
        let length = usize::try_from(padded).map_err(|_| Malformed)?;
        if length == 0 || length > PADDED_MAX || !length.is_multiple_of(BUCKET) {
            return Err(Malformed);
        }
        let ciphertext = reader.take(length)?;
        let tag = reader.array()?;
        reader.finish()?;
        Ok(Self {
            suite,
            salt,
            padded,
            commitment,
            reference,
            wrapped,
            ciphertext,
            tag,
            head: bytes.get(..head).ok_or(Malformed)?,
            tail: bytes.get(tail..).ok_or(Malformed)?,
        })
    }

    /// Fills `bound` for the place this envelope is asked to open at.
    ///
    /// # Errors
    /// Those of [`Bound::fill`].
    pub(crate) fn bind(&self, place: Place<'_>, bound: &mut Bound) -> Result<(), CredentialError> {
        bound.fill(self.suite, place, self.padded)?;
        bound.set_salt(self.salt);
        Ok(())
    }

    /// Deciphers the payload with its data key.
    ///
    /// # Errors
    /// [`CredentialError::Tampered`].
    pub(crate) fn open(&self, dek: &[u8; KEY_LEN], bound: &Bound) -> Result<Plaintext, CredentialError> {
        let mut padded = Secret(self.ciphertext.to_vec());
        open_in_place(
            self.suite,
            Label::Payload,
            dek,
            self.salt,
            self.commitment,
            &Aad::new(bound.context()),
            &mut padded.0,
            self.tag,
        )?;
        padded.unpad().ok_or(CredentialError::Tampered)
    }

    /// The same envelope with another re-wrappable part.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`].
    pub(crate) fn rewrapped(&self, reference: &[u8], wrapped: &[u8]) -> Result<Sealed, CredentialError> {
        let part = wrap_part_len(reference, wrapped)?;
        let mut bytes: Arc<[u8]> = zeros(self.head.len() + part + self.tail.len());
        let buffer = Arc::get_mut(&mut bytes).ok_or_else(shared)?;
        let mut writer = Writer::new(buffer);
        writer.put(self.head).map_err(short)?;
        put_wrap_part(&mut writer, reference, wrapped)?;
        writer.put(self.tail).map_err(short)?;
        Sealed::envelope(bytes)
    }
}

/// What goes into a new envelope beside the secret.
pub(crate) struct Seal<'a> {
    pub(crate) suite: Suite,
    pub(crate) bound: &'a Bound,
    pub(crate) padded: u32,
    pub(crate) dek: &'a [u8; KEY_LEN],
    pub(crate) salt: &'a [u8; SALT_LEN],
    pub(crate) reference: &'a [u8],
    pub(crate) wrapped: &'a [u8],
}

impl Seal<'_> {
    /// Writes the envelope of `secret` with one allocation; the secret is enciphered where it will lie.
    ///
    /// # Errors
    /// [`CredentialError::LimitExceeded`] for what a key provider made too long; [`CredentialError::EncryptionFailed`].
    pub(crate) fn write(&self, secret: &[u8]) -> Result<Sealed, CredentialError> {
        let length = usize::try_from(self.padded).map_err(|_| short(Malformed))?;
        let true_length = u32::try_from(secret.len()).map_err(|_| short(Malformed))?;
        let padding = length
            .checked_sub(secret.len() + LENGTH_LEN)
            .ok_or_else(|| short(Malformed))?;
        let part = wrap_part_len(self.reference, self.wrapped)?;
        let mut bytes: Arc<[u8]> = zeros(HEADER_LEN + COMMITMENT_LEN + part + length + TAG_LEN);
        let mut writer = Writer::new(Arc::get_mut(&mut bytes).ok_or_else(shared)?);

        writer.array(&HEAD.magic).map_err(short)?;
        writer.array(&[HEAD.version]).map_err(short)?;
        writer.array(&self.suite.id().to_be_bytes()).map_err(short)?;
        writer.array(&FLAGS.to_be_bytes()).map_err(short)?;
        writer.array(self.salt).map_err(short)?;
        writer.array(&self.padded.to_be_bytes()).map_err(short)?;
        let commitment = writer.reserve(COMMITMENT_LEN).map_err(short)?;
        put_wrap_part(&mut writer, self.reference, self.wrapped)?;
        let payload = writer.reserve(length).map_err(short)?;
        let tag = writer.reserve(TAG_LEN).map_err(short)?;

        let mut fill = Writer::new(&mut *payload);
        fill.put(secret).map_err(short)?;
        fill.reserve(padding).map_err(short)?;
        fill.put(&true_length.to_be_bytes()).map_err(short)?;
        // Wipes the payload if it fails.
        let sealed = seal_in_place(
            self.suite,
            Label::Payload,
            self.dek,
            self.salt,
            &Aad::new(self.bound.context()),
            payload,
        )?;
        commitment.copy_from_slice(&sealed.commitment);
        tag.copy_from_slice(&sealed.tag);
        Sealed::envelope(bytes)
    }
}

/// A deciphered, padded secret; wiped unless it becomes a [`Plaintext`].
struct Secret(Vec<u8>);

impl Secret {
    /// The secret, if padding and length are what sealing writes.
    fn unpad(mut self) -> Option<Plaintext> {
        let (rest, length) = self.0.split_last_chunk::<LENGTH_LEN>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let padding = rest.get(length..)?;
        if padded_len(length).ok()? as usize != self.0.len()
            || padding.iter().fold(0, |sum, byte| sum | byte) != 0
        {
            return None;
        }
        self.0.truncate(length);
        Some(Plaintext::new(std::mem::take(&mut self.0)))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

fn wrap_part_len(reference: &[u8], wrapped: &[u8]) -> Result<usize, CredentialError> {
    for (what, limit, found) in [
        ("key reference bytes", KEY_REFERENCE_BYTES, reference.len()),
        ("wrapped key bytes", WRAPPED_KEY_BYTES, wrapped.len()),
    ] {
        if found > limit {
            return Err(CredentialError::limit(what, limit, found));
        }
    }
    Ok(2 + reference.len() + 2 + wrapped.len())
}

fn put_wrap_part(writer: &mut Writer<'_>, reference: &[u8], wrapped: &[u8]) -> Result<(), CredentialError> {
    for block in [reference, wrapped] {
        let length = u16::try_from(block.len()).map_err(|_| short(Malformed))?;
        writer.put(&length.to_be_bytes()).map_err(short)?;
        writer.put(block).map_err(short)?;
    }
    Ok(())
}

/// Collected from an iterator of known length: one allocation.
fn zeros(length: usize) -> Arc<[u8]> {
    std::iter::repeat_n(0, length).collect()
}

fn tampered(_: Malformed) -> CredentialError {
    CredentialError::Tampered
}

fn short(_: Malformed) -> CredentialError {
    CredentialError::internal("an envelope did not fit the buffer made for it")
}

fn shared() -> CredentialError {
    CredentialError::internal("a new envelope is shared already")
}
