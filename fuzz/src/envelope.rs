//! Any bytes as an envelope or a message: only what was sealed opens.

use nebula_credential_core::{ErrorKind, ExposeSecret as _, Sealed};
use nebula_credential_crypto::Suite;
use nebula_credential_types::SecretTextCredential;

use crate::golden::{CREDENTIAL, ENVELOPES, MESSAGES, Row, SHORT, encryption, rotated, sealer};

/// Opens `data` as an envelope under every golden ring, and as a message and a credential of `CredentialEncryption`.
///
/// A forged envelope cannot be found by chance. What can be found is a panic, an allocation out of proportion (the
/// run caps every single one), and a second way to write an envelope that was sealed.
pub fn envelope_decode(data: &[u8]) {
    open_envelope(data);
    open_message(data);
    if let Ok(text) = std::str::from_utf8(data) {
        open_credential(text);
    }
}

fn open_envelope(data: &[u8]) {
    let sealed = match Sealed::envelope(data) {
        Ok(sealed) => sealed,
        Err(error) => {
            let known = [ErrorKind::UnsupportedFormat, ErrorKind::LimitExceeded];
            return assert!(known.contains(&error.kind()), "{error}");
        }
    };
    let row = Row::golden();
    let golden = ENVELOPES.iter().find(|(bytes, _)| *bytes == data);
    let mut opened = 0;
    for sealer in [
        sealer(Suite::Blake3Aes256Gcm),
        sealer(Suite::HkdfSha512Aes256Gcm),
        rotated(),
    ] {
        match sealer.open(row.place(), &sealed) {
            Ok(secret) => {
                let (_, expected) = golden.expect("only what was sealed opens");
                assert_eq!(secret.expose(), *expected);
                assert!(sealer.epoch_of(&sealed).is_ok_and(|epoch| epoch.is_some()));
                opened += 1;
            }
            Err(error) => assert!(refuses(error.kind()), "{error}"),
        }
        if let Err(error) = sealer.epoch_of(&sealed) {
            assert!(refuses(error.kind()), "{error}");
        }
        // What moves to a newer key still opens; what cannot be opened cannot be moved.
        match sealer.rewrap(row.place(), &sealed) {
            Ok(Some(rewrapped)) => {
                let secret = sealer.open(row.place(), &rewrapped);
                assert_eq!(secret.is_ok(), golden.is_some());
                assert_ne!(rewrapped.as_envelope(), Some(data));
            }
            Ok(None) => {}
            Err(error) => assert!(refuses(error.kind()), "{error}"),
        }
    }
    assert_eq!(opened > 0, golden.is_some());
}

/// The kinds of error that an envelope of a stranger may end in: tampered, newer, or another ring's.
pub(crate) fn refuses(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Tampered | ErrorKind::UnsupportedFormat | ErrorKind::Key | ErrorKind::LimitExceeded
    )
}

fn open_message(data: &[u8]) {
    let golden = MESSAGES.iter().find(|(bytes, _)| *bytes == data);
    match encryption().decrypt_secret(data) {
        Ok(secret) => assert_eq!(Some(secret.expose()), golden.map(|(_, expected)| *expected)),
        Err(error) => {
            assert!(golden.is_none(), "{error}");
            let is_known = refuses(error.kind()) || error.kind() == ErrorKind::TypeMismatch;
            assert!(is_known, "{error}");
        }
    }
}

fn open_credential(text: &str) {
    let opened = encryption().decrypt_credential::<SecretTextCredential>(text);
    // Base64 has no second way to write the same either.
    assert_eq!(opened.is_ok(), text.as_bytes() == CREDENTIAL);
    match opened {
        Ok(credential) => assert_eq!(credential.text.expose_secret().as_bytes(), SHORT),
        Err(error) => {
            let others = [ErrorKind::InvalidInput, ErrorKind::TypeMismatch];
            assert!(refuses(error.kind()) || others.contains(&error.kind()), "{error}");
        }
    }
}
