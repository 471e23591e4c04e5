use crate::{CredentialError, DeleteMode, Op, Precondition, Sealed, limits};

/// What a store can do. Layers and the conformance suite read it; the default is nothing.
///
/// A flag that is off means the operation answers [`Unsupported`](crate::CredentialError::Unsupported) and does
/// nothing; a precondition or token that cannot be honoured is refused likewise, never ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capability {
    /// Keeps more than the latest version, and lists them.
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
    /// Longest sealed payload, in bytes: from 1 KiB to [`SEALED_BYTES_MAX`](limits::SEALED_BYTES_MAX).
    pub max_sealed_bytes: usize,
    /// Most versions it keeps of one credential: 1 without `versions`, at most
    /// [`VERSIONS_MAX`](limits::VERSIONS_MAX).
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

    /// Refuses a request that a store with this capability cannot honour. [`StoreHandle`](crate::StoreHandle) asks
    /// this first, so no store is ever given such a request.
    ///
    /// # Errors
    /// [`CredentialError::Unsupported`], or [`CredentialError::LimitExceeded`] for a payload that is too long.
    pub fn check(&self, op: &Op<Sealed>) -> Result<(), CredentialError> {
        let can = |able: bool, remedy: &'static str| {
            able.then_some(())
                .ok_or_else(|| CredentialError::unsupported(remedy))
        };
        let compare = |precondition: Precondition| {
            let able = self.compare_and_set || precondition == Precondition::None;
            can(
                able,
                "this store cannot compare and set; ask without a precondition",
            )
        };
        match op {
            Op::Get(_) | Op::Head(_) | Op::List(_) => Ok(()),
            Op::Put(put) => {
                compare(put.precondition)?;
                let able = self.idempotency || put.token.is_none();
                can(
                    able,
                    "this store does not know idempotency tokens; ask without one",
                )?;
                self.check_payload(&put.payload)
            }
            Op::Rewrite(rewrite) => {
                can(
                    self.rewrite,
                    "this store cannot replace a payload in place; store a new version",
                )?;
                self.check_payload(&rewrite.payload)
            }
            Op::Update(update) => {
                compare(update.precondition)?;
                can(
                    self.update,
                    "this store cannot change tags or phase alone; store a new version",
                )
            }
            Op::Delete(delete) => {
                compare(delete.precondition)?;
                let able = self.soft_delete || delete.mode == DeleteMode::Purge;
                can(able, "this store cannot undo a deletion; purge instead")
            }
            Op::Restore(_) => can(
                self.soft_delete,
                "this store cannot undo a deletion; store the value again",
            ),
            Op::Versions(_) => can(
                self.versions,
                "this store keeps one version; read the current one",
            ),
            Op::Scan(_) => can(
                self.rewrite,
                "this store cannot scan its payloads; list and read them",
            ),
        }
    }

    fn check_payload(&self, payload: &Sealed) -> Result<(), CredentialError> {
        let length = match payload.as_provider_managed() {
            Some(value) if self.encrypts_at_rest => value.len(),
            _ => payload.require_envelope()?.len(),
        };
        if length > self.max_sealed_bytes {
            return Err(CredentialError::limit(
                "sealed bytes",
                self.max_sealed_bytes,
                length,
            ));
        }
        Ok(())
    }
}
