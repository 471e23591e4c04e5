//! `ncred stats`: what the store holds, over all tenants and scopes.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential::audit::extent;
use nebula_credential::crypto::KeyRingFile;
use nebula_credential::{
    Clock as _, LocalStorage, OpContext, Principal, RecordHead, Scan, SecretStore as _, SystemClock,
};
use serde::Serialize;

use super::key::{self, Ring};
use super::view::{short, time};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::recording;
use crate::settings::Settings;
use crate::unlock;

/// Versions that are looked at in one go.
const PAGE: usize = 256;
/// What expires within this time is counted.
const SOON: TimeDelta = TimeDelta::days(30);

#[derive(Serialize)]
struct Stats {
    credentials: Credentials,
    versions: u64,
    generation: u64,
    bytes: u64,
    /// Without a key nothing is known of the keys.
    keys: Option<Ring>,
    audit: Option<Log>,
}

#[derive(Default, Serialize)]
struct Credentials {
    live: u64,
    deleted: u64,
    expired: u64,
    expiring: u64,
    next_expiry: Option<String>,
    unreadable_versions: u64,
}

#[derive(Serialize)]
struct Log {
    file: String,
    files: u64,
    bytes: u64,
    last_checkpoint: Option<u64>,
}

pub(super) async fn run(settings: &Settings, output: &Output) -> Outcome {
    recording::leave(settings, "stats", output).await?;
    let now = SystemClock.now();
    let storage = LocalStorage::existing(&settings.store);
    storage
        .open()
        .await
        .map_err(|error| unlock::absent(&settings.store, error))?;
    let (credentials, versions) = count(&storage, now).await?;
    let generation = storage.generation().await?;
    let keys = keys(settings)?;
    storage.close().await;
    let stats = Stats {
        credentials,
        versions,
        generation,
        bytes: bytes_in(&settings.store),
        keys,
        audit: log(settings)?,
    };
    if output.is_json() {
        return output.value(&stats);
    }
    print(&stats, now, output)
}

/// Looks at the head of every version.
async fn count(storage: &LocalStorage, now: DateTime<Utc>) -> Outcome<(Credentials, u64)> {
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    let mut found = Credentials::default();
    let (mut versions, mut after, mut next) = (0, None, None);
    loop {
        let page = storage.scan(&ctx, Scan { after, limit: PAGE }).await?;
        for head in page.items.iter().map(|record| &record.head) {
            versions += 1;
            if head.version.version == head.latest {
                take(&mut found, head, now, &mut next);
            }
        }
        found.unreadable_versions += page.damaged.len() as u64;
        match page.next {
            Some(cursor) => after = Some(cursor),
            None => break,
        }
    }
    found.next_expiry = next.map(time);
    let versions = versions + found.unreadable_versions;
    Ok((found, versions))
}

/// Counts a credential by its current version.
fn take(found: &mut Credentials, head: &RecordHead, now: DateTime<Utc>, next: &mut Option<DateTime<Utc>>) {
    if head.deleted_at.is_some() {
        found.deleted += 1;
        return;
    }
    found.live += 1;
    match head.version.expires_at {
        Some(end) if end <= now => found.expired += 1,
        Some(end) => {
            if end - now <= SOON {
                found.expiring += 1;
            }
            *next = Some(next.map_or(end, |next| next.min(end)));
        }
        None => {}
    }
}

/// What the key ring tells of its keys, if something that opens it is named or lies where it does by default. Nobody is
/// asked, and the ring is given to nobody.
fn keys(settings: &Settings) -> Outcome<Option<Ring>> {
    let named = &settings.unlock;
    let is_there = |path: &std::path::PathBuf| !unlock::is_missing(path);
    if named.is_default && !named.key_file.as_ref().is_some_and(is_there) {
        return Ok(None);
    }
    if unlock::is_missing(&settings.store.join(unlock::KEY_RING)) {
        return Ok(None);
    }
    let ring = KeyRingFile::open(&settings.store, &*unlock::protector(named)?)?;
    Ok(Some(key::described(&ring)))
}

/// What the files of a directory hold together. What cannot be looked at is not counted.
fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = directory.read_dir() else {
        return 0;
    };
    let lengths = entries.flatten().filter_map(|entry| {
        let found = entry.metadata().ok()?;
        Some(match found.is_dir() {
            true => bytes_in(&entry.path()),
            false => found.len(),
        })
    });
    lengths.sum()
}

fn log(settings: &Settings) -> Outcome<Option<Log>> {
    let Some(log) = &settings.audit else {
        return Ok(None);
    };
    let found = extent(log.path(), None).map_err(Failure::from)?;
    Ok(Some(Log {
        file: log.path().display().to_string(),
        files: found.files,
        bytes: found.bytes,
        last_checkpoint: found.last_checkpoint,
    }))
}

fn print(stats: &Stats, now: DateTime<Utc>, output: &Output) -> Outcome {
    let known = &stats.credentials;
    let or_none = |end: &Option<String>| end.as_deref().map_or_else(|| "-".to_owned(), short);
    let mut rows = vec![
        ("credentials", known.live.to_string()),
        ("  expired", known.expired.to_string()),
        ("  expire within 30 days", known.expiring.to_string()),
        ("  next expiry", or_none(&known.next_expiry)),
        ("deleted, may be restored", known.deleted.to_string()),
        ("versions kept", stats.versions.to_string()),
    ];
    if known.unreadable_versions > 0 {
        rows.push((
            "  unreadable; see `ncred doctor`",
            known.unreadable_versions.to_string(),
        ));
    }
    rows.push(("changes ever made", stats.generation.to_string()));
    rows.push(("bytes on disk", stats.bytes.to_string()));
    match &stats.keys {
        Some(ring) => {
            for key in &ring.keys {
                let days = (now - key.made).num_days();
                rows.push((
                    "key",
                    format!("{}, {}, {days} days old, {} wraps", key.key, key.state, key.wraps),
                ));
            }
        }
        None => rows.push(("keys", "not known without a key".to_owned())),
    }
    if let Some(log) = &stats.audit {
        rows.push(("audit log", format!("{} bytes in {} files", log.bytes, log.files)));
        let last = log
            .last_checkpoint
            .map_or_else(|| "none yet".to_owned(), |record| format!("at record {record}"));
        rows.push(("  last checkpoint", last));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(what, value)| vec![what.to_owned(), value])
        .collect();
    output.table(&["STORE", ""], &rows)
}
