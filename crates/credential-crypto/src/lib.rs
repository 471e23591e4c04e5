#![doc = include_str!("../README.md")]

mod bundle;
mod bytes;
mod direct;
mod encryption;
mod envelope;
mod head;
mod layer;
mod primitive;
mod protector;
mod random;
mod rewrap;
mod ring;
mod sealer;
mod wrap;

pub use bundle::{BUNDLE_BYTES_MAX, Bundle, BundledCredential};
pub use encryption::CredentialEncryption;
pub use envelope::Place;
pub use layer::{Encrypt, EncryptLayer};
pub use nebula_credential_memory::{Protection, harden_process};
pub use primitive::{Argon2Params, Backend, Suite};
pub use protector::{KeyFile, Passphrase, PassphraseAndKeyFile, Protector, ProviderProtector, SlotKind};
pub use random::{Entropy, OsEntropy};
pub use rewrap::{EpochUse, JobReport, KeyJob, Progress};
pub use ring::{
    Epoch, EpochInfo, EpochState, KeyRing, KeyRingFile, RING_BYTES_MAX, RingDraft, RingId, RingSettings,
    RingStatus, SlotId, SlotInfo,
};
pub use sealer::Sealer;

#[doc = include_str!("../FORMAT.md")]
pub mod format {}

#[doc(hidden)]
pub mod hazmat;
