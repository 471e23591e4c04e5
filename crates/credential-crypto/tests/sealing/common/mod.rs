//! What the tests share: fixed randomness, cheap protectors, a record, and a store in memory.

pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, Plaintext, Scope, Sealed, TenantId, Version, VersionHead,
};
use nebula_credential_crypto::{
    Argon2Params, Entropy, KeyFile, KeyRing, Passphrase, Place, RingSettings, Suite,
};

pub const SUITES: [Suite; 2] = [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm];

/// The same bytes again and again: the worst source there is.
pub struct Constant(pub u8);

impl Entropy for Constant {
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
        out.fill(self.0);
        Ok(())
    }
}

/// Bytes that differ from call to call, and are the same in every run: for golden files.
#[derive(Default)]
pub struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new_derive_key("nebula-credential 2026-11 golden test entropy")
            .update(&call.to_be_bytes())
            .finalize_xof()
            .fill(out);
        Ok(())
    }
}

pub fn counted(suite: Suite) -> RingSettings {
    RingSettings {
        suite,
        entropy: Some(Arc::new(Counted::default())),
    }
}

/// 2026-01-01T00:00:00Z and some seconds.
pub fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + seconds, 123_456_000).unwrap()
}

pub fn key_file(byte: u8) -> KeyFile {
    KeyFile::from_key(&mut [byte; 32]).unwrap()
}

pub fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).with_params(Argon2Params::FLOOR)
}

pub fn ring(suite: Suite) -> KeyRing {
    let settings = RingSettings {
        suite,
        ..RingSettings::default()
    };
    KeyRing::create_with(settings, &key_file(1), time(0)).unwrap()
}

/// Changes a ring that is kept nowhere.
pub fn change<T>(
    ring: &KeyRing,
    change: impl FnOnce(&mut nebula_credential_crypto::RingDraft<'_>) -> Result<T, CredentialError>,
) -> Result<T, CredentialError> {
    ring.update(change, |_| Ok(()))
}

#[derive(Clone)]
pub struct Row {
    pub id: CredentialRef,
    pub version: VersionHead,
}

impl Row {
    pub fn new(name: &str) -> Self {
        Self {
            id: id("default", "global", name),
            version: VersionHead {
                version: Version::FIRST,
                credential_type: "api_key".into(),
                schema_version: 1,
                created_at: time(1),
                expires_at: None,
            },
        }
    }

    pub fn place(&self) -> Place<'_> {
        Place {
            id: &self.id,
            version: &self.version,
        }
    }
}

pub fn id(tenant: &str, scope: &str, name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::new(tenant).unwrap(),
        Scope::new(scope).unwrap(),
        CredentialName::new(name).unwrap(),
    )
}

pub fn plain(bytes: &[u8]) -> Plaintext {
    Plaintext::new(bytes.to_vec())
}

pub fn envelope(bytes: &[u8]) -> Result<Sealed, CredentialError> {
    Sealed::envelope(bytes.to_vec())
}

/// Every single-bit flip, every truncation, and extensions of 1 to 64 bytes, of zeros and of ones.
pub fn mutations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flips = (0..bytes.len() * 8).map(move |bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    });
    let cuts = (0..bytes.len()).map(move |length| bytes[..length].to_vec());
    let extensions = (1..=64).flat_map(move |more| [0, 0xff].map(|byte| [bytes, &vec![byte; more]].concat()));
    flips.chain(cuts).chain(extensions)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
