//! Owners and modes, and what each file gives away.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::findings::OF_FILES;
use super::{Counts, Exposure, Findings, Severity, shown};
use crate::exit::Exit;
use crate::settings::{PassphraseFrom, Settings};
use crate::unlock::KEY_RING;

const DATABASE: &str =
    "names, types, tags, sizes and times of everything; no value without what unlocks the key ring";
const RING: &str = "how many ways there are to open it and of which kind; with a copy of the store, a passphrase can be \
                    guessed at the pace of Argon2id, and a key file cannot";
const KEY_FILE: &str = "nothing by itself; everything, together with a copy of the store";
const PASSPHRASE: &str = "the passphrase; everything, together with a copy of the store";
const SHARED: &str = "how much was written lately";
const COUNTERS: &str = "how often values changed over time";
const LOCK: &str = "nothing: only its lock is used";
const CONFIG: &str = "where the stores and what unlocks them are";

/// Mode bits that let anybody but the owner in.
const OTHERS: u32 = 0o077;
/// Mode bits that the files of a store have no use for.
const BEYOND_FILE: u32 = 0o7177;

/// Looks at every file the settings name, and at the store's own.
pub(super) fn check(settings: &Settings, findings: &mut Findings, checked: &mut Counts) -> Vec<Exposure> {
    let mut exposure = Vec::new();
    let store = &settings.store;
    if private(store, OTHERS, findings, checked) {
        for name in listed(store, findings) {
            let path = store.join(&name);
            let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
            private(
                &path,
                if is_file { BEYOND_FILE } else { OTHERS },
                findings,
                checked,
            );
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                findings.add(
                    Severity::Info,
                    "store.leftover",
                    shown(&path),
                    "an interrupted write left this file behind",
                    "remove it while nothing uses the store",
                );
            }
            let reveals = match &*name {
                "store.db" | "store.db-wal" | "store.db-journal" => DATABASE,
                "store.db-shm" => SHARED,
                "changes" => COUNTERS,
                "keyring.lock" | "turn.lock" | "writer.lock" => LOCK,
                KEY_RING => RING,
                _ => {
                    stray(&path, settings, findings);
                    continue;
                }
            };
            exposure.push(Exposure {
                file: shown(&path),
                reveals,
            });
        }
    }
    parents(store, findings);
    writable(store, findings);
    let passphrase = match &settings.unlock.passphrase {
        Some(PassphraseFrom::File(path)) => Some(path),
        _ => None,
    };
    for path in settings.unlock.key_file.iter().chain(passphrase) {
        if !private(path, OTHERS, findings, checked) {
            continue;
        }
        let is_key = settings.unlock.key_file.as_ref() == Some(path);
        exposure.push(Exposure {
            file: shown(path),
            reveals: if is_key { KEY_FILE } else { PASSPHRASE },
        });
        if lies_in(path, store) {
            findings.error(
                Exit::Denied,
                "key.place",
                shown(path),
                "it lies beside the data it protects: a copy of the directory has both",
                "move it to a directory that is not copied with the store, and name it there",
            );
        }
    }
    if let Some(path) = &settings.config {
        checked.files += 1;
        exposure.push(Exposure {
            file: shown(path),
            reveals: CONFIG,
        });
    }
    exposure
}

/// The names in the directory of the store, sorted. Reports it if they cannot be had: files that nobody looked at are
/// not files in order.
fn listed(directory: &Path, findings: &mut Findings) -> Vec<OsString> {
    let names = std::fs::read_dir(directory).and_then(|entries| {
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        names.collect::<std::io::Result<Vec<_>>>()
    });
    let Ok(mut names) = names else {
        findings.error(
            Exit::Other,
            "files.read",
            shown(directory),
            "it cannot be listed, so the files in it were not looked at",
            "check the disk, and that you may read the directory",
        );
        findings.unchecked(OF_FILES, "the directory cannot be listed");
        return Vec::new();
    };
    names.sort();
    names
}

/// Whether there is something at `path`. Reports it if others may read or change it.
fn private(path: &Path, refused: u32, findings: &mut Findings, checked: &mut Counts) -> bool {
    let Ok(metadata) = path.symlink_metadata() else {
        return false;
    };
    checked.files += 1;
    let at = shown(path);
    if metadata.is_symlink() {
        findings.error(
            Exit::Denied,
            "files.link",
            &at,
            "it is a symbolic link, which someone else may lead elsewhere",
            "put the file itself there, or name where it lies",
        );
        return true;
    }
    if !metadata.is_file() && !metadata.is_dir() {
        findings.error(
            Exit::Denied,
            "files.kind",
            &at,
            "it is neither a file nor a directory",
            "remove it, and restore the file from a backup",
        );
        return true;
    }
    owner(&at, &metadata, findings);
    if metadata.mode() & refused != 0 {
        let right = if metadata.is_dir() { "700" } else { "600" };
        findings.error(
            Exit::Denied,
            "files.mode",
            &at,
            format!("its mode {:o} is wider than {right}", metadata.mode() & 0o7777),
            format!("chmod {right} {at}; replace what it holds if others may have read it"),
        );
    }
    if metadata.is_file() && metadata.nlink() > 1 {
        findings.error(
            Exit::Denied,
            "files.names",
            &at,
            "it has another name (a hard link), by which it may be reached",
            format!("find the other with `find / -samefile {at}` and remove it"),
        );
    }
    true
}

/// A file that no store has. What unlocks the store has a finding of its own there.
fn stray(path: &Path, settings: &Settings, findings: &mut Findings) {
    let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
    let is_leftover = name.starts_with('.') && name.ends_with(".tmp");
    let passphrase = match &settings.unlock.passphrase {
        Some(PassphraseFrom::File(path)) => Some(path),
        _ => None,
    };
    let mut keys = settings.unlock.key_file.iter().chain(passphrase);
    let is_key = keys.any(|key| {
        key.canonicalize()
            .is_ok_and(|key| path.canonicalize().is_ok_and(|path| key.starts_with(path)))
    });
    if !is_leftover && !is_key {
        findings.add(
            Severity::Warning,
            "files.stray",
            shown(path),
            "no store has a file of this name; it may be a copy of secrets",
            "look at it, and move it away",
        );
    }
}

/// Whether the file, or what it links to, is in the directory or below it.
fn lies_in(path: &Path, directory: &Path) -> bool {
    let Ok(directory) = directory.canonicalize() else {
        return false;
    };
    let parent = path.parent().map(|parent| match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    });
    let mut places = [parent, Some(path)].into_iter().flatten();
    places.any(|place| {
        place
            .canonicalize()
            .is_ok_and(|place| place.starts_with(&directory))
    })
}

/// Who may write to a directory above can put another one in the place of the store.
fn parents(store: &Path, findings: &mut Findings) {
    const STICKY: u32 = 0o1000;
    let Ok(real) = store.canonicalize() else { return };
    for above in real.ancestors().skip(1) {
        let Ok(metadata) = above.metadata() else { continue };
        let mode = metadata.mode();
        if mode & 0o022 != 0 && mode & STICKY == 0 {
            findings.error(
                Exit::Denied,
                "files.parents",
                shown(above),
                format!("its mode {:o} lets others swap what lies in it", mode & 0o7777),
                format!("chmod go-w {}, or move the store", shown(above)),
            );
        }
    }
}

/// Whether anything can be stored.
fn writable(store: &Path, findings: &mut Findings) {
    use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
    let Ok(volume) = statvfs(store) else { return };
    if volume.f_flag.contains(StatVfsMountFlags::RDONLY) || access(store, Access::WRITE_OK).is_err() {
        findings.error(
            Exit::Other,
            "store.read_only",
            shown(store),
            "nothing can be written there",
            "remount the file system writable, or give the owner the right to write",
        );
    }
}

fn owner(at: &str, metadata: &Metadata, findings: &mut Findings) {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        findings.error(
            Exit::Denied,
            "files.owner",
            at,
            format!(
                "it belongs to user {}, not to user {user} who runs this",
                metadata.uid()
            ),
            format!("run as that user, or chown {user} {at}"),
        );
    }
}
