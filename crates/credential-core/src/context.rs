use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{Circumstances, Clock, CredentialError, CredentialName, Permission, Report, SystemClock};

/// Who asks.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A person.
    User(CredentialName),
    /// A program.
    Service(CredentialName),
    /// A workflow.
    Workflow(CredentialName),
    /// One action of a workflow.
    Action(CredentialName),
    /// The process itself, where nothing finer is known.
    Process,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(id) => write!(f, "service:{id}"),
            Self::Workflow(id) => write!(f, "workflow:{id}"),
            Self::Action(id) => write!(f, "action:{id}"),
            Self::Process => f.write_str("process"),
        }
    }
}

/// As it is shown: `user:alice`, `service:billing`, `workflow:w7`, `action:send` or `process`.
impl FromStr for Principal {
    type Err = CredentialError;

    fn from_str(text: &str) -> Result<Self, CredentialError> {
        if text == "process" {
            return Ok(Self::Process);
        }
        let kind = match text.split_once(':') {
            Some(("user", name)) => (Self::User as fn(_) -> _, name),
            Some(("service", name)) => (Self::Service as fn(_) -> _, name),
            Some(("workflow", name)) => (Self::Workflow as fn(_) -> _, name),
            Some(("action", name)) => (Self::Action as fn(_) -> _, name),
            _ => {
                return Err(CredentialError::invalid_name(
                    "this is no principal; write user:NAME, service:NAME, workflow:NAME, action:NAME or process",
                ));
            }
        };
        let (principal, name) = kind;
        CredentialName::new(name).map(principal)
    }
}

/// The circumstances of one request: who asks, what for, until when, under which trace.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct OpContext {
    /// Who asks.
    pub principal: Principal,
    /// What for, in the caller's words; recorded, and a policy may ask for it.
    pub purpose: Option<Arc<str>>,
    /// When the answer ceases to matter.
    pub deadline: Option<DateTime<Utc>>,
    /// The W3C trace id this request belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// What the caller means to do; `None` for what the operation needs, see [`Permission::of`].
    pub permission: Option<Permission>,
    /// What else a policy may ask for.
    pub circumstances: Option<Arc<Circumstances>>,
    /// Where inner layers tell outer ones what they found out; `None` if no layer asked.
    pub report: Option<Arc<Report>>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl OpContext {
    /// A request of `principal` by `clock`, with no purpose, deadline or trace.
    pub fn new(principal: Principal, clock: Arc<dyn Clock>) -> Self {
        Self {
            principal,
            purpose: None,
            deadline: None,
            trace_id: None,
            permission: None,
            circumstances: None,
            report: None,
            clock,
        }
    }

    /// The present.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Refuses a request whose deadline has passed.
    ///
    /// # Errors
    /// [`CredentialError::DeadlineExceeded`].
    pub fn check_deadline(&self) -> Result<(), CredentialError> {
        match self.deadline {
            Some(deadline) if deadline <= self.now() => Err(CredentialError::deadline_exceeded(
                "nothing was done; allow more time",
            )),
            _ => Ok(()),
        }
    }
}

impl Default for OpContext {
    /// The process itself, by the clock of the operating system.
    fn default() -> Self {
        Self::new(Principal::Process, Arc::new(SystemClock))
    }
}

impl fmt::Debug for OpContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpContext")
            .field("principal", &self.principal)
            .field("purpose", &self.purpose)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
