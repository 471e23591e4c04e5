use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use nebula_credential_core::CredentialError;
use zeroize::Zeroizing;

use crate::error::{classify, show};

fn changed(path: &Path) -> CredentialError {
    CredentialError::storage(format!("{} changed while it was read; try again", show(path)))
}

/// Reads a file of `len` bytes into a buffer of exactly that size, which never moves.
pub(crate) fn read_all(
    mut file: File,
    len: u64,
    max: usize,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > max {
        return Err(CredentialError::limit("file bytes", max, len));
    }
    let mut bytes = Zeroizing::new(vec![0; len]);
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => changed(path),
        _ => classify(&error, "read", path),
    })?;
    let mut more = Zeroizing::new([0]);
    match file.read(more.as_mut_slice()) {
        Ok(0) => Ok(bytes),
        Ok(_) => Err(changed(path)),
        Err(error) => Err(classify(&error, "read", path)),
    }
}
