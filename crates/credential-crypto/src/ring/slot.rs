use std::fmt;

use chrono::{DateTime, Utc};

use crate::protector::{SlotKind, WrappedRoot};

/// The number of a slot within its ring, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub(crate) u8);

impl SlotId {
    /// The slot of that number; whether a ring has it is another question.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The root key as one protector wrapped it.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) kind: SlotKind,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) wrapped: WrappedRoot,
}

/// What is known of a slot without its key.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its number.
    pub id: SlotId,
    /// What opens it.
    pub kind: SlotKind,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Slot {
    pub(crate) fn info(&self) -> SlotInfo {
        SlotInfo {
            id: self.id,
            kind: self.kind,
            created_at: self.created_at,
        }
    }
}
