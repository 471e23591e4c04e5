//! The one request and the one answer that pass through the stack.
//!
//! `P` is the trust level of the payload: [`Plaintext`](crate::Plaintext) above the sealing layer and
//! [`Sealed`] below it. A store takes `Request<Sealed>` only, so a stack that forgets to seal does not compile.

mod page;
mod write;

pub use page::{Cursor, List, Page, Scan, ScanCursor, ScanPage};
pub use write::{Delete, DeleteMode, IdempotencyToken, Precondition, Put, Restore, Rewrite, Update};

use crate::{CredentialError, CredentialRef, OpContext, Record, RecordHead, Sealed, Version, VersionHead};

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
