use crate::limits;

/// What a store can do. Layers and the conformance suite read it; the default is nothing.
///
/// A flag that is off means the operation answers [`Unsupported`](crate::CredentialError::Unsupported).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capability {
    /// Keeps more than the latest version.
    pub versions: bool,
    /// Checks a [`Precondition`](crate::Precondition) and writes as one step, against every other writer.
    pub compare_and_set: bool,
    /// Honours an [`IdempotencyToken`](crate::IdempotencyToken).
    pub idempotency: bool,
    /// Can undo a deletion.
    pub soft_delete: bool,
    /// Replaces tags and phase in place.
    pub update: bool,
    /// Scans every payload and replaces one in place, as a key rotation must.
    pub rewrite: bool,
    /// An acknowledged write survives the loss of power.
    pub durable: bool,
    /// Several processes may use it at once.
    pub multi_process: bool,
    /// Encrypts at rest itself, so that it may hold provider-managed values.
    pub encrypts_at_rest: bool,
    /// Longest sealed payload, in bytes.
    pub max_sealed_bytes: usize,
    /// Most versions it keeps of one credential.
    pub max_versions: u32,
}

impl Capability {
    /// Everything, within the limits of this library.
    pub const ALL: Self = Self {
        versions: true,
        compare_and_set: true,
        idempotency: true,
        soft_delete: true,
        update: true,
        rewrite: true,
        durable: true,
        multi_process: true,
        encrypts_at_rest: true,
        max_sealed_bytes: limits::SEALED_BYTES_MAX,
        max_versions: limits::VERSIONS_MAX,
    };
}
