//! What a cipher leaves on the stack, with and without a scrub.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test and its figures")]

mod proc;

use std::hint::black_box;

use aes_gcm::aead::Aead;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use nebula_credential_memory::scrub_stack;
use proc::Memory;

/// How far below the frame of the test the scan looks.
const WINDOW: usize = 64 * 1024;
/// Keeps the needle itself off the stack.
const MASK: u8 = 0x5C;

/// Positions of the first half of the key in `haystack`, as distances from its end.
fn find(haystack: &[u8], masked: &[u8]) -> Vec<usize> {
    haystack
        .windows(16)
        .enumerate()
        .filter(|(_, window)| window.iter().zip(masked).all(|(a, b)| a ^ MASK == *b))
        .map(|(i, _)| haystack.len() - i)
        .collect()
}

#[inline(never)]
fn seal(masked: &[u8]) {
    let mut key: Box<[u8]> = masked.iter().map(|b| b ^ MASK).collect();
    let cipher = Aes256Gcm::new_from_slice(&key).unwrap();
    let nonce = Nonce::try_from(&[0_u8; 12][..]).unwrap();
    black_box(cipher.encrypt(&nonce, &b"some text to seal"[..]).unwrap());
    drop(cipher);
    key.fill(0);
    black_box(&key);
}

#[inline(never)]
fn seal_then_look(masked: &[u8], scrub: bool) -> Vec<usize> {
    let memory = Memory::open();
    let mut stack = vec![0; WINDOW];
    let frame = [0_u8; 16];
    let top = black_box(&frame).as_ptr().addr();
    seal(masked);
    if scrub {
        scrub_stack();
    }
    memory.read(top - WINDOW, &mut stack);
    find(&stack, masked)
}

#[test]
fn no_copy_of_a_key_survives_a_scrub() {
    let masked: Vec<u8> = (0..32_u8).map(|i| i.wrapping_mul(37).wrapping_add(11)).collect();
    let left = seal_then_look(&masked, false);
    assert!(!left.is_empty(), "the control must find what the cipher left");
    let deepest = left.iter().max().unwrap();
    println!(
        "copies left without a scrub: {}, the deepest {deepest} bytes down",
        left.len()
    );
    assert_eq!(seal_then_look(&masked, true), [0_usize; 0]);
}
