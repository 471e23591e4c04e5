//! What became of puts that carried an idempotency token.

use nebula_credential_core::{CredentialRef, IdempotencyToken, RecordHead};
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::row::{RecordId, encode_tags, micros, record_head};

/// Puts of one credential that are remembered at least: a retry comes before many others have been made. More are while
/// their versions are kept.
const REMEMBERED: u32 = 16;

/// The answer that was given to `token`, if it is remembered.
pub(crate) fn find(
    conn: &Connection,
    record: RecordId,
    token: IdempotencyToken,
    id: &CredentialRef,
) -> Result<Option<RecordHead>, Fault> {
    let (low, high) = record.slots();
    let mut statement = conn.prepare_cached(
        "SELECT id & 4294967295, phase, created_at, updated_at, NULL, tags, id, type, schema, stored_at, expires_at \
         FROM token WHERE id BETWEEN ?1 AND ?2 AND token = ?3",
    )?;
    let mut rows = statement.query(params![low, high, token.0])?;
    rows.next()?.map(|row| record_head(row, id.clone())).transpose()
}

/// Keeps the answer to `token`, and forgets the oldest.
pub(crate) fn remember(
    conn: &Connection,
    record: RecordId,
    token: IdempotencyToken,
    head: &RecordHead,
    kept_versions: u32,
) -> Result<(), Fault> {
    let number = head.latest.get();
    conn.prepare_cached("INSERT INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            record.slot(number),
            token.0,
            head.phase.id(),
            micros(head.created_at),
            micros(head.updated_at),
            encode_tags(&head.tags)?,
            head.version.credential_type,
            head.version.schema_version,
            micros(head.version.created_at),
            head.version.expires_at.map(micros)
        ])?;
    if let Some(last) = number.checked_sub(REMEMBERED.max(kept_versions)) {
        conn.prepare_cached("DELETE FROM token WHERE id BETWEEN ?1 AND ?2")?
            .execute((record.slots().0, record.slot(last)))?;
    }
    Ok(())
}
