//! What is recorded.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use nebula_credential_core::{
    Circumstances, CredentialError, CredentialRef, Decision, DeleteMode, ErrorKind, Op, OpContext,
    Permission, Phase, Plaintext, Principal, Source, Version, limits,
};

/// What happened, or is about to.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A value was given out, or the key ring.
    Accessed,
    /// What is known without the key was looked at. Recorded of a list that a policy filters and of a look that a store
    /// refuses; of others where [asked for](crate::AuditBuilder::inspections).
    Inspected,
    /// A first version was stored.
    Created,
    /// A version was stored over another, or tags or phase were changed.
    Updated,
    /// Who a credential is shared with was changed, or who owns it.
    Shared,
    /// A credential was withdrawn for good.
    Revoked,
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
    /// An action asked for what it had not declared.
    ScopeViolation,
    /// A rule for emergencies allowed it. The operation says what it was; a change has said so in its intent, too.
    EmergencyAccess,
    /// A record was damaged, moved, or sealed under another key.
    DecryptionFailed,
    /// A key ring was changed.
    KeyRotated,
    /// The access policy was changed while the program ran, or was to be and could not.
    PolicyChanged,
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
            Self::Shared => "shared",
            Self::Revoked => "revoked",
            Self::Rotated => "rotated",
            Self::Deleted => "deleted",
            Self::Purged => "purged",
            Self::Restored => "restored",
            Self::PermissionDenied => "permission_denied",
            Self::ScopeViolation => "scope_violation",
            Self::EmergencyAccess => "emergency_access",
            Self::DecryptionFailed => "decryption_failed",
            Self::KeyRotated => "key_rotated",
            Self::PolicyChanged => "policy_changed",
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
    /// What for, in the caller's words; at most [`limits::PURPOSE_BYTES`].
    pub purpose: Option<String>,
    /// What the caller told of its circumstances.
    pub circumstances: Option<Arc<Circumstances>>,
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
            circumstances: None,
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
            Op::Update(update) if update.phase == Some(Phase::Revoked) => (EventKind::Revoked, None),
            Op::Update(_) if ctx.permission == Some(Permission::Share) => (EventKind::Shared, None),
            Op::Update(_) => (EventKind::Updated, None),
            Op::Delete(delete) if delete.mode == DeleteMode::Purge => (EventKind::Purged, None),
            Op::Delete(_) => (EventKind::Deleted, None),
            Op::Restore(_) => (EventKind::Restored, None),
            _ => (EventKind::Inspected, None),
        };
        let change = ctx.report.as_ref().and_then(|report| report.change());
        let mut event = Self {
            id: op.subject().cloned(),
            version,
            operation: Some(op.name()),
            permission: Permission::of(op, ctx.permission).ok().flatten(),
            detail: change.map(|what| Cow::Owned(what.to_string())),
            ..Self::new(kind)
        };
        event.asked_by(ctx);
        event
    }

    /// Takes over from a request who asked, what for, and under which circumstances and trace.
    pub fn asked_by(&mut self, ctx: &OpContext) {
        self.principal = Some(ctx.principal.clone());
        self.purpose = ctx.purpose.as_deref().map(str::to_owned);
        self.circumstances.clone_from(&ctx.circumstances);
        self.trace_id = ctx.trace_id;
    }

    /// Refuses words of the caller that are too long to be recorded. What cannot be recorded for that reason is not done
    /// under any setting: a caller could keep whatever it does out of the log.
    pub(crate) fn check(&self) -> Result<(), CredentialError> {
        let told = self.circumstances.as_ref();
        let environment = told.and_then(|told| told.environment.as_deref());
        let words = [
            ("purpose bytes", limits::PURPOSE_BYTES, self.purpose.as_deref()),
            ("environment bytes", limits::ENVIRONMENT_BYTES, environment),
        ];
        for (what, most, text) in words {
            let len = text.map_or(0, str::len);
            if len > most {
                return Err(CredentialError::limit(what, most, len));
            }
        }
        Ok(())
    }

    /// The kind of an operation that failed.
    pub(crate) fn failed(&mut self, kind: ErrorKind) {
        self.outcome = Some(kind.as_str());
        if kind == ErrorKind::Tampered {
            self.kind = EventKind::DecryptionFailed;
        }
    }

    /// What was decided. What was denied is then [`EventKind::PermissionDenied`] or [`EventKind::ScopeViolation`], and what
    /// a rule for emergencies allowed [`EventKind::EmergencyAccess`], unless it found something damaged.
    pub fn decided(&mut self, decision: &Decision) {
        self.allowed = Some(decision.allowed);
        self.rule = Some(decision.rule.to_string());
        self.kind = match self.kind {
            _ if decision.is_undeclared() => EventKind::ScopeViolation,
            _ if !decision.allowed => EventKind::PermissionDenied,
            EventKind::DecryptionFailed => EventKind::DecryptionFailed,
            _ if decision.is_emergency() => EventKind::EmergencyAccess,
            kind => kind,
        };
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
