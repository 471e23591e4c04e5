//! The same constructors and methods.
use nebula_credential::crypto::CredentialEncryption;
use nebula_credential::prelude::*;

fn usage<C: Credential>(credential: &C) -> Result<C, CredentialError> {
    let encryption = CredentialEncryption::new(&[7; 32]);
    let sealed: Vec<u8> = encryption.encrypt(b"data")?;
    let _: Vec<u8> = encryption.decrypt(&sealed)?;
    let encryption = CredentialEncryption::from_password("a long passphrase", &[7; 16])?;
    let text: String = encryption.encrypt_credential(credential)?;
    encryption.decrypt_credential(&text)
}
