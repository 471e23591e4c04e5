//! The one request and the one answer that pass through the stack.
//!
//! `P` is the trust level of the payload: [`Plaintext`](crate::Plaintext) above the sealing layer and
//! [`Sealed`] below it. A store takes `Request<Sealed>` only, so a stack that forgets to seal does not compile.

use chrono::{DateTime, Utc};

use crate::{
    CredentialError, CredentialName, CredentialRef, OpContext, Phase, Record, RecordHead, Scope, Sealed,
    Tags, TenantId, Version, VersionHead, limits,
};

/// What to do, and under which circumstances.
#[derive(Debug)]
pub struct Request<P> {
    /// Who asks, what for, until when.
    pub ctx: OpContext,
    /// What to do.
    pub op: Op<P>,
}

/// Only sealed requests may be copied, as a retry must.
impl Clone for Request<Sealed> {
    fn clone(&self) -> Self {
        Self {
            ctx: self.ctx.clone(),
            op: self.op.clone(),
        }
    }
}

/// An operation on credentials.
#[non_exhaustive]
#[derive(Debug)]
pub enum Op<P> {
    /// Read a value. Answered by [`Response::Record`].
    Get(Get),
    /// Read what is known without the key. Answered by [`Response::Head`].
    Head(Get),
    /// Store a new version. Answered by [`Response::Head`].
    Put(Put<P>),
    /// Put other bytes in the place of a version's payload; the value stays. Answered by [`Response::Done`].
    Rewrite(Rewrite<P>),
    /// Change tags or phase. Answered by [`Response::Head`].
    Update(Update),
    /// Delete. Answered by [`Response::Done`].
    Delete(Delete),
    /// Undo a deletion. Answered by [`Response::Head`].
    Restore(Restore),
    /// Read one page of heads. Answered by [`Response::Page`].
    List(List),
    /// Read the heads of all kept versions, newest first. Answered by [`Response::Versions`].
    Versions(CredentialRef),
    /// Read every kept payload of every tenant, deleted ones included, for key rotation and integrity checks.
    /// Answered by [`Response::Scanned`]. Below the sealing layer only; no tenant's request becomes this.
    Scan(Scan),
}

impl Clone for Op<Sealed> {
    fn clone(&self) -> Self {
        match self {
            Self::Get(op) => Self::Get(op.clone()),
            Self::Head(op) => Self::Head(op.clone()),
            Self::Put(op) => Self::Put(op.clone()),
            Self::Rewrite(op) => Self::Rewrite(op.clone()),
            Self::Update(op) => Self::Update(op.clone()),
            Self::Delete(op) => Self::Delete(op.clone()),
            Self::Restore(op) => Self::Restore(op.clone()),
            Self::List(op) => Self::List(op.clone()),
            Self::Versions(id) => Self::Versions(id.clone()),
            Self::Scan(op) => Self::Scan(op.clone()),
        }
    }
}

impl<P> Op<P> {
    /// Whether it changes anything.
    pub const fn changes(&self) -> bool {
        match self {
            Self::Get(_) | Self::Head(_) | Self::List(_) | Self::Versions(_) | Self::Scan(_) => false,
            Self::Put(_) | Self::Rewrite(_) | Self::Update(_) | Self::Delete(_) | Self::Restore(_) => true,
        }
    }

    /// The credential it is about; a list and a scan are about none.
    pub const fn subject(&self) -> Option<&CredentialRef> {
        match self {
            Self::Get(op) | Self::Head(op) => Some(&op.id),
            Self::Put(op) => Some(&op.id),
            Self::Rewrite(op) => Some(&op.id),
            Self::Update(op) => Some(&op.id),
            Self::Delete(op) => Some(&op.id),
            Self::Restore(op) => Some(&op.id),
            Self::Versions(id) => Some(id),
            Self::List(_) | Self::Scan(_) => None,
        }
    }

    /// The stable name of the operation, in `snake_case`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Head(_) => "head",
            Self::Put(_) => "put",
            Self::Rewrite(_) => "rewrite",
            Self::Update(_) => "update",
            Self::Delete(_) => "delete",
            Self::Restore(_) => "restore",
            Self::List(_) => "list",
            Self::Versions(_) => "versions",
            Self::Scan(_) => "scan",
        }
    }
}

/// Which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Selector {
    /// The current one.
    #[default]
    Latest,
    /// This one, kept or not.
    Exact(Version),
}

impl Selector {
    /// The version that is meant where `latest` is the current one.
    pub fn resolve(self, latest: Version) -> Version {
        match self {
            Self::Latest => latest,
            Self::Exact(version) => version,
        }
    }
}

/// Reads one version of a credential that is not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// The credential.
    pub id: CredentialRef,
    /// The version.
    pub version: Selector,
}

/// What must hold for a change to be made; checked and made as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// There is no such credential, or it is deleted.
    IfAbsent,
    /// It is not deleted and this is its latest version.
    IfVersion(Version),
}

impl Precondition {
    /// Compares with what a store holds: its latest version, and whether that is live (not deleted).
    ///
    /// # Errors
    /// [`CredentialError::AlreadyExists`], [`CredentialError::VersionConflict`] or [`CredentialError::NotFound`].
    pub fn check(
        self,
        id: &CredentialRef,
        latest: Option<Version>,
        live: bool,
    ) -> Result<(), CredentialError> {
        match self {
            Self::None => Ok(()),
            Self::IfAbsent if live => Err(CredentialError::already_exists(id.to_string())),
            Self::IfAbsent => Ok(()),
            Self::IfVersion(_) if !live => Err(CredentialError::not_found(id.to_string())),
            Self::IfVersion(expected) if latest == Some(expected) => Ok(()),
            Self::IfVersion(expected) => Err(CredentialError::VersionConflict {
                name: id.to_string(),
                expected: Some(expected),
                found: latest,
            }),
        }
    }
}

/// Makes a repeated change harmless: a store that has applied this token answers as it did then.
///
/// A token names one change of one credential. It is looked up before the precondition and the version are checked;
/// where it is found, nothing is written, whatever else the request says, and the answer is the version it made. A
/// store remembers it at least as long as it keeps that version. A refused change does not use its token up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyToken(pub [u8; 16]);

/// Stores a new version.
///
/// The version is chosen above the sealing layer, because it is sealed into the payload. A store accepts it only if
/// it is the one after the latest it ever held for this name; otherwise it reports a conflict.
#[derive(Debug, Clone)]
pub struct Put<P> {
    /// The credential.
    pub id: CredentialRef,
    /// The new version's head; `version` is the latest plus one.
    pub version: VersionHead,
    /// The phase the credential is in afterwards.
    pub phase: Phase,
    /// The tags it has afterwards; `None` keeps those of a live credential.
    pub tags: Option<Tags>,
    /// The value.
    pub payload: P,
    /// What must hold.
    pub precondition: Precondition,
    /// Makes a repetition harmless.
    pub token: Option<IdempotencyToken>,
    /// How many versions to keep, the new one included; at least 1, and never more than
    /// [`Capability::max_versions`](crate::Capability::max_versions): a store takes anything else as the nearer of the two.
    pub keep_versions: u32,
}

impl<P> Put<P> {
    /// The checks every store makes before it writes, in the step that writes: the precondition, that the version is
    /// the one after `latest`, which the store ever held, and that what is revoked stays so. `live` is the head, if the
    /// credential is live.
    ///
    /// # Errors
    /// Those of [`Precondition::check`], [`CredentialError::VersionConflict`], and [`CredentialError::InvalidState`].
    pub fn check(&self, latest: Option<Version>, live: Option<&RecordHead>) -> Result<(), CredentialError> {
        self.precondition.check(&self.id, latest, live.is_some())?;
        let next = latest.map_or(Some(Version::FIRST), Version::next);
        if next == Some(self.version.version) {
            return live.map_or(Ok(()), RecordHead::check_not_revoked);
        }
        Err(CredentialError::VersionConflict {
            name: self.id.to_string(),
            expected: Version::new(self.version.version.get() - 1),
            found: latest,
        })
    }

    /// The head after this change at `now`, where `live` is the one before it, if the credential is live.
    pub fn head(&self, live: Option<&RecordHead>, now: DateTime<Utc>) -> RecordHead {
        let old_tags = || live.map(|head| head.tags.clone()).unwrap_or_default();
        RecordHead {
            id: self.id.clone(),
            version: self.version.clone(),
            latest: self.version.version,
            phase: self.phase,
            created_at: live.map_or(self.version.created_at, |head| head.created_at),
            updated_at: now,
            deleted_at: None,
            tags: self.tags.clone().unwrap_or_else(old_tags),
        }
    }
}

/// Puts other bytes in the place of a payload, if it is still the one that was read; deleted credentials included.
///
/// Nothing else changes, not even [`updated_at`](RecordHead::updated_at).
#[derive(Debug, Clone)]
pub struct Rewrite<P> {
    /// The credential.
    pub id: CredentialRef,
    /// The version.
    pub version: Version,
    /// The payload as it was read; anything else there is a conflict.
    pub expected: Sealed,
    /// The new payload.
    pub payload: P,
}

/// Changes what lies in the clear; no new version. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The credential.
    pub id: CredentialRef,
    /// The new tags, all of them.
    pub tags: Option<Tags>,
    /// The new phase.
    pub phase: Option<Phase>,
    /// What must hold.
    pub precondition: Precondition,
}

impl Update {
    /// The checks every store makes before it changes `live`, in the step that does: the precondition, and that what is
    /// revoked stays so.
    ///
    /// # Errors
    /// Those of [`Precondition::check`], and [`CredentialError::InvalidState`].
    pub fn check(&self, live: &RecordHead) -> Result<(), CredentialError> {
        self.precondition.check(&self.id, Some(live.latest), true)?;
        match self.phase {
            None | Some(Phase::Revoked) => Ok(()),
            Some(_) => live.check_not_revoked(),
        }
    }
}

/// Deletes a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The credential.
    pub id: CredentialRef,
    /// How thoroughly.
    pub mode: DeleteMode,
    /// What must hold.
    pub precondition: Precondition,
}

/// How thoroughly to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Hide it; it can be restored.
    Soft,
    /// Destroy every payload, deleted or not. The last version number is remembered and never used again.
    Purge,
}

/// Undoes a soft deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The credential.
    pub id: CredentialRef,
}

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

/// The answer to a [`Request`].
#[non_exhaustive]
#[derive(Debug)]
pub enum Response<P> {
    /// A value.
    Record(Record<P>),
    /// What is known without the key.
    Head(RecordHead),
    /// One page of heads.
    Page(Page),
    /// All kept versions, newest first.
    Versions(Vec<VersionHead>),
    /// One page of every kept payload.
    Scanned(ScanPage<P>),
    /// It is done.
    Done,
}

impl<P> Response<P> {
    /// The record of an answered [`Op::Get`].
    ///
    /// # Errors
    /// [`CredentialError::Internal`] if a layer answered another question; likewise below.
    pub fn into_record(self) -> Result<Record<P>, CredentialError> {
        match self {
            Self::Record(record) => Ok(record),
            _ => Err(mismatch()),
        }
    }

    /// The record, where it lies.
    ///
    /// # Errors
    /// [`CredentialError::Internal`].
    pub fn as_record(&self) -> Result<&Record<P>, CredentialError> {
        match self {
            Self::Record(record) => Ok(record),
            _ => Err(mismatch()),
        }
    }

    /// The head.
    ///
    /// # Errors
    /// [`CredentialError::Internal`].
    pub fn into_head(self) -> Result<RecordHead, CredentialError> {
        match self {
            Self::Head(head) => Ok(head),
            _ => Err(mismatch()),
        }
    }

    /// The page.
    ///
    /// # Errors
    /// [`CredentialError::Internal`].
    pub fn into_page(self) -> Result<Page, CredentialError> {
        match self {
            Self::Page(page) => Ok(page),
            _ => Err(mismatch()),
        }
    }

    /// The page of a scan.
    ///
    /// # Errors
    /// [`CredentialError::Internal`].
    pub fn into_scanned(self) -> Result<ScanPage<P>, CredentialError> {
        match self {
            Self::Scanned(page) => Ok(page),
            _ => Err(mismatch()),
        }
    }

    /// The versions.
    ///
    /// # Errors
    /// [`CredentialError::Internal`].
    pub fn into_versions(self) -> Result<Vec<VersionHead>, CredentialError> {
        match self {
            Self::Versions(versions) => Ok(versions),
            _ => Err(mismatch()),
        }
    }
}

fn mismatch() -> CredentialError {
    CredentialError::internal("a layer answered with the wrong kind of response")
}
