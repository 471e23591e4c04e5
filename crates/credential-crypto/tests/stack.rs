//! Nothing that sealing and opening wrote on the stack below them is left there.
//!
//! What matters is the optimised build: `cargo test --release -p nebula-credential-crypto --test stack`.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code"
)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use chrono::DateTime;
use nebula_credential_core::{
    CredentialName, CredentialRef, Plaintext, Scope, TenantId, Version, VersionHead,
};
use nebula_credential_crypto::hazmat::{self, Aad, Label};
use nebula_credential_crypto::{Backend, KeyFile, KeyRing, Place, RingSettings, Sealer, Suite};

/// How far below the frame of the test it looks.
const WINDOW: usize = 96 * 1024;
/// What the stack is painted with.
const PAINT: u8 = 0xA5;
/// How much of it an operation overwrites when it is done.
const REACH: usize = 1024
    * if cfg!(debug_assertions) {
        32
    } else if cfg!(feature = "aws-lc-rs") {
        8
    } else {
        12
    };
/// What writing the zeros leaves below them: the return address of a call, and registers.
const CALL: usize = 64;

#[inline(never)]
fn paint() {
    black_box(&mut [PAINT; WINDOW]);
}

/// The stack below this frame after `work`, from the deepest byte written on.
#[inline(never)]
fn left_by(mut work: impl FnMut()) -> Vec<u8> {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut stack = vec![0; WINDOW];
    // Whatever happens once only, such as the lookup of a symbol, has happened.
    work();
    let frame = [0_u8; 16];
    let top = black_box(&frame).as_ptr().addr();
    paint();
    work();
    memory.read_exact_at(&mut stack, (top - WINDOW) as u64).unwrap();
    // The paint does not reach all the way up, or down.
    let painted = stack.iter().position(|byte| *byte == PAINT).unwrap();
    let deepest = stack[painted..].iter().position(|byte| *byte != PAINT).unwrap();
    stack.split_off(painted + deepest)
}

fn is_scrubbed(stack: &[u8]) -> bool {
    let call = stack[..CALL]
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let zeros = stack[call..].iter().take_while(|byte| **byte == 0).count();
    println!("{call} bytes, then {zeros} of zeros");
    zeros >= REACH - CALL
}

#[test]
fn an_operation_leaves_zeros_below_it() {
    let id = CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new("a".repeat(128)).unwrap(),
    );
    let created_at = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
    let version = VersionHead {
        version: Version::FIRST,
        credential_type: "api_key".into(),
        schema_version: 1,
        created_at,
        expires_at: None,
    };
    let place = Place {
        id: &id,
        version: &version,
    };
    for suite in [Suite::Blake3Aes256Gcm, Suite::HkdfSha512Aes256Gcm] {
        let key = KeyFile::from_key(&mut [7; 32]).unwrap();
        let settings = RingSettings {
            suite,
            ..RingSettings::default()
        };
        let ring = KeyRing::create_with(settings, &key, created_at).unwrap();
        let sealer = Sealer::new(ring);
        for size in [0, 40, 1000, 5000, 100_000] {
            let secret = Plaintext::new(vec![0x70; size]);
            let sealed = sealer.seal(place, &secret).unwrap();
            assert!(is_scrubbed(&left_by(|| drop(sealer.seal(place, &secret)))));
            assert!(is_scrubbed(&left_by(|| drop(sealer.open(place, &sealed)))));
        }
    }
}

#[test]
fn the_look_finds_what_the_primitive_leaves() {
    let left = left_by(|| {
        let mut text = [0x70; 64];
        let (suite, aad) = (Suite::default(), Aad::new(b"context"));
        let (backend, key, salt) = (Backend::default(), &[1; 32], &[2; 32]);
        hazmat::seal(backend, suite, Label::Payload, key, salt, &aad, &mut text).unwrap();
    });
    println!("reaches {} bytes down", left.len());
    assert!(left.len() > 1024 && left.len() < REACH);
    assert!(left[..1024].iter().any(|byte| *byte != 0));
}
