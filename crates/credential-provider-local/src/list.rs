//! Pages, in bounded steps: a page that has to look at many rows lets other tasks run in between.

use nebula_credential_core::{
    CredentialName, CredentialRef, Cursor, List, Page, Record, RecordHead, Scan, ScanCursor, ScanPage, Scope,
    Sealed, TenantId,
};
use rusqlite::{Connection, Row, params};

use crate::error::Fault;
use crate::read::sql;
use crate::row::{HEAD_COLUMNS, JOINED, RECORD, record_head};

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

/// A list on its way.
pub(crate) struct Listing {
    op: List,
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
        let tag = self.op.tags.iter().next();
        let text = match (&tag, &self.op.scope) {
            (None, None) => &*ALL,
            (None, Some(_)) => &*SCOPE,
            (Some(_), None) => &*TAGGED,
            (Some(_), Some(_)) => &*TAGGED_SCOPE,
        };
        let mut statement = conn.prepare_cached(text)?;
        let mut rows = match tag {
            None => statement.query([tenant.as_str(), &scope, &name])?,
            Some((key, value)) => statement.query([tenant.as_str(), &scope, &name, key, value])?,
        };
        for _ in 0..STEP {
            let Some(row) = rows.next()? else {
                return Ok(Step::Done(self.page(false)));
            };
            let (scope, name) = (text_of(row, HEAD_COLUMNS)?, text_of(row, HEAD_COLUMNS + 1)?);
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

    /// The filters that need no decoding.
    fn may_match(&self, row: &Row<'_>) -> Result<bool, Fault> {
        if !self.op.include_deleted && row.get::<_, Option<i64>>(4)?.is_some() {
            return Ok(false);
        }
        let Some(end) = self.op.expires_before else {
            return Ok(true);
        };
        let expires: Option<i64> = row.get(HEAD_COLUMNS - 1)?;
        Ok(expires.is_some_and(|at| at <= end.timestamp_micros()))
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
    bytes: usize,
}

impl Scanning {
    pub(crate) fn new(op: Scan) -> Self {
        Self {
            page_size: op.page_size(),
            after: op.after,
            items: Vec::new(),
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
            if self.items.len() == self.page_size || self.bytes >= SCAN_BYTES {
                return Ok(Step::Done(self.page(true)));
            }
            let record = Self::decode(row)?;
            self.bytes += record.payload.as_envelope().map_or(0, <[u8]>::len);
            self.after = Some(ScanCursor {
                id: record.head.id.clone(),
                version: record.head.version.version,
            });
            self.items.push(record);
        }
        Ok(Step::More)
    }

    fn decode(row: &Row<'_>) -> Result<Record<Sealed>, Fault> {
        let name = |at: usize| text_of(row, HEAD_COLUMNS + at);
        let (Ok(tenant), Ok(scope), Ok(name)) = (
            TenantId::new(name(0)?),
            Scope::new(name(1)?),
            CredentialName::new(name(2)?),
        ) else {
            return Err(Fault::damaged());
        };
        let payload: std::sync::Arc<[u8]> = row.get(HEAD_COLUMNS + 3)?;
        Ok(Record {
            payload: Sealed::envelope(payload).map_err(|_| Fault::damaged())?,
            head: record_head(row, CredentialRef::new(tenant, scope, name))?,
        })
    }

    fn page(&mut self, more: bool) -> ScanPage<Sealed> {
        ScanPage {
            items: std::mem::take(&mut self.items),
            next: self.after.take().filter(|_| more),
        }
    }
}
