//! The search of memory finds a copy that lives, and neither the canary nor the hunter.

#![cfg(target_os = "linux")]

use std::time::Instant;

use nebula_credential_core::SecretString;
use nebula_credential_testkit::{Canary, LeakHunter};

/// One test: what another thread does with its canaries would be found too.
#[test]
fn copies_are_found_while_they_live() {
    let canaries = [Canary::text(), Canary::hostile(), Canary::bytes()];
    let mut hunter = LeakHunter::new();
    for (at, canary) in canaries.iter().enumerate() {
        hunter.add(&format!("canary {at}"), canary);
    }
    assert_eq!(hunter.search_memory().unwrap(), [], "the hunter finds itself");

    for canary in &canaries {
        let copy = SecretString::from(canary.secret());
        let leaks = hunter.search_memory().unwrap();
        assert_eq!(leaks.len(), 1, "{leaks:?}");
        drop(copy);
        assert_eq!(hunter.search_memory().unwrap(), [], "SecretString wipes itself");
    }

    // On the stack, in a form, in part, and across what is read at once.
    let mut stack = [0_u8; 40];
    stack.copy_from_slice(&zeroize::Zeroizing::new(canaries[0].secret_bytes()));
    let on_the_stack = std::hint::black_box(&stack).as_ptr().addr() as u64;
    let leaks = hunter.search_memory().unwrap();
    assert!(
        leaks
            .iter()
            .any(|leak| leak.offset == on_the_stack && leak.form == "plain"),
        "{leaks:?}"
    );
    zeroize::Zeroize::zeroize(&mut stack);
    assert_eq!(hunter.search_memory().unwrap(), []);

    let secret = zeroize::Zeroizing::new(canaries[0].secret_bytes());
    let mut big = vec![1_u8; 24 << 20];
    let places = [5, (1 << 20) - 20, (8 << 20) + 1, big.len() - 40];
    for at in places {
        big[at..at + 40].copy_from_slice(&secret);
    }
    big[12 << 20..(12 << 20) + 16].copy_from_slice(&secret[24..]);
    let start = big.as_ptr().addr() as u64;
    let began = Instant::now();
    let leaks = hunter.search_memory().unwrap();
    // Measured: 0.1 s for 40 MiB on one slow core. A quadratic search would take hours.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    let within =
        |leak: &&nebula_credential_testkit::Leak| (start..start + big.len() as u64).contains(&leak.offset);
    let found: Vec<_> = leaks
        .iter()
        .filter(within)
        .map(|leak| (leak.offset - start, leak.form))
        .collect();
    let mut expected: Vec<_> = places.iter().map(|at| (*at as u64, "plain")).collect();
    expected.insert(3, (12 << 20, "end"));
    assert_eq!(found, expected);
}
