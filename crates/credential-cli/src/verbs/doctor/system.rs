//! The machine: clock, free space, what becomes of memory.

use std::path::Path;

use chrono::{DateTime, Utc};
use nebula_credential::crypto::{Protection, harden_process};
use rustix::process::{Resource, getrlimit};

use super::{Findings, Severity, shown};
use crate::exit::Exit;

/// 2026-01-01, before which this program did not exist: a clock that says so is wrong.
const WRITTEN: i64 = 1_767_225_600;
/// Below this much a write of the largest credential, its log and its checkpoint may fail; in bytes.
const SPACE_NEEDED: u64 = 4 * 1024 * 1024;
/// Below this much someone should look, in bytes.
const SPACE_LOW: u64 = 64 * 1024 * 1024;
/// What one process may lock on systems that limit it at all, commonly; in bytes.
const LOCKABLE: u64 = 64 * 1024;

/// Returns whether keys lie in locked memory.
pub(super) fn check(store: &Path, now: DateTime<Utc>, findings: &mut Findings) -> bool {
    if now.timestamp() < WRITTEN {
        findings.error(
            Exit::Other,
            "system.clock",
            now.to_rfc3339(),
            "the clock is behind: what has expired passes for valid",
            "set the clock, or let it be set with NTP",
        );
    }
    space(store, findings);
    if harden_process().is_err() {
        findings.add(
            Severity::Warning,
            "system.core",
            "this process",
            "core dumps and debuggers could not be kept away: a crash may write secrets to disk",
            "permit setrlimit and prctl in the sandbox, or run under `ulimit -c 0`",
        );
    }
    let granted = Protection::of_new_keys().is_ok_and(|granted| granted.locked);
    let limit = getrlimit(Resource::Memlock).current;
    if !granted || limit.is_some_and(|limit| limit < LOCKABLE) {
        findings.add(
            Severity::Warning,
            "system.memlock",
            limit.map_or_else(|| "this process".to_owned(), |limit| format!("{limit} bytes")),
            "this process may not lock enough memory: keys may be written to swap",
            "raise the limit: `ulimit -l 64`, or LimitMEMLOCK= of the service",
        );
    }
    granted
}

fn space(store: &Path, findings: &mut Findings) {
    let Ok(volume) = rustix::fs::statvfs(store) else {
        return;
    };
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    let message = format!("{} KiB are free on its disk", free / 1024);
    let remedy = "make room: purge what is not needed, or move the store to another disk";
    if free < SPACE_NEEDED {
        findings.error(Exit::Other, "system.space", shown(store), message, remedy);
    } else if free < SPACE_LOW {
        findings.add(Severity::Warning, "system.space", shown(store), message, remedy);
    }
}
