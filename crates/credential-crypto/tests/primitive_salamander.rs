//! Ciphertexts crafted to open under two keys: AES-GCM takes them, the committing AEAD does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use aes_gcm::KeyInit;
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::BlockCipherEncrypt;
use nebula_credential_core::CredentialError;
use nebula_credential_crypto::Suite;
use nebula_credential_crypto::hazmat::{Aad, BACKENDS, Label, gcm_open, open};

/// 30 messages, or as many as the environment asks for, up to 1,000.
fn crafted() -> usize {
    std::env::var("NEBULA_PROOF_COUNT").map_or(30, |count| count.parse::<usize>().unwrap().min(1000))
}

/// Multiplies in GF(2^128) as NIST SP 800-38D, section 6.3, writes blocks: the first bit is the
/// coefficient of x^0.
fn multiply(left: u128, right: u128) -> u128 {
    let (mut product, mut power) = (0, right);
    for bit in (0..128).rev() {
        if (left >> bit) & 1 == 1 {
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
        if (exponent >> bit) & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
    }
    result
}

/// By Fermat: the group of units has 2^128 - 1 elements.
fn inverse(element: u128) -> u128 {
    power(element, u128::MAX - 1)
}

fn encrypt_block(key: &[u8; 32], block: [u8; 16]) -> u128 {
    let mut block = block.into();
    Aes256::new(key.into()).encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

/// The authentication key, and the mask of the tag, of one key and nonce.
fn hash_key_and_mask(key: &[u8; 32], nonce: &[u8; 12]) -> (u128, u128) {
    let mut counter = [0; 16];
    counter[..12].copy_from_slice(nonce);
    counter[15] = 1;
    (encrypt_block(key, [0; 16]), encrypt_block(key, counter))
}

/// A ciphertext of `blocks` blocks and a tag that is right under both (key, nonce) pairs.
///
/// With h the hash key, m the mask and L the block of lengths, the tag of the blocks c_1..c_n is
/// m + L h + sum of c_i h^(n - i + 2). Choose all blocks but the first freely; equating both tags
/// is one linear equation for the first.
fn craft(pairs: [(&[u8; 32], &[u8; 12]); 2], mut blocks: Vec<u128>) -> (Vec<u8>, [u8; 16]) {
    let lengths = blocks.len() as u128 * 128;
    let tag = |blocks: &[u128], (hash, mask): (u128, u128)| {
        let sum = blocks.iter().fold(0, |sum, block| multiply(sum ^ block, hash));
        multiply(sum ^ lengths, hash) ^ mask
    };
    let [left, right] = pairs.map(|(key, nonce)| hash_key_and_mask(key, nonce));
    blocks[0] = 0;
    let difference = tag(&blocks, left) ^ tag(&blocks, right);
    let exponent = blocks.len() as u128 + 1;
    let factor = power(left.0, exponent) ^ power(right.0, exponent);
    blocks[0] = multiply(difference, inverse(factor));

    assert_eq!(tag(&blocks, left), tag(&blocks, right));
    let ciphertext = blocks.iter().flat_map(|block| block.to_be_bytes()).collect();
    (ciphertext, tag(&blocks, left).to_be_bytes())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn random_blocks() -> Vec<u128> {
    random::<64>()
        .as_chunks()
        .0
        .iter()
        .map(|block| u128::from_be_bytes(*block))
        .collect()
}

/// Key, nonce and commitment of a message, as the documentation defines them.
fn derive(suite: Suite, key: &[u8; 32], salt: &[u8; 32], context: &[u8]) -> ([u8; 32], [u8; 12], [u8; 32]) {
    let mut okm = [0; 76];
    match suite {
        Suite::Blake3Aes256Gcm => {
            let input = [salt.as_slice(), &[Label::Payload as u8], context].concat();
            blake3::Hasher::new_keyed(key)
                .update(&input)
                .finalize_xof()
                .fill(&mut okm);
        }
        _ => {
            let prefix = b"nebula-credential message key v1".as_slice();
            let info = [prefix, &[Label::Payload as u8], context].concat();
            hkdf::Hkdf::<sha2::Sha512>::new(Some(salt), key)
                .expand(&info, &mut okm)
                .unwrap();
        }
    }
    (
        okm[..32].try_into().unwrap(),
        okm[32..44].try_into().unwrap(),
        okm[44..].try_into().unwrap(),
    )
}

#[test]
fn plain_aes_gcm_opens_a_crafted_message_under_two_keys() {
    let mut opened = 0;
    for _ in 0..crafted() {
        let (left, right, nonce) = (random(), random(), random());
        let (ciphertext, tag) = craft([(&left, &nonce), (&right, &nonce)], random_blocks());
        for &backend in BACKENDS {
            for key in [&left, &right] {
                assert!(gcm_open(backend, key, &nonce, &[], &mut ciphertext.clone(), &tag));
            }
        }
        opened += 1;
    }
    println!(
        "crafted messages that plain AES-GCM opens under two keys: {opened}/{}",
        crafted()
    );
    assert_eq!(opened, crafted());
}

/// The attacker knows both keys, computes both derivations, makes one ciphertext whose AES-GCM tag
/// is right under both, and may send either commitment.
fn refused_under_the_other(suite: Suite, [left, right]: [(&[u8; 32], &[u8]); 2], salt: &[u8; 32]) -> usize {
    let derived = [left, right].map(|(key, context)| derive(suite, key, salt, context));
    let pairs = [(&derived[0].0, &derived[0].1), (&derived[1].0, &derived[1].1)];
    let (ciphertext, tag) = craft(pairs, random_blocks());
    let mut refused = 0;
    for &backend in BACKENDS {
        for (key, nonce) in pairs {
            assert!(
                gcm_open(backend, key, nonce, &[], &mut ciphertext.clone(), &tag),
                "control"
            );
        }
        for (sent, other) in [(0, 1), (1, 0)] {
            let commitment = &derived[sent].2;
            let attempt = |(key, context): (&[u8; 32], &[u8])| {
                let mut buffer = ciphertext.clone();
                let aad = Aad::new(context);
                open(
                    backend,
                    suite,
                    Label::Payload,
                    key,
                    salt,
                    commitment,
                    &aad,
                    &mut buffer,
                    &tag,
                )
            };
            assert_eq!(
                attempt([left, right][sent]),
                Ok(()),
                "control: it opens where it commits to"
            );
            assert_eq!(attempt([left, right][other]), Err(CredentialError::Tampered));
            refused += 1;
        }
    }
    refused
}

#[test]
fn no_crafted_message_opens_under_a_second_key() {
    for suite in [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm] {
        let mut refused = 0;
        for _ in 0..crafted() {
            let (left, right) = (random(), random());
            refused += refused_under_the_other(suite, [(&left, b"one"), (&right, b"one")], &random());
        }
        println!("{suite:?}: crafted for two keys, refused under the second: {refused}");
        assert_eq!(refused, crafted() * 2 * BACKENDS.len());
    }
}

#[test]
fn no_crafted_message_opens_in_a_second_context() {
    for suite in [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm] {
        let mut refused = 0;
        for _ in 0..crafted() {
            let key = random();
            refused += refused_under_the_other(suite, [(&key, b"dev"), (&key, b"prod")], &random());
        }
        println!("{suite:?}: crafted for two contexts, refused in the second: {refused}");
        assert_eq!(refused, crafted() * 2 * BACKENDS.len());
    }
}
