#![doc = include_str!("../README.md")]

mod builder;
mod chain;
mod change;
mod checkpoint;
mod entry;
mod event;
mod extent;
mod files;
mod layer;
mod line;
mod log;
mod logger;
mod place;
mod retention;
mod seed;
mod sink;
mod state;
mod sync;
mod turn;
mod verification;
mod verify;

use std::borrow::Cow;

pub use builder::{AuditBuilder, Durability, Names, OnFailure};
pub use change::Change;
pub use checkpoint::CheckpointKey;
pub use entry::{Entries, Entry, entries};
pub use event::{Event, EventKind, Stage};
pub use extent::{Extent, extent};
pub use layer::{Audit, AuditLayer};
pub use logger::AuditLogger;
pub use seed::AuditSeed;
pub use sink::{AuditSink, TracingSink, WriterSink};
pub use verification::{Fault, Gap, Problem, Tail, Verification};
pub use verify::{VerifyWith, verify, verify_watched};

fn unavailable(reason: impl Into<Cow<'static, str>>) -> nebula_credential_core::CredentialError {
    nebula_credential_core::CredentialError::audit_unavailable(reason)
}
