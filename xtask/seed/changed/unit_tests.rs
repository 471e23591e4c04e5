//! The two tests that do not need a token endpoint, as statements.
use nebula_credential::crypto::CredentialEncryption;
use nebula_credential::prelude::*;

fn redaction(credential: &PostgresCredential) {
    let redacted = credential.redact();
    assert_eq!(redacted.username, "[REDACTED]");
    assert_eq!(redacted.password, "[REDACTED]");
    assert_eq!(redacted.host, "localhost");
}

fn round_trip() -> Result<(), CredentialError> {
    let encryption = CredentialEncryption::new(&[0; 32]);
    let original = b"sensitive_data";
    let encrypted = encryption.encrypt(original)?;
    let decrypted = encryption.decrypt(&encrypted)?;
    assert_eq!(original, decrypted.as_slice());
    assert_ne!(encrypted, original);
    Ok(())
}
