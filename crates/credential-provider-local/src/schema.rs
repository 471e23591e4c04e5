//! The tables, and how an older store becomes a current one.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::Fault;

/// Marks a SQLite file as a credential store: `NBCS`.
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"NBCS");

/// Entry `n` makes format `n + 1` out of format `n`; format 0 is an empty file.
///
/// Entries are never edited once released. One that changes what rows mean must also rename the table: a program of an
/// older version that is still running then fails, instead of misreading them.
pub(crate) const MIGRATIONS: &[&str] = &[V1];

/// `record` holds a copy of the head of the latest version, so that a page of a list is one range of one table.
/// `version.id` and `token.id` are `record.id * 2^32 + version number`: one lookup finds a payload, one range a history.
/// Times are microseconds since 1970.
const V1: &str = "
CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,   -- changes so far
    next_record INTEGER NOT NULL,  -- never used again, not even after a purge
    sealed BLOB                    -- the authenticated summary of all records, once there is one
) STRICT;
INSERT INTO head VALUES (1, 0, 1, NULL);

CREATE TABLE record (
    tenant TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    id INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    tags TEXT,                     -- JSON object, or NULL for none
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (tenant, scope, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_expiry ON record (tenant, expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE version (
    id INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    expires_at INTEGER,
    payload BLOB NOT NULL
) STRICT;

CREATE TABLE token (
    id INTEGER PRIMARY KEY,
    token BLOB NOT NULL,
    phase INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    tags TEXT,
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;

CREATE TABLE tag (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant, key, value, scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tombstone (
    tenant TEXT NOT NULL,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    latest INTEGER NOT NULL,
    PRIMARY KEY (tenant, scope, name)
) STRICT, WITHOUT ROWID;
";

/// What a SQLite file turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing was ever stored in it.
    Empty,
    /// A store of this format.
    Store(usize),
    /// Some other database.
    Foreign,
}

/// Reads what `conn` is a connection to: in one transaction, for another process may be making the store.
pub(crate) fn inspect(conn: &Connection) -> Result<Format, Fault> {
    let tx = conn.unchecked_transaction()?;
    let number = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let format = number("PRAGMA user_version")?;
    if application == i64::from(APPLICATION_ID) {
        return Ok(usize::try_from(format).map_or(Format::Foreign, Format::Store));
    }
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application, format, tables) {
        (0, 0, 0) => Format::Empty,
        _ => Format::Foreign,
    })
}

/// Takes a store from format `from` to the last one, each step in a transaction of its own.
pub(crate) fn migrate(conn: &mut Connection, steps: &[&str], from: usize) -> Result<(), Fault> {
    for (at, step) in steps.iter().enumerate().skip(from) {
        let tx = Transaction::new(conn, TransactionBehavior::Immediate)?;
        tx.execute_batch(step)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", i64::try_from(at + 1).unwrap_or(i64::MAX))?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "CREATE TABLE thing (id INTEGER PRIMARY KEY, word TEXT) STRICT;
        INSERT INTO thing VALUES (1, 'kept')";
    const NEW: &str = "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7";

    fn thing(conn: &Connection) -> (String, i64) {
        conn.query_row("SELECT word, size FROM thing", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
    }

    #[test]
    fn an_empty_file_gets_every_step_and_an_old_one_only_those_it_lacks() {
        let mut conn = Connection::open_in_memory().unwrap();
        assert_eq!(inspect(&conn).unwrap(), Format::Empty);
        migrate(&mut conn, &[OLD], 0).unwrap();
        assert_eq!(inspect(&conn).unwrap(), Format::Store(1));
        migrate(&mut conn, &[OLD, NEW], 1).unwrap();
        assert_eq!(inspect(&conn).unwrap(), Format::Store(2));
        assert_eq!(thing(&conn), ("kept".to_owned(), 7));
    }

    #[test]
    fn a_step_that_fails_leaves_the_format_before_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        let broken = "ALTER TABLE thing ADD COLUMN size INTEGER; UPDATE thing SET nonsense = 1";
        assert!(migrate(&mut conn, &[OLD, broken], 0).is_err());
        assert_eq!(inspect(&conn).unwrap(), Format::Store(1));
        migrate(&mut conn, &[OLD, NEW], 1).unwrap();
        assert_eq!(thing(&conn), ("kept".to_owned(), 7));
    }

    #[test]
    fn another_database_is_foreign() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert_eq!(inspect(&conn).unwrap(), Format::Foreign);
        let conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "application_id", 7).unwrap();
        assert_eq!(inspect(&conn).unwrap(), Format::Foreign);
    }
}
