//! What is recorded.

use std::borrow::Cow;
use std::time::Duration;

use nebula_credential_core::{
    CredentialRef, Decision, DeleteMode, ErrorKind, Op, OpContext, Permission, Plaintext, Principal, Source,
    Version,
};

/// What happened, or is about to.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A value was given out, or the key ring.
    Accessed,
    /// What is known without the key was given out.
    Inspected,
    /// A first version was stored.
    Created,
    /// A version was stored over another, or tags or phase were changed.
    Updated,
    /// A value was replaced by a new one.
    Rotated,
    /// A credential was deleted.
    Deleted,
    /// A credential was destroyed.
    Purged,
    /// A deletion was undone.
    Restored,
    /// A policy said no.
    PermissionDenied,
    /// A record was damaged, moved, or sealed under another key.
    DecryptionFailed,
    /// A key ring was changed.
    KeyRotated,
    /// Something the program recorded on its own account.
    Custom,
    /// The log was opened for writing.
    LogOpened,
    /// The log goes on in a new file.
    LogRotated,
    /// The end of the log was incomplete after a crash, and was put right.
    LogRecovered,
    /// Old files of the log were removed, as the retention says.
    LogRetired,
    /// Records were lost: by a sink that could not follow, or under a policy of best effort.
    RecordsLost,
}

impl EventKind {
    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accessed => "accessed",
            Self::Inspected => "inspected",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Rotated => "rotated",
            Self::Deleted => "deleted",
            Self::Purged => "purged",
            Self::Restored => "restored",
            Self::PermissionDenied => "permission_denied",
            Self::DecryptionFailed => "decryption_failed",
            Self::KeyRotated => "key_rotated",
            Self::Custom => "custom",
            Self::LogOpened => "log_opened",
            Self::LogRotated => "log_rotated",
            Self::LogRecovered => "log_recovered",
            Self::LogRetired => "log_retired",
            Self::RecordsLost => "records_lost",
        }
    }
}

/// Where in an operation a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before a change was made.
    Intent,
    /// After it ended. Of a read: when its end was known, and before a value was released.
    Outcome,
}

impl Stage {
    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
        }
    }
}

/// One event. It has no place for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Before or after.
    pub stage: Stage,
    /// Who.
    pub principal: Option<Principal>,
    /// With which credential.
    pub id: Option<CredentialRef>,
    /// Which version of it.
    pub version: Option<Version>,
    /// By which operation.
    pub operation: Option<&'static str>,
    /// Wanting what.
    pub permission: Option<Permission>,
    /// What for, in the caller's words.
    pub purpose: Option<String>,
    /// Whether the policy allowed it, if one was asked.
    pub allowed: Option<bool>,
    /// The policy's rule that decided.
    pub rule: Option<String>,
    /// `ok`, the kind of the error, or `abandoned` by its caller.
    pub outcome: Option<&'static str>,
    /// Where a value came from, if not simply from the store.
    pub source: Option<String>,
    /// How long it took.
    pub duration: Option<Duration>,
    /// The trace it belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// For an outcome: the number of the record of its intent.
    pub intent: Option<u64>,
    /// Further words.
    pub detail: Option<Cow<'static, str>>,
}

impl Event {
    /// An event of that kind, with nothing else known of it yet.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            stage: Stage::Outcome,
            principal: None,
            id: None,
            version: None,
            operation: None,
            permission: None,
            purpose: None,
            allowed: None,
            rule: None,
            outcome: None,
            source: None,
            duration: None,
            trace_id: None,
            intent: None,
            detail: None,
        }
    }

    /// What is known of an operation before it is made.
    pub(crate) fn of(ctx: &OpContext, op: &Op<Plaintext>) -> Self {
        let (kind, version) = match op {
            Op::Get(_) => (EventKind::Accessed, None),
            Op::Put(put) if ctx.permission == Some(Permission::Rotate) => {
                (EventKind::Rotated, Some(put.version.version))
            }
            Op::Put(put) if put.version.version == Version::FIRST => {
                (EventKind::Created, Some(put.version.version))
            }
            Op::Put(put) => (EventKind::Updated, Some(put.version.version)),
            Op::Rewrite(rewrite) => (EventKind::KeyRotated, Some(rewrite.version)),
            Op::Update(_) => (EventKind::Updated, None),
            Op::Delete(delete) if delete.mode == DeleteMode::Purge => (EventKind::Purged, None),
            Op::Delete(_) => (EventKind::Deleted, None),
            Op::Restore(_) => (EventKind::Restored, None),
            _ => (EventKind::Inspected, None),
        };
        Self {
            principal: Some(ctx.principal.clone()),
            id: op.subject().cloned(),
            version,
            operation: Some(op.name()),
            permission: Permission::of(op, ctx.permission).ok().flatten(),
            purpose: ctx.purpose.as_deref().map(str::to_owned),
            trace_id: ctx.trace_id,
            ..Self::new(kind)
        }
    }

    /// The kind of an operation that failed.
    pub(crate) fn failed(&mut self, kind: ErrorKind) {
        self.outcome = Some(kind.as_str());
        if kind == ErrorKind::Tampered {
            self.kind = EventKind::DecryptionFailed;
        }
    }

    /// What the policy decided. What it denied is [`EventKind::PermissionDenied`].
    pub fn decided(&mut self, decision: &Decision) {
        self.allowed = Some(decision.allowed);
        self.rule = Some(decision.rule.to_string());
        if !decision.allowed {
            self.kind = EventKind::PermissionDenied;
        }
    }

    pub(crate) fn came_from(&mut self, source: &Source) {
        self.source = Some(match source {
            Source::Link(name) => format!("link:{name}"),
            Source::Cache { .. } => "cache".to_owned(),
            Source::Stale { .. } => "stale".to_owned(),
            _ => "other".to_owned(),
        });
    }
}
