//! Writes: what they make stale, and until when.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use nebula_credential_core::{CredentialError, CredentialRef, Op, Plaintext, Response};

use super::Answer;
use crate::floor::Floor;
use crate::state::State;

/// What an operation makes stale.
pub(super) enum Effect {
    One(CredentialRef),
    /// Of one that is gone afterwards.
    Gone(CredentialRef),
    All,
}

impl Effect {
    /// `None` for what only reads.
    pub(super) fn of(op: &Op<Plaintext>) -> Option<Self> {
        match op {
            Op::Get(_) | Op::Head(_) | Op::List(_) | Op::Versions(_) | Op::Scan(_) => None,
            Op::Put(op) => Some(Self::One(op.id.clone())),
            Op::Rewrite(op) => Some(Self::One(op.id.clone())),
            Op::Update(op) => Some(Self::One(op.id.clone())),
            Op::Delete(op) => Some(Self::Gone(op.id.clone())),
            Op::Restore(op) => Some(Self::One(op.id.clone())),
            // An operation this version does not know may write anything.
            _ => Some(Self::All),
        }
    }
}

/// A write under way: copies are stale from before it begins until after it ended, however it ends.
pub(super) struct Write {
    state: Arc<State>,
    effect: Effect,
    /// Whether it is known to be over.
    over: bool,
}

impl Write {
    pub(super) fn begin(state: Arc<State>, effect: Effect) -> Self {
        let write = Self {
            state,
            effect,
            over: false,
        };
        write.invalidate();
        write
    }

    pub(super) fn end(mut self, answer: &Answer, now: DateTime<Utc>) {
        self.over = !matches!(
            answer,
            Err(CredentialError::OutcomeUnknown(_) | CredentialError::DeadlineExceeded(_))
        );
        match (&self.effect, answer) {
            (Effect::One(id), Ok(Response::Head(head))) => {
                let floor = Floor::Version(head.latest, head.updated_at);
                self.state.acknowledged(id, floor, now);
            }
            (Effect::Gone(id), Ok(_)) => self.state.acknowledged(id, Floor::Gone, now),
            _ => {}
        }
    }

    fn invalidate(&self) {
        match &self.effect {
            Effect::One(id) | Effect::Gone(id) => self.state.changed(id),
            Effect::All => self.state.clear(),
        }
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if let (false, Effect::One(id) | Effect::Gone(id)) = (self.over, &self.effect) {
            self.state.fence.unsettle(id);
        }
        self.invalidate();
    }
}
