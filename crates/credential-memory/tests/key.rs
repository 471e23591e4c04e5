//! What a key promises, whatever the platform grants.

use std::collections::HashSet;
use std::thread;

use nebula_credential_core::CredentialError;
use nebula_credential_memory::{KEY_LEN, LockedKey};

#[test]
fn generated_keys_differ_and_are_not_zero() {
    let keys: Vec<_> = (0..500).map(|_| LockedKey::generate().unwrap()).collect();
    let distinct: HashSet<_> = keys.iter().map(|key| *key.expose()).collect();
    assert_eq!(distinct.len(), keys.len());
    assert!(!distinct.contains(&[0; KEY_LEN]));
}

#[test]
fn moving_a_key_in_wipes_the_source() {
    let mut source = [3; KEY_LEN];
    let key = LockedKey::from_bytes(&mut source).unwrap();
    assert_eq!(key.expose(), &[3; KEY_LEN]);
    assert_eq!(source, [0; KEY_LEN]);
}

#[test]
fn init_starts_from_zeros_and_hands_on_the_error() {
    let key = LockedKey::init(|bytes| {
        assert_eq!(bytes, &[0; KEY_LEN]);
        bytes[0] = 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(key.expose()[0], 1);

    let refused = LockedKey::init(|_| Err(CredentialError::unlock_failed("wrong passphrase")));
    assert_eq!(
        refused.unwrap_err(),
        CredentialError::unlock_failed("wrong passphrase")
    );
}

#[test]
fn a_panic_while_writing_leaves_the_arena_usable() {
    let caught = std::panic::catch_unwind(|| {
        let _ = LockedKey::init(|bytes| {
            bytes.fill(7);
            panic!("while deriving");
        });
    });
    assert!(caught.is_err());
    let keys: Vec<_> = (0..200).map(|_| LockedKey::init(|_| Ok(())).unwrap()).collect();
    assert!(keys.iter().all(|key| key.expose() == &[0; KEY_LEN]));
}

#[test]
fn debug_shows_nothing() {
    let key = LockedKey::from_bytes(&mut [0x41; KEY_LEN]).unwrap();
    assert_eq!(
        format!("{key:?} {key:#?}"),
        "LockedKey([REDACTED]) LockedKey([REDACTED])"
    );
}

#[test]
fn threads_never_share_a_slot() {
    fn sendable<T: Send + Sync>(value: T) -> T {
        value
    }
    let survivors: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (1..=8_u8)
            .map(|id| {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..2000_usize {
                        let key = LockedKey::init(|bytes| {
                            assert_eq!(bytes, &[0; KEY_LEN], "a slot in use, or not wiped");
                            bytes.fill(id);
                            Ok(())
                        })
                        .unwrap();
                        held.push(key);
                        if held.len() > 150 {
                            held.swap_remove(round % held.len());
                        }
                    }
                    assert!(held.iter().all(|key| key.expose() == &[id; KEY_LEN]));
                    sendable(held)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    // Dropped in another thread than the one that made them.
    for (held, id) in survivors.iter().zip(1..=8_u8) {
        assert!(held.iter().all(|key| key.expose() == &[id; KEY_LEN]));
    }
}
