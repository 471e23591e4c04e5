//! What was sealed once and must open for ever: key rings and envelopes of the corpus, and what opens them.
//!
//! They are read from the corpus, not made anew: an envelope of an old program is what a new one has to open.

use std::sync::{Arc, LazyLock};

use chrono::DateTime;
use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, Plaintext, Scope, TenantId, Version, VersionHead,
};
use nebula_credential_crypto::{
    CredentialEncryption, Entropy, KeyFile, KeyRing, Place, RingSettings, Sealer, Suite,
};

macro_rules! seed {
    ($path:literal) => {
        include_bytes!(concat!("../corpus/", $path))
    };
}

/// Key rings that [`key_file`] opens.
pub const RINGS: &[&[u8]] = &[
    RING,
    RING_ROTATED,
    RING_HKDF,
    seed!("keyring_decode/golden-eight-slots"),
    seed!("keyring_decode/golden-every-slot-kind"),
    seed!("keyring_decode/golden-disabled-epoch"),
];

/// The ring of [`sealer`]: one slot, one epoch.
const RING: &[u8] = seed!("keyring_decode/golden-one-slot");
/// The same, rotated once.
const RING_ROTATED: &[u8] = seed!("keyring_decode/golden-rotated");
/// A ring of the other suite.
const RING_HKDF: &[u8] = seed!("keyring_decode/golden-hkdf-sha512");

/// Envelopes at the place of [`Row::golden`] with their secrets, which [`sealer`] opens.
pub const ENVELOPES: &[(&[u8], &[u8])] = &[
    (seed!("envelope_decode/golden-empty-secret"), b""),
    (seed!("envelope_decode/golden-short"), SHORT),
    (seed!("envelope_decode/golden-full-bucket"), &[b'x'; 252]),
    (seed!("envelope_decode/golden-two-buckets"), &[b'x'; 253]),
    (seed!("envelope_decode/golden-hkdf-sha512"), SHORT),
];

/// Messages that [`encryption`] opens, with what they hold.
pub const MESSAGES: &[(&[u8], &[u8])] = &[
    (seed!("envelope_decode/golden-message"), SHORT),
    (seed!("envelope_decode/golden-message-hkdf-sha512"), SHORT),
];

/// A secret text that [`encryption`] encrypted as a credential.
pub const CREDENTIAL: &[u8] = seed!("envelope_decode/golden-credential");

/// Bundles; [`key_file`] opens those that are sealed for a key file.
pub const BUNDLES: &[&[u8]] = &[
    BUNDLE,
    seed!("import_bundle/golden-hkdf-sha512"),
    seed!("import_bundle/golden-passphrase"),
    seed!("import_bundle/golden-both"),
];

/// One of the default suite for a key file.
pub const BUNDLE: &[u8] = seed!("import_bundle/golden-key-file");

/// The secret of most of them.
pub const SHORT: &[u8] = b"hunter2-hunter2";

/// The key of the slot that opens every golden ring.
pub fn key_file() -> KeyFile {
    KeyFile::from_key(&mut [1; 32]).expect("memory for a key")
}

/// The key of [`MESSAGES`].
pub fn encryption() -> &'static CredentialEncryption {
    static ENCRYPTION: LazyLock<CredentialEncryption> = LazyLock::new(|| CredentialEncryption::new(&[2; 32]));
    &ENCRYPTION
}

/// Always answers alike: the same input is sealed into the same bytes, so that every finding can be replayed.
struct Constant;

impl Entropy for Constant {
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
        out.fill(7);
        Ok(())
    }
}

fn unlock(bytes: &[u8]) -> Sealer {
    let settings = RingSettings {
        entropy: Some(Arc::new(Constant)),
        ..RingSettings::default()
    };
    Sealer::new(KeyRing::unlock_with(settings, bytes, &key_file()).expect("a golden ring opens"))
}

/// Seals and opens under the golden ring of `suite`.
pub fn sealer(suite: Suite) -> &'static Sealer {
    static BLAKE3: LazyLock<Sealer> = LazyLock::new(|| unlock(RING));
    static HKDF: LazyLock<Sealer> = LazyLock::new(|| unlock(RING_HKDF));
    match suite {
        Suite::HkdfSha512Aes256Gcm => &HKDF,
        _ => &BLAKE3,
    }
}

/// The ring of the default suite after a rotation: what [`sealer`] seals is one epoch behind it.
pub fn rotated() -> &'static Sealer {
    static ROTATED: LazyLock<Sealer> = LazyLock::new(|| unlock(RING_ROTATED));
    &ROTATED
}

/// Where a secret belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The address.
    pub id: CredentialRef,
    /// Version, type, schema and times.
    pub version: VersionHead,
}

impl Row {
    /// The place of every golden envelope.
    pub fn golden() -> Self {
        Self {
            id: address("default", "global", "db").expect("lawful names"),
            version: VersionHead {
                version: Version::FIRST,
                credential_type: "api_key".into(),
                schema_version: 1,
                created_at: DateTime::from_timestamp_micros(CREATED_AT).expect("a time"),
                expires_at: None,
            },
        }
    }

    /// The same, borrowed.
    pub fn place(&self) -> Place<'_> {
        Place {
            id: &self.id,
            version: &self.version,
        }
    }
}

/// 2026-01-01T00:00:00Z and a fraction, in microseconds: when the golden rings and records were made.
pub const CREATED_AT: i64 = 1_767_225_600_123_456;

/// An address, if its parts are lawful.
pub fn address(tenant: &str, scope: &str, name: &str) -> Result<CredentialRef, CredentialError> {
    Ok(CredentialRef::new(
        TenantId::new(tenant)?,
        Scope::new(scope)?,
        CredentialName::new(name)?,
    ))
}

/// `bytes` as a secret.
pub fn plain(bytes: &[u8]) -> Plaintext {
    Plaintext::new(bytes.to_vec())
}
