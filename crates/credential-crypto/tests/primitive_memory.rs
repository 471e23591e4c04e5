//! What is left in the memory of the process once a value is dropped. One test: it scans everything.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use nebula_credential_crypto::hazmat::{Aad, BACKENDS, Label, open, seal};
use nebula_credential_crypto::{CredentialEncryption, Suite};
use nebula_credential_memory::scrub_stack;
use zeroize::Zeroize;

/// A needle that is nowhere in memory but inverted, so that the search does not find itself.
struct Needle(Vec<u8>);

impl Needle {
    fn new(secret: &[u8]) -> Self {
        Self(secret.iter().map(|byte| !byte).collect())
    }

    fn is_at(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.0.len() && self.0.iter().zip(bytes).all(|(left, right)| *left == !right)
    }
}

/// Copies of the needle in all writable memory of this process.
fn copies(needle: &Needle) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; 1 << 16];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    let mut found = 0;
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut at = u64::from_str_radix(start, 16).unwrap();
        while at < end {
            let Ok(read @ 1..) = memory.read_at(&mut buffer, at) else {
                break;
            };
            found += (0..read)
                .filter(|offset| {
                    let address = at + *offset as u64;
                    address < end && !own.contains(&address) && needle.is_at(&buffer[*offset..read])
                })
                .count();
            // Overlap, so that nothing hides on a seam.
            at += if read == buffer.len() {
                (read - 64) as u64
            } else {
                read as u64
            };
        }
    }
    buffer.as_mut_slice().zeroize();
    found
}

fn random(bytes: &mut [u8]) -> Needle {
    getrandom::fill(bytes).unwrap();
    Needle::new(bytes)
}

/// The AES key of a message, from its definition.
#[inline(never)]
fn message_key(suite: Suite, key: &[u8; 32]) -> Needle {
    let mut okm = [0; 32];
    let input = [[1; 32].as_slice(), &[Label::Payload as u8], b"context"].concat();
    match suite {
        Suite::Blake3Aes256Gcm => {
            blake3::Hasher::new_keyed(key)
                .update(&input)
                .finalize_xof()
                .fill(&mut okm);
        }
        _ => {
            let info = [b"nebula-credential message key v1", &input[32..]].concat();
            hkdf::Hkdf::<sha2::Sha512>::new(Some(&input[..32]), key)
                .expand(&info, &mut okm)
                .unwrap();
        }
    }
    let needle = Needle::new(&okm);
    okm.as_mut_slice().zeroize();
    needle
}

/// One message sealed and opened under a key that only its owner's buffer holds afterwards.
#[inline(never)]
fn exchange(backend: nebula_credential_crypto::Backend, suite: Suite, secret: &mut [u8; 40]) -> [Needle; 3] {
    let mut key = Box::new([0; 32]);
    let (key_needle, secret_needle) = (random(key.as_mut_slice()), random(secret));
    let message_needle = message_key(suite, &key);
    let mut text = secret.to_vec();
    let aad = Aad::new(b"context");
    let sealed = seal(backend, suite, Label::Payload, &key, &[1; 32], &aad, &mut text).unwrap();
    open(
        backend,
        suite,
        Label::Payload,
        &key,
        &[1; 32],
        &sealed.commitment,
        &aad,
        &mut text,
        &sealed.tag,
    )
    .unwrap();
    assert_eq!(text, secret.as_slice());
    // Without this the message key is left on the dead stack, a dozen times over.
    scrub_stack();
    text.as_mut_slice().zeroize();
    key.as_mut_slice().zeroize();
    [key_needle, message_needle, secret_needle]
}

#[test]
fn no_secret_and_no_key_outlives_its_owner() {
    for &backend in BACKENDS {
        for suite in [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm] {
            let mut secret = [0; 40];
            let needles = exchange(backend, suite, &mut secret);
            assert!(
                copies(&needles[2]) >= 1,
                "control: the secret is still in this frame"
            );
            black_box(&mut secret).as_mut_slice().zeroize();
            let found = needles.each_ref().map(copies);
            println!("{backend:?}, {suite:?}: copies of key, message key, secret: {found:?}");
            assert_eq!(found, [0; 3], "{backend:?} {suite:?}");
        }
    }

    let mut key = Box::new([0; 32]);
    let key_needle = random(key.as_mut_slice());
    let encryption = CredentialEncryption::new(&key);
    key.as_mut_slice().zeroize();
    let mut secret = Box::new([0; 64]);
    let secret_needle = random(secret.as_mut_slice());
    let sealed = encryption.encrypt(secret.as_slice()).unwrap();
    secret.as_mut_slice().zeroize();
    let opened = encryption.decrypt_secret(&sealed).unwrap();
    assert_eq!(
        copies(&secret_needle),
        1,
        "control: the opened secret, and nothing else"
    );
    assert_eq!(
        copies(&key_needle),
        1,
        "control: the key in locked memory, and nothing else"
    );
    drop(opened);
    drop(encryption);
    assert_eq!((copies(&secret_needle), copies(&key_needle)), (0, 0));
}
