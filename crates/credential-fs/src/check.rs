//! What makes a file or directory private.

use std::path::Path;

use nebula_credential_core::CredentialError;
use rustix::fs::{FileType, Mode, Stat};
use rustix::process::geteuid;

use crate::error::show;

/// The mode of every file made here: read and write for the owner.
pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The mode of every directory made here: all for the owner.
pub(crate) const DIR_MODE: Mode = Mode::RWXU;

const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);

/// What [`PrivateDir::check_file`](crate::PrivateDir::check_file) found.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// Size in bytes.
    pub len: u64,
}

/// Which files pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Written by this crate: no mode bit beyond 0600 and no second name.
    Ours,
    /// Written by the user: no bit for group or others.
    Users,
}

pub(crate) fn symlink(path: &Path) -> CredentialError {
    CredentialError::insecure_storage(format!(
        "{} is a symbolic link; give the path it points to, or put the real file there",
        show(path)
    ))
}

pub(crate) fn not_regular(path: &Path) -> CredentialError {
    CredentialError::insecure_storage(format!(
        "{} is not a regular file; remove it, or give the path of a regular file",
        show(path)
    ))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode)
}

fn owner(stat: &Stat, path: &Path) -> Result<(), CredentialError> {
    let us = geteuid().as_raw();
    if stat.st_uid == us {
        return Ok(());
    }
    let path = show(path);
    Err(CredentialError::insecure_storage(format!(
        "{path} belongs to user id {}, and this process runs as {us}; run it as that user, or `chown {us} {path}`",
        stat.st_uid
    )))
}

/// A regular file of this user that nobody else can open.
pub(crate) fn file(stat: &Stat, path: &Path, rule: Rule) -> Result<FileInfo, CredentialError> {
    match kind(stat) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(symlink(path)),
        _ => return Err(not_regular(path)),
    }
    owner(stat, path)?;
    let refused = match rule {
        Rule::Ours => FILE_MODE.complement(),
        Rule::Users => OTHERS,
    };
    if mode(stat).intersects(refused) {
        let path = show(path);
        return Err(CredentialError::insecure_storage(format!(
            "{path} has mode {:04o}, wider than 0600; run `chmod 600 {path}`, and replace what it holds if others may have read it",
            mode(stat).bits()
        )));
    }
    // Zero names is a file that was replaced after it was opened: its content is still whole.
    if rule == Rule::Ours && stat.st_nlink > 1 {
        return Err(CredentialError::insecure_storage(format!(
            "{} has another name elsewhere (hard link); find it with `find -samefile` and remove it",
            show(path)
        )));
    }
    Ok(FileInfo {
        len: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
    })
}

fn trusted_owner(stat: &Stat, path: &Path) -> Result<(), CredentialError> {
    let us = geteuid().as_raw();
    if stat.st_uid == us || stat.st_uid == 0 {
        return Ok(());
    }
    let path = show(path);
    Err(CredentialError::insecure_storage(format!(
        "{path} belongs to user id {}, who can change it, and this process runs as {us}; run `chown {us} {path}`",
        stat.st_uid
    )))
}

/// A symbolic link that nobody but this user and root can have put there.
pub(crate) fn trusted_link(stat: &Stat, path: &Path) -> Result<(), CredentialError> {
    trusted_owner(stat, path)
}

/// A regular file that nobody but this user and root can change.
pub(crate) fn trusted_file(stat: &Stat, path: &Path) -> Result<FileInfo, CredentialError> {
    match kind(stat) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(symlink(path)),
        _ => return Err(not_regular(path)),
    }
    trusted_owner(stat, path)?;
    if mode(stat).intersects(Mode::WGRP | Mode::WOTH) {
        let path = show(path);
        return Err(CredentialError::insecure_storage(format!(
            "{path} has mode {:04o}: it can be written by others; run `chmod go-w {path}`, and look at what it holds",
            mode(stat).bits()
        )));
    }
    Ok(FileInfo {
        len: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
    })
}

/// A directory of this user that nobody else can look into.
pub(crate) fn directory(stat: &Stat, path: &Path) -> Result<(), CredentialError> {
    match kind(stat) {
        FileType::Directory => {}
        FileType::Symlink => {
            return Err(CredentialError::insecure_storage(format!(
                "{} is a symbolic link; give the path of the directory itself",
                show(path)
            )));
        }
        _ => {
            return Err(CredentialError::insecure_storage(format!(
                "{} is not a directory; give the path of a directory, or of one that does not exist yet",
                show(path)
            )));
        }
    }
    owner(stat, path)?;
    if mode(stat).intersects(OTHERS) {
        let path = show(path);
        return Err(CredentialError::insecure_storage(format!(
            "{path} has mode {:04o}: it is open to group or others; run `chmod 700 {path}`",
            mode(stat).bits()
        )));
    }
    Ok(())
}

/// A directory on the way: others may add to it only if the sticky bit keeps them from renaming
/// what is not theirs.
pub(crate) fn ancestor(stat: &Stat, path: &Path) -> Result<(), CredentialError> {
    let mode = mode(stat);
    if mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX) {
        let path = show(path);
        return Err(CredentialError::insecure_storage(format!(
            "{path} has mode {:04o}: other users can swap what lies in it; run `chmod go-w {path}`, or choose another place",
            mode.bits()
        )));
    }
    Ok(())
}
