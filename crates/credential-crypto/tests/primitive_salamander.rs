//! Ciphertexts crafted to open under two keys: AES-GCM takes them, the committing AEAD does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "test code"
)]

use nebula_credential_core::CredentialError;
use nebula_credential_crypto::Suite;
use nebula_credential_crypto::hazmat::{Aad, BACKENDS, Label, gcm_open, open};

use self::craft::craft;

#[path = "sealing/craft.rs"]
mod craft;

/// Bytes of a crafted message.
const LENGTH: usize = 64;

/// 30 messages, or as many as the environment asks for, up to 1,000.
fn crafted() -> usize {
    std::env::var("NEBULA_PROOF_COUNT").map_or(30, |count| count.parse::<usize>().unwrap().min(1000))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
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
        let nonce = random();
        let pairs = [(random(), nonce), (random(), nonce)];
        let (ciphertext, tag) = craft(&pairs, &[], LENGTH);
        for &backend in BACKENDS {
            for (key, _) in &pairs {
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
    let pairs = derived.map(|(key, nonce, _)| (key, nonce));
    let (ciphertext, tag) = craft(&pairs, &[], LENGTH);
    let mut refused = 0;
    for &backend in BACKENDS {
        for (key, nonce) in &pairs {
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
