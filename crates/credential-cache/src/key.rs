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
pub(crate) const AAD_LEN: usize = 3 * (1 + limits::NAME_BYTES) + 4 + 8;

/// What a value that is sealed for `key` under `epoch` is bound to, written into `space`; `None` for names longer than
/// there are.
pub(crate) fn aad<'s>(key: &Key, epoch: u64, space: &'s mut [u8; AAD_LEN]) -> Option<&'s [u8]> {
    let id = &key.id;
    let mut len = 0;
    let mut push = |part: &[u8]| {
        let end = len + part.len();
        space.get_mut(len..end)?.copy_from_slice(part);
        len = end;
        Some(())
    };
    for name in [id.tenant().as_str(), id.scope().as_str(), id.name().as_str()] {
        push(&[u8::try_from(name.len()).ok()?])?;
        push(name.as_bytes())?;
    }
    // No version is 0.
    let version = match key.version {
        Selector::Latest => 0,
        Selector::Exact(version) => version.get(),
    };
    push(&version.to_le_bytes())?;
    push(&epoch.to_le_bytes())?;
    space.get(..len)
}
