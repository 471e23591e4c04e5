//! What the benchmarks store, and where.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nebula_credential_core::{
    Clock as _, CredentialName, CredentialRef, Phase, Precondition, Put, Scope, Sealed, SystemClock,
    TenantId, Version, VersionHead, whole_micros,
};
use nebula_credential_crypto::KeyFile;
use tempfile::TempDir;

use crate::Result;

/// The address of the credential `number`.
///
/// # Errors
/// Never: the names are valid.
pub fn address(number: usize) -> Result<CredentialRef> {
    let name = CredentialName::new(format!("production-database-primary-{number:06}"))?;
    Ok(CredentialRef::new(TenantId::default(), Scope::default(), name))
}

/// Version `number` of a credential, stored now.
///
/// # Errors
/// For 0.
pub fn version(number: u32) -> Result<VersionHead> {
    Ok(VersionHead {
        version: Version::new(number).ok_or("versions begin at 1")?,
        credential_type: "api_key".into(),
        schema_version: 1,
        created_at: whole_micros(SystemClock.now()),
        expires_at: None,
    })
}

/// Stores version `number` of `id`, of which two are kept.
///
/// # Errors
/// For 0.
pub fn put(id: &CredentialRef, number: u32, envelope: &Sealed) -> Result<Put<Sealed>> {
    Ok(Put {
        id: id.clone(),
        version: version(number)?,
        phase: Phase::Active,
        tags: None,
        payload: envelope.clone(),
        precondition: Precondition::None,
        token: None,
        keep_versions: 2,
    })
}

/// An empty directory in `parent`, open to nobody else and removed on drop. Benchmarks give `CARGO_TARGET_TMPDIR`, below
/// the target directory: it lies on a disk where the system's own directory for such things may lie in memory.
///
/// # Errors
/// Those of the file system.
pub fn directory(parent: &str) -> Result<TempDir> {
    std::fs::create_dir_all(parent)?;
    let private = Permissions::from_mode(0o700);
    Ok(tempfile::Builder::new().permissions(private).tempdir_in(parent)?)
}

/// A new key file below `directory`.
///
/// # Errors
/// Those of the file system.
pub fn key_file(directory: &Path) -> Result<KeyFile> {
    Ok(KeyFile::create(directory.join("config").join("key"))?)
}
