//! The committing AEAD against its definition, against damage, and against a broken random source.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use std::collections::HashSet;

use nebula_credential_core::CredentialError;
use nebula_credential_crypto::hazmat::{
    Aad, BACKENDS, Fresh, HedgeKey, Label, argon2id, gcm_seal, open, pooled_entropy, seal,
};
use nebula_credential_crypto::{Argon2Params, Backend, Entropy, OsEntropy, Suite};

const SUITES: [Suite; 2] = [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm];
const LABELS: [Label; 7] = [
    Label::Payload,
    Label::DekWrap,
    Label::SlotWrap,
    Label::RingSeal,
    Label::Head,
    Label::Canary,
    Label::Message,
];

/// The derivation as the documentation defines it, written a second time.
fn derive(suite: Suite, label: Label, key: &[u8; 32], salt: &[u8; 32], context: &[u8]) -> [u8; 76] {
    let mut okm = [0; 76];
    match suite {
        Suite::Blake3Aes256Gcm => {
            let input = [salt.as_slice(), &[label as u8], context].concat();
            blake3::Hasher::new_keyed(key)
                .update(&input)
                .finalize_xof()
                .fill(&mut okm);
        }
        Suite::HkdfSha512Aes256Gcm => {
            let info = [
                b"nebula-credential message key v1".as_slice(),
                &[label as u8],
                context,
            ]
            .concat();
            hkdf::Hkdf::<sha2::Sha512>::new(Some(salt), key)
                .expand(&info, &mut okm)
                .unwrap();
        }
        _ => unreachable!("a new suite needs its definition here"),
    }
    okm
}

fn sample(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[test]
fn sealing_follows_its_definition_with_every_backend() {
    let (key, salt) = ([0x11; 32], [0x22; 32]);
    let mut cases = 0;
    for suite in SUITES {
        for (label, length) in LABELS.into_iter().zip([0, 1, 15, 16, 17, 1000, 65_537]) {
            let context = sample(length % 300);
            let okm = derive(suite, label, &key, &salt, &context);
            let mut ciphertext = sample(length);
            let mut tag = [0; 16];
            let (message_key, nonce) = (okm[..32].try_into().unwrap(), okm[32..44].try_into().unwrap());
            assert!(gcm_seal(
                Backend::RustCrypto,
                message_key,
                nonce,
                b"extra",
                &mut ciphertext,
                &mut tag
            ));
            for &backend in BACKENDS {
                let aad = Aad::with_extra(&context, b"extra");
                let mut buffer = sample(length);
                let sealed = seal(backend, suite, label, &key, &salt, &aad, &mut buffer).unwrap();
                assert_eq!(buffer, ciphertext);
                assert_eq!(sealed.tag, tag);
                assert_eq!(sealed.commitment, okm[44..]);
                for &other in BACKENDS {
                    let mut buffer = buffer.clone();
                    open(
                        other,
                        suite,
                        label,
                        &key,
                        &salt,
                        &sealed.commitment,
                        &aad,
                        &mut buffer,
                        &sealed.tag,
                    )
                    .unwrap();
                    assert_eq!(buffer, sample(length));
                    cases += 1;
                }
            }
        }
    }
    println!("sealed and opened alike: {cases} cases over {BACKENDS:?}");
}

#[test]
fn the_format_is_frozen() {
    for (suite, expected) in [
        (Suite::Blake3Aes256Gcm, GOLDEN_BLAKE3),
        (Suite::HkdfSha512Aes256Gcm, GOLDEN_HKDF),
    ] {
        let mut buffer = *b"attack at dawn";
        let aad = Aad::with_extra(b"context", b"extra");
        let sealed = seal(
            Backend::default(),
            suite,
            Label::Payload,
            &[1; 32],
            &[2; 32],
            &aad,
            &mut buffer,
        )
        .unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            [hex(&sealed.commitment), hex(&buffer), hex(&sealed.tag)],
            expected
        );
    }
}

// Made by a second implementation, in Python with `cryptography` and `blake3`, from the documentation alone.
const GOLDEN_BLAKE3: [&str; 3] = [
    "a60440258ce9f3e25855d59d55e1014bb59aa1b78c1c74630f4298a83e0a1d48",
    "4ef2bbfd1dddd9630a10bdfce103",
    "ab560e0869cdb2d09bd3f6d8b19ca95d",
];
const GOLDEN_HKDF: [&str; 3] = [
    "9a4b5a3a59fc3ef5be3c23b1818a9df745917fbe24a8e2a70675145e6ea75f48",
    "bcd0573690e5f4f3744216e1749e",
    "e1cb0e52428eef63b49f32991e957a34",
];

#[test]
fn nothing_opens_after_any_change_and_nothing_is_left_behind() {
    let (key, salt, plaintext) = ([3; 32], [4; 32], sample(100));
    let mut refused = 0;
    for suite in SUITES {
        for &backend in BACKENDS {
            let mut sealed_text = plaintext.clone();
            let aad = Aad::with_extra(b"context", b"extra");
            let sealed = seal(
                backend,
                suite,
                Label::Payload,
                &key,
                &salt,
                &aad,
                &mut sealed_text,
            )
            .unwrap();

            // One flat message, so that one loop flips every bit of every part.
            let (context, extra) = (7, 5);
            let parts = [
                &key[..],
                &salt,
                &sealed.commitment,
                b"context",
                b"extra",
                &sealed.tag,
                &sealed_text,
            ]
            .concat();
            let attempt = |parts: &[u8], label: Label| {
                let (key, rest) = parts.split_first_chunk().unwrap();
                let (salt, rest) = rest.split_first_chunk().unwrap();
                let (commitment, rest) = rest.split_first_chunk().unwrap();
                let (context, rest) = rest.split_at(context);
                let (extra, rest) = rest.split_at(extra);
                let (tag, text) = rest.split_first_chunk().unwrap();
                let mut buffer = text.to_vec();
                let aad = Aad::with_extra(context, extra);
                let result = open(
                    backend,
                    suite,
                    label,
                    key,
                    salt,
                    commitment,
                    &aad,
                    &mut buffer,
                    tag,
                );
                (result, buffer)
            };
            assert_eq!(attempt(&parts, Label::Payload), (Ok(()), plaintext.clone()));

            let mut expect_refusal = |(result, buffer): (Result<(), CredentialError>, Vec<u8>)| {
                assert_eq!(result, Err(CredentialError::Tampered));
                assert!(buffer.iter().all(|byte| *byte == 0), "the buffer is wiped");
                refused += 1;
            };
            for bit in 0..parts.len() * 8 {
                let mut parts = parts.clone();
                parts[bit / 8] ^= 1 << (bit % 8);
                expect_refusal(attempt(&parts, Label::Payload));
            }
            for cut in 1..=plaintext.len() {
                expect_refusal(attempt(&parts[..parts.len() - cut], Label::Payload));
            }
            for more in 1..=64 {
                expect_refusal(attempt(&[&parts[..], &vec![0; more]].concat(), Label::Payload));
            }
            for label in LABELS.into_iter().filter(|label| *label != Label::Payload) {
                expect_refusal(attempt(&parts, label));
            }
            let other = SUITES.into_iter().find(|other| *other != suite).unwrap();
            let mut buffer = sealed_text.clone();
            let result = open(
                backend,
                other,
                Label::Payload,
                &key,
                &salt,
                &sealed.commitment,
                &aad,
                &mut buffer,
                &sealed.tag,
            );
            expect_refusal((result, buffer));
        }
    }
    println!("changed messages refused: {refused}");
}

/// The same bytes for ever, as a machine restored from a snapshot would see them.
struct Constant;

impl Entropy for Constant {
    fn fill(&self, out: &mut [u8]) -> Result<(), CredentialError> {
        out.fill(0x5A);
        Ok(())
    }
}

/// The (key, nonce) pairs of one record: its payload's and its wrapped data key's.
fn pairs(kek: &[u8; 32], context: &[u8], fresh: &Fresh) -> [Vec<u8>; 2] {
    let payload = derive(
        Suite::Blake3Aes256Gcm,
        Label::Payload,
        &fresh.dek,
        &fresh.salt,
        context,
    );
    let wrap = derive(Suite::Blake3Aes256Gcm, Label::DekWrap, kek, &fresh.wrap_salt, &[]);
    [payload[..44].to_vec(), wrap[..44].to_vec()]
}

/// 20,000, or as many as the environment asks for.
fn draws() -> u32 {
    std::env::var("NEBULA_PROOF_COUNT").map_or(20_000, |count| count.parse().unwrap())
}

#[test]
fn a_constant_random_source_repeats_no_key_for_distinct_secrets() {
    let hedge = HedgeKey::derive(&[6; 32]).unwrap();
    let mut seen = HashSet::new();
    for number in 0..draws() {
        // Lengths differ too, and among them are secrets that differ in trailing zeros only.
        let mut secret = number.to_le_bytes().to_vec();
        secret.resize(4 + number as usize % 40, 0);
        let mut fresh = Fresh::empty();
        hedge.draw(&Constant, b"context", &secret, &mut fresh).unwrap();
        seen.extend(pairs(&[7; 32], b"context", &fresh));
    }
    println!(
        "{} distinct secrets, constant source: {} distinct (key, nonce) pairs",
        draws(),
        seen.len()
    );
    assert_eq!(seen.len(), 2 * draws() as usize);
}

#[test]
fn a_constant_random_source_repeats_no_key_in_distinct_contexts() {
    let hedge = HedgeKey::derive(&[6; 32]).unwrap();
    let mut seen = HashSet::new();
    for number in 0..draws() {
        let context = format!("tenant/{number}");
        let mut fresh = Fresh::empty();
        hedge
            .draw(&Constant, context.as_bytes(), b"one secret", &mut fresh)
            .unwrap();
        seen.extend(pairs(&[7; 32], context.as_bytes(), &fresh));
    }
    println!(
        "{} distinct contexts, constant source: {} distinct (key, nonce) pairs",
        draws(),
        seen.len()
    );
    assert_eq!(seen.len(), 2 * draws() as usize);
}

#[test]
fn the_hedge_tells_apart_where_a_context_ends_and_a_secret_begins() {
    let hedge = HedgeKey::derive(&[6; 32]).unwrap();
    let both = sample(64);
    let mut seen = HashSet::new();
    for split in 0..=64 {
        let mut fresh = Fresh::empty();
        hedge
            .draw(&Constant, &both[..split], &both[split..], &mut fresh)
            .unwrap();
        seen.insert(fresh.dek);
        // The control: the same input under the same source does repeat.
        let mut again = Fresh::empty();
        hedge
            .draw(&Constant, &both[..split], &both[split..], &mut again)
            .unwrap();
        assert_eq!(fresh.dek, again.dek);
    }
    assert_eq!(seen.len(), 65);
}

#[test]
fn a_sound_random_source_repeats_no_key_for_one_secret() {
    let hedge = HedgeKey::derive(&[6; 32]).unwrap();
    let pool = pooled_entropy();
    let mut seen = HashSet::new();
    let mut draw = |entropy: &dyn Entropy| {
        let mut fresh = Fresh::empty();
        hedge.draw(entropy, b"context", b"secret", &mut fresh).unwrap();
        assert!(fresh.dek != fresh.salt && fresh.salt != fresh.wrap_salt);
        seen.insert(fresh.dek);
    };
    for _ in 0..1000 {
        draw(&OsEntropy);
        draw(&pool);
    }
    assert_eq!(seen.len(), 2000);
}

#[test]
fn a_failed_random_source_seals_nothing() {
    struct Broken;
    impl Entropy for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), CredentialError> {
            Err(CredentialError::encryption_failed("no entropy"))
        }
    }
    let mut fresh = Fresh::empty();
    let result = HedgeKey::derive(&[6; 32])
        .unwrap()
        .draw(&Broken, b"", b"", &mut fresh);
    assert!(result.is_err());
    assert_eq!(fresh.dek, [0; 32]);
}

#[test]
fn argon2_parameters_are_bounded_before_anything_is_allocated() {
    let (mib, ok) = (1024, |m, t, p| Argon2Params::new(m, t, p).is_ok());
    assert!(ok(19 * mib, 2, 1) && !ok(19 * mib - 1, 2, 1) && ok(19 * mib + 1, 2, 1));
    assert!(ok(1024 * mib, 2, 1) && !ok(1024 * mib + 1, 2, 1) && ok(1024 * mib - 1, 2, 1));
    assert!(ok(19 * mib, 16, 1) && !ok(19 * mib, 17, 1) && ok(19 * mib, 15, 1));
    assert!(ok(19 * mib, 2, 8) && !ok(19 * mib, 2, 9) && ok(19 * mib, 2, 7) && !ok(19 * mib, 2, 0));
    // One pass needs 46 MiB.
    assert!(ok(46 * mib, 1, 1) && !ok(46 * mib - 1, 1, 1) && !ok(46 * mib, 0, 1));
    assert!(!ok(u32::MAX, u32::MAX, u32::MAX));
    assert!(matches!(
        Argon2Params::new(u32::MAX, 2, 1),
        Err(CredentialError::LimitExceeded { limit: 1_048_576, .. })
    ));
}

#[test]
fn a_passphrase_derives_what_argon2id_says() {
    let mut expected = [0; 32];
    let params = argon2::Params::new(19 * 1024, 2, 3, Some(32)).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(b"correct horse", &[9; 16], &mut expected)
        .unwrap();
    let params = Argon2Params::new(19 * 1024, 2, 3).unwrap();
    let mut found = [0; 32];
    argon2id(b"correct horse", &[9; 16], params, &mut found).unwrap();
    assert_eq!(found, expected);

    for salt in [0, 15, 65] {
        assert!(argon2id(b"correct horse", &vec![9; salt], params, &mut found).is_err());
    }
}
