//! What reads many credentials: page by page, each beginning after the last entry of the one before.

use chrono::{DateTime, Utc};

use crate::{CredentialName, CredentialRef, Record, RecordHead, Scope, Tags, TenantId, Version, limits};

/// One page of the credentials of a tenant, ordered by scope and name.
#[derive(Debug, Clone)]
pub struct List {
    /// Whose.
    pub tenant: TenantId,
    /// Only those of this scope.
    pub scope: Option<Scope>,
    /// Only names that begin with these bytes; no character is a wildcard.
    pub prefix: Option<String>,
    /// Only those with all of these tags.
    pub tags: Tags,
    /// Only those that expire before this time.
    pub expires_before: Option<DateTime<Utc>>,
    /// The deleted ones too.
    pub include_deleted: bool,
    /// How many, at most [`limits::PAGE`].
    pub limit: usize,
    /// Begin after this one: [`Page::next`] of the page before.
    pub after: Option<Cursor>,
}

impl List {
    /// The first page of everything `tenant` has that is not deleted.
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            scope: None,
            prefix: None,
            tags: Tags::new(),
            expires_before: None,
            include_deleted: false,
            limit: limits::PAGE,
            after: None,
        }
    }

    /// Whether a record belongs on some page.
    pub fn matches(&self, head: &RecordHead) -> bool {
        *head.id.tenant() == self.tenant
            && self.scope.as_ref().is_none_or(|scope| scope == head.id.scope())
            && self
                .prefix
                .as_ref()
                .is_none_or(|prefix| head.id.name().as_str().starts_with(prefix))
            && head.tags.contains_all(&self.tags)
            && self
                .expires_before
                .is_none_or(|end| head.version.expires_at.is_some_and(|at| at < end))
            && (self.include_deleted || head.deleted_at.is_none())
    }

    /// The number of entries this page may have: at least 1, at most [`limits::PAGE`].
    pub fn page_size(&self) -> usize {
        self.limit.clamp(1, limits::PAGE)
    }
}

/// A place in a list: the last entry of a page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Its scope.
    pub scope: Scope,
    /// Its name.
    pub name: CredentialName,
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, by scope and name.
    pub items: Vec<RecordHead>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

impl Page {
    /// The page `list` asks for out of `heads`, which come in order of scope and name.
    pub fn select(list: &List, heads: impl Iterator<Item = RecordHead>) -> Self {
        let after = |head: &RecordHead| {
            list.after
                .as_ref()
                .is_none_or(|at| (head.id.scope(), head.id.name()) > (&at.scope, &at.name))
        };
        let mut matching = heads.filter(|head| list.matches(head) && after(head));
        let items: Vec<_> = matching.by_ref().take(list.page_size()).collect();
        let more = matching.next().is_some();
        let next = items.last().filter(|_| more).map(|head| Cursor {
            scope: head.id.scope().clone(),
            name: head.id.name().clone(),
        });
        Self { items, next }
    }
}

/// One page of every kept payload, ordered by tenant, scope, name and version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Begin after this one: [`ScanPage::next`] of the page before.
    pub after: Option<ScanCursor>,
    /// How many, at most [`limits::PAGE`].
    pub limit: usize,
}

impl Scan {
    /// The number of entries this page may have: at least 1, at most [`limits::PAGE`].
    pub fn page_size(&self) -> usize {
        self.limit.clamp(1, limits::PAGE)
    }
}

/// A place in a scan: the last entry of a page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanCursor {
    /// Its address.
    pub id: CredentialRef,
    /// Its version.
    pub version: Version,
}

/// One page of a scan.
#[derive(Debug)]
pub struct ScanPage<P> {
    /// The entries: one for each kept version.
    pub items: Vec<Record<P>>,
    /// Versions among them that the store holds but cannot read. They count as entries and stop nothing.
    pub damaged: Vec<ScanCursor>,
    /// Where the next page begins, if there is one.
    pub next: Option<ScanCursor>,
}

impl<P> ScanPage<P> {
    /// The page `scan` asks for out of `records`, which come in order of tenant, scope, name and version.
    pub fn select(scan: &Scan, records: impl Iterator<Item = Record<P>>) -> Self {
        let after = |record: &Record<P>| {
            let place = (&record.head.id, record.head.version.version);
            scan.after.as_ref().is_none_or(|at| place > (&at.id, at.version))
        };
        let mut rest = records.filter(after);
        let items: Vec<_> = rest.by_ref().take(scan.page_size()).collect();
        let more = rest.next().is_some();
        let next = items.last().filter(|_| more).map(|record| ScanCursor {
            id: record.head.id.clone(),
            version: record.head.version.version,
        });
        let damaged = Vec::new();
        Self { items, damaged, next }
    }
}
