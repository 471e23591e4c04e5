//! Blobs crafted to open under two keys, against each layer of the format.
//!
//! The attacker knows both keys, computes both derivations, and makes one ciphertext whose AES-GCM tag is right under
//! both: plain AES-GCM takes it. The commitment can only be right for one.

use aes_gcm::KeyInit;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_crypto::{KeyRing, Sealer, Suite};

use crate::common::{Row, SUITES, change, envelope, plain, ring, time};
use crate::reader::{self, Context, DEK_WRAP, Key, PAYLOAD, SLOT_WRAP, derive, gcm};

const CRAFTED: usize = 30;

/// Multiplies in GF(2^128) as NIST SP 800-38D, section 6.3, writes blocks.
fn multiply(left: u128, right: u128) -> u128 {
    let (mut product, mut power) = (0, right);
    for bit in (0..128).rev() {
        if left >> bit & 1 == 1 {
            product ^= power;
        }
        let carry = power & 1;
        power = (power >> 1) ^ (carry * (0xE1 << 120));
    }
    product
}

fn power(base: u128, exponent: u128) -> u128 {
    let (mut result, mut square) = (1 << 127, base);
    for bit in 0..128 {
        if exponent >> bit & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
    }
    result
}

fn blocks(bytes: &[u8]) -> Vec<u128> {
    let block = |chunk: &[u8]| {
        let mut block = [0; 16];
        block[..chunk.len()].copy_from_slice(chunk);
        u128::from_be_bytes(block)
    };
    bytes.chunks(16).map(block).collect()
}

type Pair = ([u8; 32], [u8; 12]);

/// A ciphertext of `length` bytes, a multiple of 16, whose tag is right under both pairs: all but the first block are
/// free, and equating the two tags is one linear equation for that one.
fn craft(pairs: [Pair; 2], aad: &[u8], length: usize) -> (Vec<u8>, [u8; 16]) {
    let [left, right] = pairs.map(|(key, nonce)| {
        let cipher = Aes256::new(&key.into());
        let encrypt = |block: [u8; 16]| {
            let mut block = block.into();
            cipher.encrypt_block(&mut block);
            u128::from_be_bytes(block.into())
        };
        let mut counter = [0; 16];
        counter[..12].copy_from_slice(&nonce);
        counter[15] = 1;
        (encrypt([0; 16]), encrypt(counter))
    });
    let aad_blocks = blocks(aad);
    let lengths = ((aad.len() as u128 * 8) << 64) | (length as u128 * 8);
    let tag = |ciphertext: &[u128], (hash, mask): (u128, u128)| {
        let all = aad_blocks.iter().chain(ciphertext);
        let sum = all.fold(0, |sum, block| multiply(sum ^ block, hash));
        multiply(sum ^ lengths, hash) ^ mask
    };
    let mut random = vec![0; length];
    getrandom::fill(&mut random).unwrap();
    let mut ciphertext = blocks(&random);
    ciphertext[0] = 0;
    let difference = tag(&ciphertext, left) ^ tag(&ciphertext, right);
    let exponent = ciphertext.len() as u128 + 1;
    let factor = power(left.0, exponent) ^ power(right.0, exponent);
    ciphertext[0] = multiply(difference, power(factor, u128::MAX - 1));
    let bytes: Vec<u8> = ciphertext.iter().flat_map(|block| block.to_be_bytes()).collect();
    let tag = tag(&ciphertext, left).to_be_bytes();
    for (key, nonce) in &pairs {
        assert!(
            gcm(key, nonce, aad, &bytes, &tag).is_some(),
            "control: plain AES-GCM opens it"
        );
    }
    (bytes, tag)
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
            let (ciphertext, tag) = craft(pairs, &[], 32);
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
            let (ciphertext, tag) = craft(derived.map(|(pair, _)| pair), &aad, 32);
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
            let (payload, tag) = craft(derived.map(|(pair, _)| pair), &[], 256);
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
