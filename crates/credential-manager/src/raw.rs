use std::fmt;

use nebula_credential_core::{Plaintext, Record, RecordHead};

/// The stored bytes of a credential of whatever type. Wiped on drop; its `Debug` shows no secret.
pub struct RawCredential {
    pub(crate) head: RecordHead,
    pub(crate) payload: Plaintext,
}

impl RawCredential {
    pub(crate) fn new(record: Record<Plaintext>) -> Self {
        Self {
            head: record.head,
            payload: record.payload,
        }
    }

    /// What is known of it without the key.
    pub fn head(&self) -> &RecordHead {
        &self.head
    }

    /// The JSON that is stored, secrets included.
    pub fn expose(&self) -> &[u8] {
        self.payload.expose()
    }
}

impl fmt::Debug for RawCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawCredential")
            .field("id", &self.head.id)
            .field("payload", &self.payload)
            .finish()
    }
}
