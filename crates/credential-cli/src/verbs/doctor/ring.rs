//! The key ring: whether it is whole, what opens it, and how old its key is.

use std::fs::File;
use std::path::Path;

use chrono::{DateTime, Utc};
use nebula_credential::crypto::{EpochState, KeyFile, KeyRing, KeyRingFile, Protector, RING_BYTES_MAX};
use nebula_credential::{CredentialError, ErrorKind};

use super::super::view::time;
use super::{Facts, Findings, Severity, shown};
use crate::exit::{Exit, Failure};
use crate::input;
use crate::settings::Settings;
use crate::unlock::{self, KEY_RING};

/// The ring in the directory `store`, if it opens. What opens it is looked at even if there is nothing to open.
pub(super) fn open(settings: &Settings, store: &Path, findings: &mut Findings) -> Option<KeyRing> {
    let path = store.join(KEY_RING);
    let bytes = read(&path, findings).filter(|bytes| is_whole(bytes, &path, findings));
    let protector = match unlock::protector(&settings.unlock) {
        Ok(protector) => protector,
        // Each file that is refused has been named.
        Err(failure)
            if failure.exit == Exit::Denied && findings.has_error(|check| check.starts_with("files.")) =>
        {
            findings.unchecked(
                &["key.unlock"],
                "what unlocks the key ring is refused as it lies there",
            );
            return None;
        }
        Err(failure) => {
            findings.failed("key.unlock", shown(&path), failure);
            return None;
        }
    };
    let Some(bytes) = bytes else {
        findings.unchecked(&["key.unlock"], "there is no whole key ring to open");
        return None;
    };
    unlock(&*protector, store, &bytes, findings)
}

/// The bytes of the ring; they are not secret.
fn read(path: &Path, findings: &mut Findings) -> Option<Vec<u8>> {
    if unlock::is_missing(path) {
        findings.error(
            Exit::Locked,
            "key.ring",
            shown(path),
            "there is no key ring",
            "restore the file `keyring` from a backup; for a new, empty store run `ncred init`",
        );
        return None;
    }
    // Opening a pipe would wait for a writer.
    if !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
        findings.unchecked(&["key.ring"], "it is no regular file");
        return None;
    }
    match File::open(path).and_then(|mut file| input::read_limited(&mut file, RING_BYTES_MAX)) {
        Ok(Some(bytes)) => Some(bytes.to_vec()),
        Ok(None) => {
            findings.error(
                Exit::Damaged,
                "key.ring",
                shown(path),
                "it is longer than any key ring",
                "restore it from a backup",
            );
            None
        }
        Err(_) => {
            findings.error(
                Exit::Other,
                "key.ring",
                shown(path),
                "it cannot be read",
                "check its permissions, and the disk",
            );
            None
        }
    }
}

/// Whether the bytes are a ring, which shows without its key: one that fits no slot gets as far as the slots only if all
/// around them is sound.
fn is_whole(bytes: &[u8], path: &Path, findings: &mut Findings) -> bool {
    let mut key = [0; 32];
    let Ok(key) = getrandom::fill(&mut key)
        .map_err(|_| CredentialError::unavailable("the system gives no random bytes; try again"))
        .and_then(|()| KeyFile::from_key(&mut key))
    else {
        // It shows when it is opened, then.
        return true;
    };
    match KeyRing::unlock(bytes, &key) {
        Err(error) if error.kind() != ErrorKind::Key => {
            broken(error, path, findings);
            false
        }
        _ => true,
    }
}

fn broken(error: CredentialError, path: &Path, findings: &mut Findings) {
    let mut failure = Failure::from(error);
    // Parameters out of bounds were not written by this program.
    if failure.exit == Exit::Usage {
        failure.exit = Exit::Damaged;
    }
    findings.failed("key.ring", shown(path), failure);
}

fn unlock(protector: &dyn Protector, store: &Path, bytes: &[u8], findings: &mut Findings) -> Option<KeyRing> {
    let opened = match KeyRingFile::open(store, protector) {
        Ok(file) => Ok(file.ring().clone()),
        // The directory or the file is refused, which has been told; the bytes are at hand.
        Err(error) if error.kind() == ErrorKind::InsecureStorage => KeyRing::unlock(bytes, protector),
        Err(error) => Err(error),
    };
    let path = store.join(KEY_RING);
    match opened {
        Ok(ring) => return Some(ring),
        Err(error) if error.kind() == ErrorKind::Key => findings.failed("key.unlock", shown(&path), error),
        Err(error) => broken(error, &path, findings),
    }
    None
}

/// What an open ring tells.
pub(super) fn status(ring: &KeyRing, now: DateTime<Utc>, findings: &mut Findings, facts: &mut Facts) {
    let status = ring.status();
    facts.slots = Some(status.slots.iter().map(|slot| slot.kind.as_str()).collect());
    let primary = status.epochs.iter().find(|key| key.state == EpochState::Primary);
    facts.rotate_before = primary.map(|key| time(key.not_after));
    if status.rotation_due(now) {
        findings.add(
            Severity::Warning,
            "key.age",
            format!("key ring {}", status.id),
            "its key is a year old or has wrapped nearly as much as it may",
            "ncred key rotate, then ncred key rewrap",
        );
    }
}
