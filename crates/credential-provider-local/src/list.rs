//! Pages, in bounded steps: a page that has to look at many rows lets other tasks run in between.

use nebula_credential_core::{
    CredentialName, CredentialRef, Cursor, List, Page, Record, RecordHead, Scan, ScanCursor, ScanPage, Scope,
    Sealed, TenantId,
};
use rusqlite::{Connection, Row, params};

use crate::error::Fault;
use crate::read::sql;
use crate::row::{HEAD_COLUMNS, JOINED, RECORD, VERSION_COLUMN, micros, number, record_head};

/// Rows one step looks at, below 100 µs of work.
const STEP: usize = 128;

/// Bytes of payload after which a page of a scan ends early.
const SCAN_BYTES: usize = 8 * 1024 * 1024;

const ORDER: &str = " ORDER BY scope, name";
const FROM_TAG: &str = ", scope, name FROM tag CROSS JOIN record USING (tenant, scope, name) \
    WHERE tenant = ?1 AND key = ?4 AND value = ?5";

// One scope is a range of names, all scopes a range of pairs.
sql!(
    ALL,
    "SELECT ",
    RECORD,
    ", scope, name FROM record WHERE tenant = ?1 AND (scope, name) >= (?2, ?3)",
    ORDER
);
sql!(
    SCOPE,
    "SELECT ",
    RECORD,
    ", scope, name FROM record WHERE tenant = ?1 AND scope = ?2 AND name >= ?3",
    ORDER
);
sql!(
    TAGGED,
    "SELECT ",
    RECORD,
    FROM_TAG,
    " AND (scope, name) >= (?2, ?3)",
    ORDER
);
sql!(
    TAGGED_SCOPE,
    "SELECT ",
    RECORD,
    FROM_TAG,
    " AND scope = ?2 AND name >= ?3",
    ORDER
);

// Few expire soon: found by the index of expiry and sorted. Many: the order of names is the shorter way.
sql!(
    EXPIRING,
    "SELECT ",
    RECORD,
    ", scope, name FROM record INDEXED BY record_expiry WHERE tenant = ?1 AND expires_at <= ?4 AND (scope, name) >= (?2, ?3)",
    ORDER
);
sql!(
    EXPIRING_COUNT,
    "SELECT count(*) FROM (SELECT 1 FROM record INDEXED BY record_expiry WHERE tenant = ?1 AND expires_at <= ?2 LIMIT ?3)"
);

/// A list on its way.
pub(crate) struct Listing {
    op: List,
    /// Found out in the first step.
    few_expire: Option<bool>,
    /// Where the next step begins.
    from: (String, String),
    items: Vec<RecordHead>,
    /// Neighbours mostly share their scope.
    scope: Option<Scope>,
}

/// What one step came to.
pub(crate) enum Step<T> {
    Done(T),
    More,
}

impl Listing {
    pub(crate) fn new(op: List) -> Self {
        let floor = op.prefix.clone().unwrap_or_default();
        let from = match (&op.after, &op.scope) {
            (Some(after), None) => following(after.scope.as_str(), after.name.as_str()),
            (Some(after), Some(scope)) if after.scope < *scope => (scope.as_str().to_owned(), floor),
            (Some(after), Some(_)) => {
                let (scope, name) = following(after.scope.as_str(), after.name.as_str());
                (scope, name.max(floor))
            }
            (None, Some(scope)) => (scope.as_str().to_owned(), floor),
            // Every scope may hold names with the prefix.
            (None, None) => (String::new(), String::new()),
        };
        Self {
            items: Vec::new(),
            scope: None,
            few_expire: None,
            from,
            op,
        }
    }

    /// Looks at the next rows. All steps of a list are to see the same state: run them in one transaction.
    pub(crate) fn step(&mut self, conn: &Connection) -> Result<Step<Page>, Fault> {
        // Past the scope that was asked for: nothing can follow.
        if self
            .op
            .scope
            .as_ref()
            .is_some_and(|scope| self.from.0 != scope.as_str())
        {
            return Ok(Step::Done(self.page(false)));
        }
        let (tenant, scope, name) = (self.op.tenant.clone(), self.from.0.clone(), self.from.1.clone());
        let few_expire = self.few_expire(conn)?;
        let tag = self.op.tags.iter().next();
        let (mut statement, mut rows);
        match (tag, few_expire, &self.op.scope) {
            (None, Some(end), _) => {
                statement = conn.prepare_cached(&EXPIRING)?;
                rows = statement.query(params![tenant.as_str(), scope, name, end])?;
            }
            (None, None, one) => {
                statement = conn.prepare_cached(if one.is_some() { &SCOPE } else { &ALL })?;
                rows = statement.query([tenant.as_str(), &scope, &name])?;
            }
            (Some((key, value)), _, one) => {
                statement = conn.prepare_cached(if one.is_some() { &TAGGED_SCOPE } else { &TAGGED })?;
                rows = statement.query([tenant.as_str(), &scope, &name, key, value])?;
            }
        }
        for _ in 0..STEP {
            let Some(row) = rows.next()? else {
                return Ok(Step::Done(self.page(false)));
            };
            let (scope, name) = (text_of(row, HEAD_COLUMNS)?, text_of(row, HEAD_COLUMNS + 1)?);
            if self.op.scope.as_ref().is_some_and(|one| one.as_str() != scope) {
                return Ok(Step::Done(self.page(false)));
            }
            if let Some(prefix) = &self.op.prefix
                && !name.starts_with(prefix.as_str())
            {
                if self.op.scope.is_some() {
                    return Ok(Step::Done(self.page(false)));
                }
            } else if self.may_match(row)? {
                let head = self.decode(row, scope, name)?;
                if self.op.matches(&head) {
                    if self.items.len() == self.op.page_size() {
                        return Ok(Step::Done(self.page(true)));
                    }
                    self.items.push(head);
                }
            }
            self.from = following(scope, name);
        }
        Ok(Step::More)
    }

    /// The end asked for, if so few expire before it that looking at those is the shortest way.
    fn few_expire(&mut self, conn: &Connection) -> Result<Option<i64>, Fault> {
        let end = self
            .op
            .expires_before
            .map(micros)
            .filter(|_| self.op.tags.is_empty());
        let Some(end) = end else { return Ok(None) };
        let few = match self.few_expire {
            Some(known) => known,
            None => {
                let enough = i64::try_from(STEP).unwrap_or(i64::MAX);
                let found: i64 = conn
                    .prepare_cached(&EXPIRING_COUNT)?
                    .query_one(params![self.op.tenant.as_str(), end, enough], |row| row.get(0))?;
                *self.few_expire.insert(found < enough)
            }
        };
        Ok(few.then_some(end))
    }

    /// The filters that need no decoding.
    fn may_match(&self, row: &Row<'_>) -> Result<bool, Fault> {
        if !self.op.include_deleted && row.get::<_, Option<i64>>(4)?.is_some() {
            return Ok(false);
        }
        let Some(end) = self.op.expires_before else {
            return Ok(true);
        };
        let expires: Option<i64> = row.get(HEAD_COLUMNS - 1)?;
        Ok(expires.is_some_and(|at| at <= micros(end)))
    }

    fn decode(&mut self, row: &Row<'_>, scope: &str, name: &str) -> Result<RecordHead, Fault> {
        let scope = match &self.scope {
            Some(known) if known.as_str() == scope => known.clone(),
            _ => {
                let new = Scope::new(scope).map_err(|_| Fault::damaged())?;
                self.scope.insert(new).clone()
            }
        };
        let name = CredentialName::new(name).map_err(|_| Fault::damaged())?;
        record_head(row, CredentialRef::new(self.op.tenant.clone(), scope, name))
    }

    fn page(&mut self, more: bool) -> Page {
        let items = std::mem::take(&mut self.items);
        let next = items.last().filter(|_| more).map(|head| Cursor {
            scope: head.id.scope().clone(),
            name: head.id.name().clone(),
        });
        Page { items, next }
    }
}

/// The least place after (`scope`, `name`): NUL is below every byte of a name.
fn following(scope: &str, name: &str) -> (String, String) {
    (scope.to_owned(), format!("{name}\0"))
}

fn text_of<'a>(row: &'a Row<'_>, at: usize) -> Result<&'a str, Fault> {
    row.get_ref(at)?.as_str().map_err(|_| Fault::damaged())
}

sql!(
    SCAN,
    "SELECT ",
    JOINED,
    ", r.tenant, r.scope, r.name, v.payload FROM record r \
     JOIN version v ON v.id BETWEEN r.id << 32 AND r.id << 32 | 4294967295 \
     WHERE (r.tenant, r.scope, r.name) >= (?1, ?2, ?3) AND (r.tenant, r.scope, r.name, v.id & 4294967295) > (?1, ?2, ?3, ?4) \
     ORDER BY r.tenant, r.scope, r.name, v.id"
);

/// A scan on its way.
pub(crate) struct Scanning {
    page_size: usize,
    after: Option<ScanCursor>,
    items: Vec<Record<Sealed>>,
    damaged: Vec<ScanCursor>,
    bytes: usize,
}

impl Scanning {
    pub(crate) fn new(op: Scan) -> Self {
        Self {
            page_size: op.page_size(),
            after: op.after,
            items: Vec::new(),
            damaged: Vec::new(),
            bytes: 0,
        }
    }

    /// Looks at the next rows, as [`Listing::step`] does.
    pub(crate) fn step(&mut self, conn: &Connection) -> Result<Step<ScanPage<Sealed>>, Fault> {
        let mut statement = conn.prepare_cached(&SCAN)?;
        let mut rows = match &self.after {
            None => statement.query(params!["", "", "", 0])?,
            Some(at) => statement.query(params![
                at.id.tenant().as_str(),
                at.id.scope().as_str(),
                at.id.name().as_str(),
                at.version.get()
            ])?,
        };
        for _ in 0..STEP {
            let Some(row) = rows.next()? else {
                return Ok(Step::Done(self.page(false)));
            };
            if self.items.len() + self.damaged.len() == self.page_size || self.bytes >= SCAN_BYTES {
                return Ok(Step::Done(self.page(true)));
            }
            let at = Self::place(row)?;
            match Self::decode(row, at.id.clone()) {
                Ok(record) => {
                    self.bytes += record.payload.as_envelope().map_or(0, <[u8]>::len);
                    self.items.push(record);
                }
                Err(_) => self.damaged.push(at.clone()),
            }
            self.after = Some(at);
        }
        Ok(Step::More)
    }

    /// Where a row stands. The scan cannot go on behind one that does not tell.
    fn place(row: &Row<'_>) -> Result<ScanCursor, Fault> {
        let name = |at: usize| text_of(row, HEAD_COLUMNS + at);
        let (Ok(tenant), Ok(scope), Ok(name)) = (
            TenantId::new(name(0)?),
            Scope::new(name(1)?),
            CredentialName::new(name(2)?),
        ) else {
            return Err(Fault::damaged());
        };
        Ok(ScanCursor {
            id: CredentialRef::new(tenant, scope, name),
            version: number(row.get(VERSION_COLUMN)?)?,
        })
    }

    fn decode(row: &Row<'_>, id: CredentialRef) -> Result<Record<Sealed>, Fault> {
        let payload: std::sync::Arc<[u8]> = row.get(HEAD_COLUMNS + 3)?;
        Ok(Record {
            payload: Sealed::envelope(payload).map_err(|_| Fault::damaged())?,
            head: record_head(row, id)?,
        })
    }

    fn page(&mut self, more: bool) -> ScanPage<Sealed> {
        ScanPage {
            items: std::mem::take(&mut self.items),
            damaged: std::mem::take(&mut self.damaged),
            next: self.after.take().filter(|_| more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{MIGRATIONS, migrate};

    /// How SQLite runs `text`.
    fn plan(conn: &Connection, text: &str) -> String {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let mut rows = statement.raw_query();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get::<_, String>(3).unwrap());
        }
        lines.join("; ")
    }

    #[test]
    fn pages_come_in_order_from_an_index_and_nothing_is_sorted_or_scanned() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, MIGRATIONS, 0).unwrap();
        for text in [&ALL, &SCOPE, &TAGGED, &TAGGED_SCOPE] {
            let plan = plan(&conn, text);
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
        let tagged = plan(&conn, &TAGGED);
        assert!(
            tagged.contains("SEARCH tag USING PRIMARY KEY (tenant=? AND key=? AND value=?"),
            "{tagged}"
        );
        let expiring = plan(&conn, &EXPIRING);
        assert!(
            expiring.contains("USING INDEX record_expiry (tenant=? AND expires_at<?)"),
            "{expiring}"
        );
        let scan = plan(&conn, &SCAN);
        assert!(!scan.contains("TEMP B-TREE"), "{scan}");
        assert!(scan.contains("SEARCH r USING PRIMARY KEY"), "{scan}");
        assert!(
            scan.contains("SEARCH v USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            "{scan}"
        );
    }
}
