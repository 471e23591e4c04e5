use std::fmt;
use std::future::Future;

use zeroize::Zeroizing;

use crate::CredentialError;

/// Longest reference to a wrapping key, in bytes.
pub const KEY_REFERENCE_BYTES: usize = 255;

/// Longest wrapped data key, in bytes: room for the answer of any HSM or cloud KMS.
pub const WRAPPED_KEY_BYTES: usize = 1024;

/// A key that seals data and is itself wrapped by a [`KeyProvider`]. Wiped on drop; no copy, no print.
pub struct DataKey(Box<Zeroizing<[u8; 32]>>);

impl DataKey {
    /// Takes the key out of `bytes` and wipes them.
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(bytes);
        zeroize::Zeroize::zeroize(bytes);
        Self(key)
    }

    /// The key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey([REDACTED])")
    }
}

/// A data key as it may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which key wrapped it, in the provider's own words; at most [`KEY_REFERENCE_BYTES`].
    pub reference: Vec<u8>,
    /// The wrapped key; at most [`WRAPPED_KEY_BYTES`].
    pub bytes: Vec<u8>,
}

/// Wraps and unwraps data keys: a passphrase, a key file, an HSM, a cloud KMS.
///
/// No method returns a wrapping key, so one that cannot leave its device is as good as any other.
pub trait KeyProvider: Send + Sync + 'static {
    /// Wraps `key` so that only the same `context` unwraps it.
    ///
    /// # Errors
    /// [`CredentialError::KeyNotFound`], [`CredentialError::Unlock`], [`CredentialError::Unavailable`] or
    /// [`CredentialError::Hsm`].
    fn wrap(
        &self,
        key: &DataKey,
        context: &[u8],
    ) -> impl Future<Output = Result<WrappedKey, CredentialError>> + Send;

    /// Unwraps what [`wrap`](Self::wrap) made under the same `context`.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap), and [`CredentialError::Tampered`].
    fn unwrap(
        &self,
        wrapped: &WrappedKey,
        context: &[u8],
    ) -> impl Future<Output = Result<DataKey, CredentialError>> + Send;
}
