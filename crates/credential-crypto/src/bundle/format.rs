//! The bytes of a sealed bundle. `FORMAT.md` is their specification.
//!
//! ```text
//! header    magic 8 | version 1 | suite 2 | flags 2 | kind 1
//! key       params 2+n | wrapped bundle key 2+m             by the protector, over the header and params
//! contents  length 4 | salt 32 | commitment 32 | ciphertext | tag 16     under the bundle key, over all before the salt
//! check     BLAKE3 of all before, 32: damage is told from another key
//! ```

use nebula_credential_core::{CredentialError, DataKey, KEY_REFERENCE_BYTES, Plaintext, WRAPPED_KEY_BYTES};
use nebula_credential_memory::{LockedKey, scrub_stack};
use zeroize::Zeroizing;

use super::{BUNDLE_BYTES_MAX, Bundle, contents};
use crate::bytes::{Malformed, Reader, put_block};
use crate::head::{CHECK_LEN, Head, put_check};
use crate::primitive::{Aad, COMMITMENT_LEN, Label, SALT_LEN, TAG_LEN, open_in_place, seal_in_place};
use crate::protector::{Protector, SlotContext, SlotKind, WrappedRoot, check_params};
use crate::random::{Fresh, HedgeKey};
use crate::wrap::WRAP_LEN;
use crate::{Entropy, Suite};

/// Its magic is in the manner of [`ENVELOPE_MAGIC`](nebula_credential_core::ENVELOPE_MAGIC).
const HEAD: Head = Head {
    what: "bundle",
    magic: [0x89, b'N', b'B', b'X', b'\r', b'\n', 0x1a, b'\n'],
    version: 1,
    damaged,
};
/// The part of the magic that no transfer as text changes.
const MARK: [u8; 4] = [0x89, b'N', b'B', b'X'];
/// Head and kind: of fixed length, so that the parameters may follow it.
const HEADER_LEN: usize = Head::LEN + 1;
/// Most bytes beside the padded contents.
const OVERHEAD_MAX: usize = HEADER_LEN
    + (2 + KEY_REFERENCE_BYTES)
    + (2 + WRAPPED_KEY_BYTES)
    + 4
    + (SALT_LEN + COMMITMENT_LEN + TAG_LEN)
    + CHECK_LEN;

fn header(suite: Suite, kind: SlotKind) -> SlotContext {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    HEAD.write(suite, &mut bytes);
    bytes.push(kind.id());
    SlotContext { suite, bytes }
}

pub(super) fn seal(
    bundle: &Bundle,
    suite: Suite,
    entropy: &dyn Entropy,
    protector: &dyn Protector,
) -> Result<Vec<u8>, CredentialError> {
    let padded = contents::len(bundle).next_multiple_of(contents::BUCKET);
    let found = padded.saturating_add(OVERHEAD_MAX);
    if found > BUNDLE_BYTES_MAX {
        return Err(CredentialError::limit("bundle bytes", BUNDLE_BYTES_MAX, found));
    }
    let sealed = seal_padded(bundle, padded, suite, entropy, protector);
    scrub_stack();
    sealed
}

fn seal_padded(
    bundle: &Bundle,
    padded: usize,
    suite: Suite,
    entropy: &dyn Entropy,
    protector: &dyn Protector,
) -> Result<Vec<u8>, CredentialError> {
    let key = LockedKey::init(|key| entropy.fill(key))?;
    let context = header(suite, protector.kind());
    let wrapped = protector.wrap(&DataKey::take(&mut { *key.expose() }), &context, entropy)?;
    wrapped.check_lengths()?;

    // Until it is sealed, what lies in it is wiped if anything fails. It is long enough never to move.
    let mut out = Zeroizing::new(Vec::with_capacity(OVERHEAD_MAX + padded));
    out.extend_from_slice(&context.bytes);
    put_block(&mut out, &wrapped.params).map_err(misfit)?;
    put_block(&mut out, &wrapped.bytes).map_err(misfit)?;
    let length = u32::try_from(padded).map_err(|_| misfit(Malformed))?;
    out.extend_from_slice(&length.to_be_bytes());
    let bound = out.len();
    out.resize(bound + SALT_LEN + COMMITMENT_LEN + padded, 0);

    let (bound, rest) = out.split_at_mut(bound);
    let (salt, rest) = rest.split_first_chunk_mut().ok_or_else(|| misfit(Malformed))?;
    let (commitment, plain) = rest.split_first_chunk_mut().ok_or_else(|| misfit(Malformed))?;
    contents::write(bundle, plain).map_err(misfit)?;
    // Should the source repeat itself, the bundle key repeats, and the salt must not: it is hedged with the contents.
    let mut fresh = Fresh::empty();
    HedgeKey::derive(key.expose())?.draw(entropy, bound, plain, &mut fresh)?;
    *salt = fresh.salt;
    let sealed = seal_in_place(suite, Label::Bundle, key.expose(), salt, &Aad::new(bound), plain)?;
    *commitment = sealed.commitment;
    out.extend_from_slice(&sealed.tag);
    put_check(&mut out);
    Ok(std::mem::take(&mut out))
}

/// A bundle's bytes, in parts, not yet believed.
struct Encoded<'a> {
    suite: Suite,
    kind: SlotKind,
    wrapped: WrappedRoot,
    /// Everything before the salt.
    bound: &'a [u8],
    salt: &'a [u8; SALT_LEN],
    commitment: &'a [u8; COMMITMENT_LEN],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Encoded<'a> {
    /// Takes the bytes apart. There is one way to write a bundle; anything else is refused before any key derivation.
    fn parse(bytes: &'a [u8]) -> Result<Self, CredentialError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(CredentialError::limit(
                "bundle bytes",
                BUNDLE_BYTES_MAX,
                bytes.len(),
            ));
        }
        if !is_sealed(bytes) {
            return Err(CredentialError::unsupported_format(
                "this is no bundle; give the bytes of one, as they were exported",
            ));
        }
        if !bytes.starts_with(&HEAD.magic) {
            return Err(CredentialError::decryption_failed(
                "the bundle was cut or copied as text; copy it again as it is, byte for byte",
            ));
        }
        let (suite, body, reader) = HEAD.checked(bytes)?;
        let parts = Self::fields(body, suite, reader).map_err(|_| damaged())?;
        check_params(parts.kind, &parts.wrapped.params).map_err(|error| match error {
            CredentialError::Tampered => damaged(),
            CredentialError::Validation(_) => CredentialError::validation(
                "the Argon2 parameters of the bundle are below the floor; have it made again by this library",
            ),
            other => other,
        })?;
        Ok(parts)
    }

    fn fields(body: &'a [u8], suite: Suite, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let kind = SlotKind::from_id(reader.u8()?).ok_or(Malformed)?;
        let params = reader.block(KEY_REFERENCE_BYTES)?;
        let wrapped = reader.block(WRAPPED_KEY_BYTES)?;
        if kind != SlotKind::Provider && wrapped.len() != WRAP_LEN {
            return Err(Malformed);
        }
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
        if length == 0 || !length.is_multiple_of(contents::BUCKET) {
            return Err(Malformed);
        }
        let bound = body.get(..body.len() - reader.remaining()).ok_or(Malformed)?;
        let (salt, commitment) = (reader.array()?, reader.array()?);
        let (ciphertext, tag) = (reader.take(length)?, reader.array()?);
        reader.finish()?;
        Ok(Self {
            suite,
            kind,
            wrapped: WrappedRoot {
                params: params.to_vec(),
                bytes: wrapped.to_vec(),
            },
            bound,
            salt,
            commitment,
            ciphertext,
            tag,
        })
    }

    /// The bundle key, if `protector` is what the bundle was sealed for.
    fn unwrap(&self, protector: &dyn Protector) -> Result<DataKey, CredentialError> {
        let kind = protector.kind();
        if kind != self.kind {
            return Err(CredentialError::unlock_failed(format!(
                "the bundle opens with a {}, and a {} was given; give what it was exported for",
                self.kind.as_str(),
                kind.as_str()
            )));
        }
        match protector.unwrap(&self.wrapped, &header(self.suite, kind)) {
            Err(CredentialError::Tampered) => Err(another_key(kind)),
            Err(CredentialError::KeyNotFound(_)) if kind == SlotKind::Provider => Err(another_key(kind)),
            answer => answer,
        }
    }

    fn decipher(&self, key: &DataKey) -> Result<Bundle, CredentialError> {
        let mut plain = self.ciphertext.to_vec();
        open_in_place(
            self.suite,
            Label::Bundle,
            key.expose(),
            self.salt,
            self.commitment,
            &Aad::new(self.bound),
            &mut plain,
            self.tag,
        )
        .map_err(|_| damaged())?;
        let plain = Plaintext::new(plain);
        contents::read(plain.expose()).map_err(|_| damaged())
    }
}

pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MARK)
}

pub(super) fn opened_by(bytes: &[u8]) -> Result<SlotKind, CredentialError> {
    Encoded::parse(bytes).map(|encoded| encoded.kind)
}

pub(super) fn open(bytes: &[u8], protector: &dyn Protector) -> Result<Bundle, CredentialError> {
    let encoded = Encoded::parse(bytes)?;
    let bundle = encoded.unwrap(protector).and_then(|key| encoded.decipher(&key));
    scrub_stack();
    bundle
}

fn another_key(kind: SlotKind) -> CredentialError {
    CredentialError::unlock_failed(match kind {
        SlotKind::Passphrase => {
            "the passphrase is not the one the bundle was exported for; check it, its keyboard layout and trailing \
             spaces"
        }
        SlotKind::KeyFile => {
            "the bundle was exported for another key file; give that one, or have it exported for this one"
        }
        SlotKind::PassphraseAndKeyFile => {
            "the passphrase or the key file is not what the bundle was exported for; check both"
        }
        SlotKind::Provider => {
            "the bundle was exported for another key of a key provider; check which key it uses"
        }
    })
}

fn damaged() -> CredentialError {
    CredentialError::decryption_failed("the bundle is damaged or was altered; copy or export it again")
}

fn misfit(_: Malformed) -> CredentialError {
    CredentialError::internal("a bundle did not fit the buffer made for it")
}
