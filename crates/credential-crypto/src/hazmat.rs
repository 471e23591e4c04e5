//! The primitive itself, for benchmarks, test vectors and fuzzing. Not covered by semantic versioning; nothing that
//! stores credentials should name it.

pub use crate::primitive::passphrase::derive as argon2id;
pub use crate::primitive::{Aad, Label, Sealed, open_in_place_with as open, seal_in_place_with as seal};
pub use crate::random::{Fresh, HedgeKey};

use crate::random::PooledEntropy;
use crate::{Backend, Entropy};

/// Every backend that is compiled in.
pub const BACKENDS: &[Backend] = &[
    Backend::RustCrypto,
    #[cfg(feature = "aws-lc-rs")]
    Backend::AwsLc,
];

/// The read-ahead source that sealing uses.
pub fn pooled_entropy() -> impl Entropy {
    PooledEntropy
}

/// AES-256-GCM as `backend` runs it, in place.
pub fn gcm_seal(
    backend: Backend,
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &mut [u8; 16],
) -> bool {
    backend.seal(key, nonce, aad, buffer, tag).is_ok()
}

/// AES-256-GCM as `backend` runs it, in place; `false` leaves `buffer` unspecified.
pub fn gcm_open(
    backend: Backend,
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8; 16],
) -> bool {
    backend.open(key, nonce, aad, buffer, tag).is_ok()
}
