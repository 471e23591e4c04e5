//! What access control, audit and telemetry say to each other through a request.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::{CredentialError, CredentialName, Op};

/// What may be done with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// See the value.
    Read,
    /// Have the value put to use, by an action or a child process, without being shown it.
    Use,
    /// Store a value, or change tags and phase.
    Write,
    /// Replace the value by a new one, or by an earlier one.
    Rotate,
    /// Delete, restore or purge.
    Delete,
    /// Grant others what one has.
    Share,
    /// Try the value against what it is for.
    Test,
    /// Everything, and change who may do what.
    Admin,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Use,
        Self::Write,
        Self::Rotate,
        Self::Delete,
        Self::Share,
        Self::Test,
        Self::Admin,
    ];

    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Use => "use",
            Self::Write => "write",
            Self::Rotate => "rotate",
            Self::Delete => "delete",
            Self::Share => "share",
            Self::Test => "test",
            Self::Admin => "admin",
        }
    }

    /// The permission `op` needs, where the caller claims to want `claimed`.
    ///
    /// A value is read to be seen unless the caller says that it is to be used or tested; a value is stored unless the
    /// caller says that it is a rotation. `None` for what shows metadata only, and for what no tenant asks for.
    ///
    /// # Errors
    /// [`CredentialError::AccessDenied`] where the claim does not fit the operation.
    pub fn of<P>(op: &Op<P>, claimed: Option<Self>) -> Result<Option<Self>, CredentialError> {
        let choices: &[Self] = match op {
            Op::Get(_) => &[Self::Read, Self::Use, Self::Test],
            Op::Put(_) => &[Self::Write, Self::Rotate],
            Op::Update(_) => &[Self::Write, Self::Rotate, Self::Share],
            Op::Delete(_) | Op::Restore(_) => &[Self::Delete],
            Op::Rewrite(_) | Op::Scan(_) => &[Self::Admin],
            Op::Head(_) | Op::List(_) | Op::Versions(_) => return Ok(None),
        };
        match claimed {
            None => Ok(choices.first().copied()),
            Some(claimed) if choices.contains(&claimed) => Ok(Some(claimed)),
            Some(claimed) => Err(CredentialError::access_denied(format!(
                "`{}` is not what a `{}` does; name the permission the operation needs",
                claimed.as_str(),
                op.name()
            ))),
        }
    }
}

/// The circumstances of a request that only policies ask for.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The workflow that runs.
    pub workflow: Option<CredentialName>,
    /// The node of the workflow that runs.
    pub node: Option<CredentialName>,
    /// The user on whose behalf it runs.
    pub user: Option<CredentialName>,
    /// Where it runs, such as `production`.
    pub environment: Option<Arc<str>>,
    /// The network address the request came from.
    pub address: Option<IpAddr>,
    /// Whether the principal proved itself by more than one factor.
    pub mfa: bool,
}

/// What inner layers found out about one request. An outer layer that wants to know puts one into
/// [`OpContext::report`](crate::OpContext::report) before it calls on; whoever knows first says it once.
#[derive(Debug, Default)]
pub struct Report {
    decision: OnceLock<Decision>,
    filtered: OnceLock<()>,
    source: OnceLock<Source>,
    cut_short: OnceLock<Duration>,
    change: OnceLock<Arc<str>>,
    passed_over: OnceLock<()>,
}

impl Report {
    /// What the policy decided, if one was asked.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.get()
    }

    /// Says what the policy decided.
    pub fn decided(&self, decision: Decision) {
        // The first word stands: nothing decides twice about one request.
        let _ = self.decision.set(decision);
    }

    /// Whether the answer was filtered: a list of what the caller may know of, whether or not anything was left out of it.
    pub fn is_filtered(&self) -> bool {
        self.filtered.get().is_some()
    }

    /// Says that the answer is filtered.
    pub fn filtered(&self) {
        let _ = self.filtered.set(());
    }

    /// Where the answer came from, if it was not simply the store.
    pub fn source(&self) -> Option<&Source> {
        self.source.get()
    }

    /// Says where the answer came from.
    pub fn served_by(&self, source: Source) {
        let _ = self.source.set(source);
    }

    /// What a change comes to, in words that hold no value, where the request alone does not tell.
    pub fn change(&self) -> Option<&Arc<str>> {
        self.change.get()
    }

    /// Says what the change comes to, before it is asked for: an audit records it with the intent.
    pub fn changes(&self, what: impl Into<Arc<str>>) {
        let _ = self.change.set(what.into());
    }

    /// How much time a layer wanted to let pass before it asked again, where the caller did not have it: then its error is
    /// no answer for who does.
    pub fn cut_short(&self) -> Option<Duration> {
        self.cut_short.get().copied()
    }

    /// Says that the caller did not have the time to wait for as long as `wait` and ask again.
    pub fn cut_short_of(&self, wait: Duration) {
        let _ = self.cut_short.set(wait);
    }

    /// Whether a store that comes first could not be reached and another one answered: what it says may be old.
    pub fn has_passed_over(&self) -> bool {
        self.passed_over.get().is_some()
    }

    /// Says that a store that comes first could not be reached, and the next one is asked.
    pub fn passed_over(&self) {
        let _ = self.passed_over.set(());
    }
}

/// What a policy decided, and why. What is told to the caller may be less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// The rule that decided; for a denial for want of any rule, `default-deny`.
    pub rule: Arc<str>,
}

impl Decision {
    /// What `rule` begins with where a rule for emergencies allowed it; no other rule has a colon in its id.
    pub const EMERGENCY: &'static str = "emergency:";
    /// The `rule` of what an action did not declare: no policy was asked, and no rule of one has this id.
    pub const ALLOW_LIST: &'static str = "allow-list";

    /// Whether a rule for emergencies allowed it.
    pub fn is_emergency(&self) -> bool {
        self.allowed && self.rule.starts_with(Self::EMERGENCY)
    }

    /// Whether it was refused as an action had not declared it.
    pub fn is_undeclared(&self) -> bool {
        !self.allowed && *self.rule == *Self::ALLOW_LIST
    }
}

/// Where an answer came from.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This link of a chain of stores.
    Link(Arc<str>),
    /// A cache.
    Cache {
        /// How old the answer is.
        age: Duration,
    },
    /// A cache, past the life of the entry, because the store could not be asked.
    Stale {
        /// How old the answer is.
        age: Duration,
    },
}
