//! Whether the file still is what was written: asked by tools, never on the way of a request.

use rusqlite::{Connection, ErrorCode};

use crate::error::Fault;

/// Rows that cannot have been written as they are: a record whose current version is missing or differs from the copy
/// of its head, and a version that belongs to no record. The numbers of records have no index: they are listed once, not
/// searched for each version.
const ODD_ROWS: &str = "
SELECT EXISTS (
    SELECT 1 FROM record r LEFT JOIN version v ON v.id = r.id << 32 | r.latest
    WHERE v.id IS NULL
       OR (v.type, v.schema, v.stored_at) IS NOT (r.type, r.schema, r.stored_at)
       OR v.expires_at IS NOT r.expires_at
) OR EXISTS (
    SELECT 1 FROM version v WHERE v.id >> 32 NOT IN (SELECT id FROM record)
)";

/// Checks every page and index of the file, and that the tables agree with each other.
pub(crate) fn is_intact(conn: &Connection) -> Result<bool, Fault> {
    let checked = || {
        // One complaint is enough: what SQLite says about it is not passed on.
        let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(false);
        }
        let odd: bool = conn.query_row(ODD_ROWS, [], |row| row.get(0))?;
        Ok(!odd)
    };
    match checked() {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::DatabaseCorrupt => {
            Ok(false)
        }
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{MIGRATIONS, migrate};

    #[test]
    fn the_work_grows_with_the_store_and_not_with_its_square() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, MIGRATIONS, 0).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {ODD_ROWS}")).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = lines.map(Result::unwrap).collect();
        assert!(!plan.iter().any(|line| line.contains("CORRELATED")), "{plan:?}");
        assert!(
            plan.iter()
                .any(|line| line.contains("SEARCH v USING INTEGER PRIMARY KEY")),
            "{plan:?}"
        );
    }

    #[test]
    fn rows_that_do_not_fit_each_other_are_found() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, MIGRATIONS, 0).unwrap();
        assert!(is_intact(&conn).unwrap());
        conn.execute_batch(
            "INSERT INTO record VALUES ('t', 's', 'n', 1, 2, 3, 0, 0, NULL, NULL, 'basic', 1, 7, NULL);
             INSERT INTO version VALUES (1 << 32 | 1, 'basic', 1, 6, NULL, x'00');
             INSERT INTO version VALUES (1 << 32 | 2, 'basic', 1, 7, NULL, x'00');",
        )
        .unwrap();
        assert!(is_intact(&conn).unwrap());
        for (odd, undo) in [
            (
                "UPDATE record SET expires_at = 9",
                "UPDATE record SET expires_at = NULL",
            ),
            (
                "UPDATE record SET type = 'jwt'",
                "UPDATE record SET type = 'basic'",
            ),
            ("UPDATE record SET latest = 3", "UPDATE record SET latest = 2"),
            (
                "INSERT INTO version VALUES (2 << 32 | 1, 'basic', 1, 7, NULL, x'00')",
                "DELETE FROM version WHERE id > 2 << 32",
            ),
        ] {
            conn.execute_batch(odd).unwrap();
            assert!(!is_intact(&conn).unwrap(), "{odd}");
            conn.execute_batch(undo).unwrap();
            assert!(is_intact(&conn).unwrap(), "{undo}");
        }
    }
}
