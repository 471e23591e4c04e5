//! What an entry is filed under.

use nebula_credential_core::{CredentialRef, Selector, Version, limits};

/// Tenant, scope, name and selector. The epoch of the policy is in the [`Stamp`](crate::fence::Stamp) of an entry
/// instead, so that an entry of an earlier epoch makes room for its successor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) id: CredentialRef,
    pub(crate) version: Selector,
}

impl Key {
    pub(crate) fn latest(id: &CredentialRef) -> Self {
        Self {
            id: id.clone(),
            version: Selector::Latest,
        }
    }

    pub(crate) fn exact(id: &CredentialRef, version: Version) -> Self {
        Self {
            id: id.clone(),
            version: Selector::Exact(version),
        }
    }
}

/// Bytes of the longest address: three names, each behind its length, then selector and epoch.
const AAD_LEN: usize = 3 * (1 + limits::NAME_BYTES) + 4 + 8;

/// What a sealed value is bound to: its key and the epoch of the policy. Lies on the stack.
pub(crate) struct Aad {
    bytes: [u8; AAD_LEN],
    len: usize,
}

impl Aad {
    /// `None` for names longer than there are.
    pub(crate) fn of(key: &Key, epoch: u64) -> Option<Self> {
        let mut aad = Self {
            bytes: [0; AAD_LEN],
            len: 0,
        };
        let id = &key.id;
        for name in [id.tenant().as_str(), id.scope().as_str(), id.name().as_str()] {
            aad.push(&[u8::try_from(name.len()).ok()?])?;
            aad.push(name.as_bytes())?;
        }
        // No version is 0.
        let version = match key.version {
            Selector::Latest => 0,
            Selector::Exact(version) => version.get(),
        };
        aad.push(&version.to_le_bytes())?;
        aad.push(&epoch.to_le_bytes())?;
        Some(aad)
    }

    fn push(&mut self, part: &[u8]) -> Option<()> {
        let end = self.len.checked_add(part.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(part);
        self.len = end;
        Some(())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
