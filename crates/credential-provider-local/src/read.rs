//! Reads of one credential: each is one statement.

use nebula_credential_core::{
    CredentialError, CredentialRef, Get, Record, RecordHead, Sealed, Selector, VersionHead,
};
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::row::{HEAD_COLUMNS, JOINED, RECORD, RecordId, record_head, version_head};

/// SQL text made of literals and the column lists.
macro_rules! sql {
    ($name:ident, $($part:expr),+) => {
        static $name: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| [$($part),+].concat());
    };
}
pub(crate) use sql;

const ADDRESS: &str = " WHERE tenant = ?1 AND scope = ?2 AND name = ?3";
const LIVE: &str = " AND deleted_at IS NULL";
const AT_LATEST: &str = " FROM record r JOIN version v ON v.id = r.id << 32 | r.latest";
const AT_EXACT: &str = " FROM record r JOIN version v ON v.id = r.id << 32 | ?4";

sql!(
    GET_LATEST,
    "SELECT ",
    JOINED,
    ", v.payload",
    AT_LATEST,
    ADDRESS,
    LIVE
);
sql!(
    GET_EXACT,
    "SELECT ",
    JOINED,
    ", v.payload",
    AT_EXACT,
    ADDRESS,
    LIVE
);
sql!(HEAD_LATEST, "SELECT ", RECORD, ", id FROM record", ADDRESS);
sql!(HEAD_EXACT, "SELECT ", JOINED, AT_EXACT, ADDRESS);
sql!(
    VERSIONS,
    "SELECT v.id, v.type, v.schema, v.stored_at, v.expires_at FROM record r JOIN version v ON v.id BETWEEN r.id << 32 \
     AND r.id << 32 | 4294967295",
    ADDRESS,
    LIVE,
    " ORDER BY v.id DESC"
);

pub(crate) fn get(conn: &Connection, op: Get) -> Result<Record<Sealed>, Fault> {
    let (tenant, scope, name) = address(&op.id);
    let mut statement;
    let mut rows = match op.version {
        Selector::Latest => {
            statement = conn.prepare_cached(&GET_LATEST)?;
            statement.query([tenant, scope, name])?
        }
        Selector::Exact(version) => {
            statement = conn.prepare_cached(&GET_EXACT)?;
            statement.query(params![tenant, scope, name, version.get()])?
        }
    };
    let Some(row) = rows.next()? else {
        drop(rows);
        return Err(absent(conn, &op, true));
    };
    let payload: std::sync::Arc<[u8]> = row.get(HEAD_COLUMNS)?;
    Ok(Record {
        payload: Sealed::envelope(payload).map_err(|_| Fault::damaged())?,
        head: record_head(row, op.id)?,
    })
}

pub(crate) fn head(conn: &Connection, op: Get) -> Result<RecordHead, Fault> {
    let Selector::Exact(version) = op.version else {
        return match find(conn, &op.id)? {
            Some(stored) => Ok(stored.head),
            None => Err(not_found(&op.id).into()),
        };
    };
    let (tenant, scope, name) = address(&op.id);
    let mut statement = conn.prepare_cached(&HEAD_EXACT)?;
    let mut rows = statement.query(params![tenant, scope, name, version.get()])?;
    let Some(row) = rows.next()? else {
        drop(rows);
        return Err(absent(conn, &op, false));
    };
    record_head(row, op.id)
}

pub(crate) fn versions(conn: &Connection, id: &CredentialRef) -> Result<Vec<VersionHead>, Fault> {
    let (tenant, scope, name) = address(id);
    let mut statement = conn.prepare_cached(&VERSIONS)?;
    let mut rows = statement.query([tenant, scope, name])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        heads.push(version_head(row, 0)?);
    }
    // A record has one version at least.
    if heads.is_empty() {
        return Err(not_found(id).into());
    }
    Ok(heads)
}

/// A record as it is stored, deleted or not.
pub(crate) struct Stored {
    pub(crate) id: RecordId,
    pub(crate) head: RecordHead,
}

pub(crate) fn find(conn: &Connection, id: &CredentialRef) -> Result<Option<Stored>, Fault> {
    let (tenant, scope, name) = address(id);
    let mut statement = conn.prepare_cached(&HEAD_LATEST)?;
    let mut rows = statement.query([tenant, scope, name])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Stored {
        id: RecordId::new(row.get(HEAD_COLUMNS)?).ok_or_else(Fault::damaged)?,
        head: record_head(row, id.clone())?,
    }))
}

pub(crate) fn address(id: &CredentialRef) -> (&str, &str, &str) {
    (id.tenant().as_str(), id.scope().as_str(), id.name().as_str())
}

pub(crate) fn not_found(id: &CredentialRef) -> CredentialError {
    CredentialError::not_found(id.to_string())
}

/// Why a read of one version found nothing.
fn absent(conn: &Connection, op: &Get, must_live: bool) -> Fault {
    match (find(conn, &op.id), op.version) {
        (Err(fault), _) => fault,
        (Ok(Some(stored)), Selector::Exact(version)) if !must_live || stored.head.deleted_at.is_none() => {
            CredentialError::version_not_found(&op.id, version).into()
        }
        // The latest version of a live record is kept: a row is missing.
        (Ok(Some(stored)), Selector::Latest) if stored.head.deleted_at.is_none() => Fault::damaged(),
        (Ok(_), _) => not_found(&op.id).into(),
    }
}
