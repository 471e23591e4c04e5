//! What lies beside a log.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nebula_credential_core::CredentialError;

use crate::unavailable;

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Where the writer keeps what it needs to go on.
pub(crate) fn state(path: &Path) -> PathBuf {
    beside(path, ".state")
}

/// Where the seed is put once, to be taken away.
pub(crate) fn seed(path: &Path) -> PathBuf {
    beside(path, ".seed")
}

/// Where checkpoints go if nowhere else.
pub(crate) fn checkpoints(path: &Path) -> PathBuf {
    beside(path, ".checkpoints")
}

/// The checkpoints of the log at `path`, in `elsewhere` if they are put there. Beside the log there need be none.
pub(crate) fn notes(path: &Path, elsewhere: Option<&Path>) -> Result<Vec<u8>, CredentialError> {
    let beside = checkpoints(path);
    match std::fs::read(elsewhere.unwrap_or(&beside)) {
        Ok(notes) => Ok(notes),
        Err(error) if error.kind() == ErrorKind::NotFound && elsewhere.is_none() => Ok(Vec::new()),
        Err(_) => Err(unavailable(
            "the checkpoints of the log cannot be read; check their path",
        )),
    }
}

/// The name a file is completed under: `audit.log.000001` and so on.
pub(crate) fn completed(path: &Path, number: u64) -> PathBuf {
    beside(path, &format!(".{number:06}"))
}

/// The completed files, the oldest first.
pub(crate) fn all_completed(path: &Path) -> Result<Vec<(u64, PathBuf)>, CredentialError> {
    let refused = |_| unavailable("the directory of the log cannot be read");
    let Some(name) = path.file_name() else {
        return Err(unavailable("the log has no file name"));
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory(path)).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix))
            .filter(|digits| digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a log, the oldest first.
pub(crate) fn all(path: &Path) -> Result<Vec<PathBuf>, CredentialError> {
    let mut found: Vec<_> = all_completed(path)?.into_iter().map(|(_, file)| file).collect();
    if path.exists() {
        found.push(path.to_owned());
    }
    if found.is_empty() {
        return Err(none());
    }
    Ok(found)
}

pub(crate) fn none() -> CredentialError {
    unavailable("there is no audit log; check the path")
}

/// Whether there is a log already.
pub(crate) fn exist(path: &Path) -> Result<bool, CredentialError> {
    let present = std::fs::symlink_metadata(path).is_ok_and(|found| found.len() > 0);
    Ok(present || !all_completed(path)?.is_empty())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes names in the directory of the log durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), CredentialError> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(|_| unavailable("the directory of the log cannot be synced"))
}
