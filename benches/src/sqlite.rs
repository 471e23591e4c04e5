//! The peer of the local store: SQLite through `rusqlite`, one table from key to blob, with the pragmas of the store.

use std::path::Path;

use rusqlite::{Connection, Statement, params};

use crate::Result;

/// What the local store sets too, but for checkpoints, which are SQLite's own here.
const PRAGMAS: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cell_size_check = ON;
PRAGMA secure_delete = ON;
PRAGMA temp_store = MEMORY;
PRAGMA mmap_size = 0;
PRAGMA journal_size_limit = 4194304;
PRAGMA cache_size = -4096;
CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
";

/// A database in the directory `home`, with `count` rows of `value`.
///
/// # Errors
/// Those of SQLite.
pub fn open(home: &Path, keys: impl Iterator<Item = String>, value: &[u8]) -> Result<Connection> {
    let conn = Connection::open(home.join("raw.db"))?;
    conn.execute_batch(PRAGMAS)?;
    let tx = conn.unchecked_transaction()?;
    {
        let mut put = put(&tx)?;
        for key in keys {
            put.execute(params![key, value])?;
        }
    }
    tx.commit()?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(conn)
}

/// Stores the value `?2` under the key `?1`; a transaction of its own.
///
/// # Errors
/// Those of SQLite.
pub fn put(conn: &Connection) -> Result<Statement<'_>> {
    Ok(conn.prepare("INSERT OR REPLACE INTO kv VALUES (?1, ?2)")?)
}

/// Reads the value of the key `?1`.
///
/// # Errors
/// Those of SQLite.
pub fn get(conn: &Connection) -> Result<Statement<'_>> {
    Ok(conn.prepare("SELECT value FROM kv WHERE key = ?1")?)
}

/// Reads 100 rows from the key `?1` on.
///
/// # Errors
/// Those of SQLite.
pub fn range(conn: &Connection) -> Result<Statement<'_>> {
    Ok(conn.prepare("SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key LIMIT 100")?)
}
