//! Blobs crafted to open under two keys, against each layer of the format.
//!
//! The attacker knows both keys, computes both derivations, and makes one ciphertext whose AES-GCM tag is right under
//! both: plain AES-GCM takes it. The commitment can only be right for one.

use aes_gcm::KeyInit;
use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_crypto::{KeyRing, Sealer, Suite};

use crate::common::{Row, SUITES, change, envelope, plain, ring, time};
use crate::craft::{Pair, craft};
use crate::reader::{self, Context, DEK_WRAP, Key, PAYLOAD, SLOT_WRAP, derive, gcm};

const CRAFTED: usize = 30;

/// A message that plain AES-GCM opens under both pairs, which is the control.
fn crafted(pairs: [Pair; 2], aad: &[u8], length: usize) -> (Vec<u8>, [u8; 16]) {
    let (ciphertext, tag) = craft(&pairs, aad, length);
    for (key, nonce) in &pairs {
        assert!(gcm(key, nonce, aad, &ciphertext, &tag).is_some(), "control");
    }
    (ciphertext, tag)
}

fn seal_gcm(pair: &Pair, aad: &[u8], plain: &[u8]) -> (Vec<u8>, [u8; 16]) {
    use aes_gcm::AeadInOut;
    let mut buffer = plain.to_vec();
    let tag = aes_gcm::Aes256Gcm::new((&pair.0).into())
        .encrypt_inout_detached((&pair.1).into(), aad, buffer.as_mut_slice().into())
        .unwrap();
    (buffer, tag.into())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// One slot, two key files.
#[test]
fn no_slot_opens_under_two_key_files() {
    for suite in SUITES {
        let bytes = ring(suite).to_bytes();
        // Header 37, count 1; then the slot: number, kind, time, no parameters, 112 bytes of wrapped root.
        let context = [&bytes[..29], &bytes[38..48]].concat();
        let wrapped = 38 + 10 + 2 + 2;
        let salt = bytes[wrapped..wrapped + 32].to_vec();
        let mut refused = 0;
        for _ in 0..CRAFTED {
            let keys: [[u8; 32]; 2] = [random(), random()];
            let derived = keys.map(|key| derive(suite.id(), SLOT_WRAP, &key, &salt, &context));
            let pairs = derived.map(|(key, nonce, _)| (key, nonce));
            let (ciphertext, tag) = crafted(pairs, &[], 32);
            for (committed, other) in [(0, 1), (1, 0)] {
                let mut body = bytes[..bytes.len() - 32].to_vec();
                body[wrapped + 32..wrapped + 64].copy_from_slice(&derived[committed].2);
                body[wrapped + 64..wrapped + 96].copy_from_slice(&ciphertext);
                body[wrapped + 96..wrapped + 112].copy_from_slice(&tag);
                let forged = [body.as_slice(), blake3::hash(&body).as_bytes()].concat();
                let unlock = |at: usize| {
                    let mut key = keys[at];
                    let file = nebula_credential_crypto::KeyFile::from_key(&mut key).unwrap();
                    KeyRing::unlock(&forged, &file).unwrap_err()
                };
                // Control: it opens where it commits to, and what comes out is not this ring's root key.
                assert_eq!(unlock(committed).kind(), ErrorKind::Tampered);
                let error = unlock(other);
                assert!(matches!(error, CredentialError::Unlock(_)), "{error}");
                refused += 1;
            }
        }
        println!("{suite:?}: slots crafted for two key files, refused by the second: {refused}");
    }
}

/// An envelope in its parts, to be put together by an attacker who has the ring's keys.
struct Forge {
    suite: Suite,
    head: Vec<u8>,
    salt: [u8; 32],
    bound: Vec<u8>,
    ring: reader::Ring,
}

impl Forge {
    fn new(ring: &KeyRing) -> Self {
        let row = Row::new("db");
        let sealed = Sealer::new(ring.clone()).seal(row.place(), &plain(b"x")).unwrap();
        let bytes = sealed.as_envelope().unwrap();
        let context = Context {
            names: ["default", "global", "db", "api_key"],
            schema: 1,
            version: 1,
            created: row.version.created_at.timestamp_micros(),
            expires: None,
        };
        Self {
            suite: ring.suite(),
            head: bytes[..13].to_vec(),
            salt: random(),
            bound: context.bind(&bytes[..13], &256_u32.to_be_bytes()),
            ring: reader::unlock(&ring.to_bytes(), &Key::File([1; 32])),
        }
    }

    fn derive(&self, label: u8, key: &[u8], salt: &[u8], context: &[u8]) -> (Pair, [u8; 32]) {
        let (key, nonce, commitment) = derive(self.suite.id(), label, key, salt, context);
        ((key, nonce), commitment)
    }

    fn reference(&self, epoch: u32) -> Vec<u8> {
        [&[1], self.ring.id.as_slice(), &epoch.to_be_bytes()].concat()
    }

    fn wrap_aad(&self) -> Vec<u8> {
        [self.salt.as_slice(), &self.bound].concat()
    }

    fn envelope(
        &self,
        commitment: &[u8],
        reference: &[u8],
        wrapped: &[u8],
        payload: &[u8],
        tag: &[u8],
    ) -> Vec<u8> {
        let mut out = self.head.clone();
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&256_u32.to_be_bytes());
        out.extend_from_slice(commitment);
        for block in [reference, wrapped] {
            out.extend_from_slice(&(block.len() as u16).to_be_bytes());
            out.extend_from_slice(block);
        }
        out.extend_from_slice(payload);
        out.extend_from_slice(tag);
        out
    }
}

/// One wrapped data key, two epochs: the attacker changes only which key the envelope names.
#[test]
fn no_wrapped_key_opens_under_two_epochs() {
    for suite in SUITES {
        let ring = ring(suite);
        change(&ring, |draft| draft.rotate(time(1))).unwrap();
        let sealer = Sealer::new(ring.clone());
        let row = Row::new("db");
        let mut refused = 0;
        for _ in 0..CRAFTED {
            let forge = Forge::new(&ring);
            let wrap_salt: [u8; 32] = random();
            let derived = [1, 2].map(|epoch| {
                forge.derive(
                    DEK_WRAP,
                    &forge.ring.keys[&epoch],
                    &wrap_salt,
                    &forge.reference(epoch),
                )
            });
            let aad = forge.wrap_aad();
            let (ciphertext, tag) = crafted(derived.map(|(pair, _)| pair), &aad, 32);
            for (committed, other) in [(0, 1), (1, 0)] {
                let (pair, commitment) = &derived[committed];
                // What comes out as the data key seals a payload that is right in all else.
                let dek = gcm(&pair.0, &pair.1, &aad, &ciphertext, &tag).unwrap();
                let (payload_pair, payload_commitment) =
                    forge.derive(PAYLOAD, &dek, &forge.salt, &forge.bound);
                let mut padded = [0; 256];
                padded[..4].copy_from_slice(b"evil");
                padded[255] = 4;
                let (payload, payload_tag) = seal_gcm(&payload_pair, &[], &padded);
                let wrapped = [wrap_salt.as_slice(), commitment, &ciphertext, &tag].concat();
                let open = |at: usize| {
                    let reference = forge.reference(at as u32 + 1);
                    let bytes =
                        forge.envelope(&payload_commitment, &reference, &wrapped, &payload, &payload_tag);
                    sealer.open(row.place(), &envelope(&bytes).unwrap())
                };
                assert_eq!(open(committed).unwrap().expose(), b"evil", "control");
                assert_eq!(open(other).unwrap_err(), CredentialError::Tampered);
                refused += 1;
            }
        }
        println!("{suite:?}: data keys wrapped for two epochs, refused by the second: {refused}");
    }
}

/// One payload, two data keys, each properly wrapped under its own epoch.
#[test]
fn no_payload_opens_under_two_data_keys() {
    for suite in SUITES {
        let ring = ring(suite);
        change(&ring, |draft| draft.rotate(time(1))).unwrap();
        let sealer = Sealer::new(ring.clone());
        let row = Row::new("db");
        let mut refused = 0;
        for _ in 0..CRAFTED {
            let forge = Forge::new(&ring);
            let deks: [[u8; 32]; 2] = [random(), random()];
            let derived = deks.map(|dek| forge.derive(PAYLOAD, &dek, &forge.salt, &forge.bound));
            let (payload, tag) = crafted(derived.map(|(pair, _)| pair), &[], 256);
            for commitment in derived.map(|(_, commitment)| commitment) {
                for (at, dek) in deks.iter().enumerate() {
                    let epoch = at as u32 + 1;
                    let (wrap_salt, reference) = (random::<32>(), forge.reference(epoch));
                    let (pair, wrap_commitment) =
                        forge.derive(DEK_WRAP, &forge.ring.keys[&epoch], &wrap_salt, &reference);
                    let (ciphertext, wrap_tag) = seal_gcm(&pair, &forge.wrap_aad(), dek);
                    let wrapped = [wrap_salt.as_slice(), &wrap_commitment, &ciphertext, &wrap_tag].concat();
                    let bytes = forge.envelope(&commitment, &reference, &wrapped, &payload, &tag);
                    let opened = sealer.open(row.place(), &envelope(&bytes).unwrap());
                    assert_eq!(opened.unwrap_err(), CredentialError::Tampered);
                    refused += 1;
                }
            }
        }
        println!("{suite:?}: payloads crafted for two data keys, tried and refused: {refused}");
    }
}

/// The same hands make a proper envelope that opens: what is refused above is refused for its commitment.
#[test]
fn the_forge_is_right_in_all_else() {
    let ring = ring(Suite::default());
    let forge = Forge::new(&ring);
    let (dek, wrap_salt) = (random::<32>(), random::<32>());
    let (pair, commitment) = forge.derive(PAYLOAD, &dek, &forge.salt, &forge.bound);
    let padded = [0; 256];
    let (payload, tag) = seal_gcm(&pair, &[], &padded);
    let reference = forge.reference(1);
    let (pair, wrap_commitment) = forge.derive(DEK_WRAP, &forge.ring.keys[&1], &wrap_salt, &reference);
    let (ciphertext, wrap_tag) = seal_gcm(&pair, &forge.wrap_aad(), &dek);
    let wrapped = [wrap_salt.as_slice(), &wrap_commitment, &ciphertext, &wrap_tag].concat();
    let bytes = forge.envelope(&commitment, &reference, &wrapped, &payload, &tag);
    let opened = Sealer::new(ring).open(Row::new("db").place(), &envelope(&bytes).unwrap());
    assert!(opened.unwrap().is_empty());
}
