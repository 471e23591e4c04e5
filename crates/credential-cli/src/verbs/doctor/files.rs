//! Owners and modes, and what each file gives away.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Counts, Exposure, Findings, Severity, shown};
use crate::exit::Exit;
use crate::settings::{PassphraseFrom, Settings};
use crate::unlock::KEY_RING;

const DATABASE: &str =
    "names, types, tags, sizes and times of everything; no value without what unlocks the key ring";
const RING: &str = "how many ways there are to open it and of which kind; with a copy of the store, a passphrase can be \
                    guessed at the pace of Argon2id, and a key file cannot";
const KEY_FILE: &str = "nothing by itself; everything, together with a copy of the store";
const CONFIG: &str = "where the stores and what unlocks them are";

/// Looks at every file the settings name, and at the store's own.
pub(super) fn check(settings: &Settings, findings: &mut Findings, checked: &mut Counts) -> Vec<Exposure> {
    let mut exposure = Vec::new();
    let store = &settings.store;
    if private(store, findings, checked) {
        let entries = std::fs::read_dir(store)
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            let path = store.join(&name);
            private(&path, findings, checked);
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
                "store.db" | "store.db-wal" => DATABASE,
                KEY_RING => RING,
                _ => continue,
            };
            exposure.push(Exposure {
                file: shown(&path),
                reveals,
            });
        }
    }
    let passphrase = match &settings.unlock.passphrase {
        Some(PassphraseFrom::File(path)) => Some(path),
        _ => None,
    };
    for path in settings.unlock.key_file.iter().chain(passphrase) {
        if !private(path, findings, checked) {
            continue;
        }
        exposure.push(Exposure {
            file: shown(path),
            reveals: KEY_FILE,
        });
        let folder = |path: &Path| path.canonicalize().ok();
        if path
            .parent()
            .and_then(folder)
            .is_some_and(|parent| folder(store) == Some(parent))
        {
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

/// Whether there is something at `path`. Reports it if others may read or change it.
fn private(path: &Path, findings: &mut Findings, checked: &mut Counts) -> bool {
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
    owner(&at, &metadata, findings);
    let open = metadata.mode() & 0o077;
    if open != 0 {
        findings.error(
            Exit::Denied,
            "files.mode",
            &at,
            format!("its mode {:o} is open to others", metadata.mode() & 0o777),
            format!("chmod go= {at}"),
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
