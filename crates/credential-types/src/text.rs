//! Small checks and copies that several types share.

use nebula_credential_core::SecretString;

/// A secret of exactly the bytes of `text`: no spare capacity is left behind unwiped.
pub(crate) fn secret(text: &str) -> SecretString {
    Box::<str>::from(text).into()
}

/// Whether `text` can stand in one header line or URL: no white space, no control character.
pub(crate) fn is_unbroken(text: &str) -> bool {
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
