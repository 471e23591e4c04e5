//! A key sealed under another key: the root key in a slot, a data key in an envelope.

use nebula_credential_core::CredentialError;

use crate::Suite;
use crate::bytes::{Malformed, Reader, Writer};
use crate::primitive::{
    Aad, COMMITMENT_LEN, KEY_LEN, Label, SALT_LEN, TAG_LEN, open_in_place, seal_in_place,
};

/// Bytes of a wrapped key: salt, commitment, ciphertext, tag.
pub(crate) const WRAP_LEN: usize = SALT_LEN + COMMITMENT_LEN + KEY_LEN + TAG_LEN;

/// Seals `plain` under `key`. `salt` must never be used again with this `key` and `label`.
///
/// # Errors
/// Those of [`seal_in_place`].
// Inlined: the call, and the move of what it returns, are 2 % of the seal of a short secret.
#[inline]
pub(crate) fn wrap_key(
    suite: Suite,
    label: Label,
    key: &[u8; KEY_LEN],
    salt: &[u8; SALT_LEN],
    aad: &Aad<'_>,
    plain: &[u8; KEY_LEN],
) -> Result<[u8; WRAP_LEN], CredentialError> {
    let mut ciphertext = *plain;
    let sealed = seal_in_place(suite, label, key, salt, aad, &mut ciphertext)?;
    let mut wrapped = [0; WRAP_LEN];
    let mut writer = Writer::new(&mut wrapped);
    writer
        .array(salt)
        .and_then(|()| writer.array(&sealed.commitment))
        .and_then(|()| writer.array(&ciphertext))
        .and_then(|()| writer.array(&sealed.tag))
        .map_err(|_| CredentialError::internal("a wrapped key did not fit the buffer made for it"))?;
    Ok(wrapped)
}

/// Opens what [`wrap_key`] made into `out`, which holds zeros or a ciphertext after an error.
///
/// # Errors
/// [`CredentialError::Tampered`], whatever the reason.
#[inline]
pub(crate) fn unwrap_key(
    suite: Suite,
    label: Label,
    key: &[u8; KEY_LEN],
    wrapped: &[u8],
    aad: &Aad<'_>,
    out: &mut [u8; KEY_LEN],
) -> Result<(), CredentialError> {
    let mut reader = Reader::new(wrapped);
    let mut fields = || -> Result<_, Malformed> {
        let fields = (reader.array()?, reader.array()?, reader.array()?, reader.array()?);
        reader.finish().map(|()| fields)
    };
    let (salt, commitment, ciphertext, tag) = fields().map_err(|_| CredentialError::Tampered)?;
    *out = *ciphertext;
    open_in_place(suite, label, key, salt, commitment, aad, out, tag)
}
