//! The changes, each inside the one transaction it gets.

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialError, CredentialRef, Delete, DeleteMode, Put, RecordHead, Restore, Rewrite, Sealed, Tags,
    Update, Version, limits,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Fault;
use crate::read::{Stored, address, find, not_found};
use crate::row::{RecordId, encode_tags, micros};
use crate::token;

/// Runs a cached statement that returns nothing; how many rows it changed.
fn run(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<usize, Fault> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

pub(crate) fn put(conn: &Connection, op: &Put<Sealed>, now: DateTime<Utc>) -> Result<RecordHead, Fault> {
    let payload = op.payload.require_envelope()?;
    let stored = find(conn, &op.id)?;
    if let (Some(stored), Some(token)) = (&stored, op.token)
        && let Some(head) = token::find(conn, stored.id, token, &op.id)?
    {
        return Ok(head);
    }
    let latest = match &stored {
        Some(stored) => Some(stored.head.latest),
        None => buried(conn, &op.id)?,
    };
    let live = stored
        .as_ref()
        .map(|stored| &stored.head)
        .filter(|head| head.deleted_at.is_none());
    op.check(latest, live)?;
    let live = live.is_some();

    let id = match &stored {
        Some(stored) => stored.id,
        None => new_record(conn, &op.id)?,
    };
    if !live {
        run(conn, "DELETE FROM version WHERE id BETWEEN ?1 AND ?2", id.slots())?;
    }
    let before = stored.map(|stored| stored.head);
    let head = op.head(before.as_ref().filter(|_| live), now);
    let old_tags = before.map(|head| head.tags).unwrap_or_default();
    write_record(conn, id, &head)?;
    retag(conn, &op.id, &old_tags, &head.tags)?;
    run(
        conn,
        "INSERT INTO version VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            id.slot(head.latest.get()),
            head.version.credential_type,
            head.version.schema_version,
            micros(head.version.created_at),
            head.version.expires_at.map(micros),
            payload
        ],
    )?;
    // Kept versions have no gaps, so the number says which are too many.
    let keep = op.keep_versions.clamp(1, limits::VERSIONS_MAX);
    if let Some(last) = head.latest.get().checked_sub(keep) {
        run(
            conn,
            "DELETE FROM version WHERE id BETWEEN ?1 AND ?2",
            (id.slots().0, id.slot(last)),
        )?;
    }
    if let Some(token) = op.token {
        token::remember(conn, id, token, &head, keep)?;
    }
    Ok(head)
}

/// The last version number of a purged record.
fn buried(conn: &Connection, id: &CredentialRef) -> Result<Option<Version>, Fault> {
    let (tenant, scope, name) = address(id);
    let latest: Option<u32> = conn
        .prepare_cached("SELECT latest FROM tombstone WHERE tenant = ?1 AND scope = ?2 AND name = ?3")?
        .query_row([tenant, scope, name], |row| row.get(0))
        .optional()?;
    latest
        .map(|number| Version::new(number).ok_or_else(Fault::damaged))
        .transpose()
}

/// The number of a new record, in the place of a tombstone if there is one.
fn new_record(conn: &Connection, id: &CredentialRef) -> Result<RecordId, Fault> {
    let (tenant, scope, name) = address(id);
    run(
        conn,
        "DELETE FROM tombstone WHERE tenant = ?1 AND scope = ?2 AND name = ?3",
        [tenant, scope, name],
    )?;
    let number = conn
        .prepare_cached("UPDATE head SET next_record = next_record + 1 RETURNING next_record - 1")?
        .query_one([], |row| row.get(0))?;
    RecordId::new(number).ok_or_else(|| {
        CredentialError::storage("this store has used up its record numbers; export to a new one").into()
    })
}

fn write_record(conn: &Connection, id: RecordId, head: &RecordHead) -> Result<(), Fault> {
    let (tenant, scope, name) = address(&head.id);
    run(
        conn,
        "INSERT OR REPLACE INTO record (tenant, scope, name, id, latest, phase, created_at, updated_at, deleted_at, \
         tags, type, schema, stored_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, \
         ?14)",
        params![
            tenant,
            scope,
            name,
            id.get(),
            head.latest.get(),
            head.phase.id(),
            micros(head.created_at),
            micros(head.updated_at),
            head.deleted_at.map(micros),
            encode_tags(&head.tags)?,
            head.version.credential_type,
            head.version.schema_version,
            micros(head.version.created_at),
            head.version.expires_at.map(micros)
        ],
    )?;
    Ok(())
}

/// Brings the index of tags up to date.
fn retag(conn: &Connection, id: &CredentialRef, old: &Tags, new: &Tags) -> Result<(), Fault> {
    let (tenant, scope, name) = address(id);
    for (key, value) in old.iter().filter(|(key, value)| new.get(key) != Some(value)) {
        run(
            conn,
            "DELETE FROM tag WHERE tenant = ?1 AND key = ?2 AND value = ?3 AND scope = ?4 AND name = ?5",
            [tenant, key, value, scope, name],
        )?;
    }
    for (key, value) in new.iter().filter(|(key, value)| old.get(key) != Some(value)) {
        run(
            conn,
            "INSERT INTO tag (tenant, key, value, scope, name) VALUES (?1, ?2, ?3, ?4, ?5)",
            [tenant, key, value, scope, name],
        )?;
    }
    Ok(())
}

/// The record, if it is there and not deleted.
fn live(conn: &Connection, id: &CredentialRef) -> Result<Stored, Fault> {
    match find(conn, id)? {
        Some(stored) if stored.head.deleted_at.is_none() => Ok(stored),
        _ => Err(not_found(id).into()),
    }
}

pub(crate) fn update(conn: &Connection, op: &Update, now: DateTime<Utc>) -> Result<RecordHead, Fault> {
    let Stored { id, mut head } = live(conn, &op.id)?;
    op.check(&head)?;
    if let Some(tags) = &op.tags {
        retag(conn, &op.id, &head.tags, tags)?;
        head.tags = tags.clone();
    }
    if let Some(phase) = op.phase {
        head.phase = phase;
    }
    head.updated_at = now;
    write_record(conn, id, &head)?;
    Ok(head)
}

pub(crate) fn delete(conn: &Connection, op: &Delete, now: DateTime<Utc>) -> Result<(), Fault> {
    let Some(Stored { id, mut head }) = find(conn, &op.id)? else {
        return Err(not_found(&op.id).into());
    };
    let live = head.deleted_at.is_none();
    op.precondition.check(&op.id, Some(head.latest), live)?;
    match op.mode {
        DeleteMode::Soft if !live => Err(not_found(&op.id).into()),
        DeleteMode::Soft => {
            head.deleted_at = Some(now);
            head.updated_at = now;
            write_record(conn, id, &head)
        }
        DeleteMode::Purge => purge(conn, id, &head),
    }
}

/// Leaves nothing but the name and the last version number.
fn purge(conn: &Connection, id: RecordId, head: &RecordHead) -> Result<(), Fault> {
    let (tenant, scope, name) = address(&head.id);
    retag(conn, &head.id, &head.tags, &Tags::new())?;
    run(conn, "DELETE FROM version WHERE id BETWEEN ?1 AND ?2", id.slots())?;
    run(conn, "DELETE FROM token WHERE id BETWEEN ?1 AND ?2", id.slots())?;
    run(
        conn,
        "DELETE FROM record WHERE tenant = ?1 AND scope = ?2 AND name = ?3",
        [tenant, scope, name],
    )?;
    run(
        conn,
        "INSERT INTO tombstone (tenant, scope, name, latest) VALUES (?1, ?2, ?3, ?4)",
        params![tenant, scope, name, head.latest.get()],
    )?;
    Ok(())
}

pub(crate) fn restore(conn: &Connection, op: &Restore, now: DateTime<Utc>) -> Result<RecordHead, Fault> {
    let Some(Stored { id, mut head }) = find(conn, &op.id)? else {
        return Err(not_found(&op.id).into());
    };
    if head.deleted_at.is_none() {
        return Err(CredentialError::invalid_state(format!(
            "{} is not deleted; there is nothing to restore",
            op.id
        ))
        .into());
    }
    head.deleted_at = None;
    head.updated_at = now;
    write_record(conn, id, &head)?;
    Ok(head)
}

/// Works on deleted records too: they may be restored after the key they were sealed under is gone.
pub(crate) fn rewrite(conn: &Connection, op: &Rewrite<Sealed>) -> Result<(), Fault> {
    let (expected, payload) = (op.expected.require_envelope()?, op.payload.require_envelope()?);
    let Some(Stored { id, head }) = find(conn, &op.id)? else {
        return Err(not_found(&op.id).into());
    };
    let slot = id.slot(op.version.get());
    let changed = run(
        conn,
        "UPDATE version SET payload = ?3 WHERE id = ?1 AND payload = ?2",
        params![slot, expected, payload],
    )?;
    if changed == 1 {
        return Ok(());
    }
    let kept = conn
        .prepare_cached("SELECT 1 FROM version WHERE id = ?1")?
        .exists([slot])?;
    if !kept {
        return Err(CredentialError::version_not_found(&op.id, op.version).into());
    }
    Err(CredentialError::VersionConflict {
        name: op.id.to_string(),
        expected: Some(op.version),
        found: Some(head.latest),
    }
    .into())
}
