//! Small checks and copies that several types share.

use nebula_credential_core::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// A secret of exactly the bytes of `text`: no spare capacity is left behind unwiped.
pub(crate) fn secret(text: &str) -> SecretString {
    Box::<str>::from(text).into()
}

/// The value of an `Authorization` header that presents `token` (RFC 6750, 2.1). No copy of it is left behind.
pub(crate) fn bearer_header(token: &SecretString) -> Zeroizing<String> {
    let token = token.expose_secret();
    let mut header = Zeroizing::new(String::with_capacity("Bearer ".len() + token.len()));
    header.push_str("Bearer ");
    header.push_str(token);
    header
}

/// Whether `text` can stand in one header line or URL: no white space, no control character.
pub(crate) fn is_unbroken(text: &str) -> bool {
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
