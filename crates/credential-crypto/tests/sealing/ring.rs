//! Key rings: what opens them, what each failure is called, and how slots and epochs change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Row, SUITES, change, key_file, passphrase, plain, ring, time};
use nebula_credential_core::{CredentialError, DataKey, ErrorKind, KeyProvider, WrappedKey};
use nebula_credential_crypto::{
    EpochState, KeyRing, PassphraseAndKeyFile, Protector, ProviderProtector, RingSettings, Sealer, SlotId,
    SlotKind, Suite,
};

fn open(bytes: &[u8], protector: &dyn Protector) -> Result<KeyRing, CredentialError> {
    KeyRing::unlock(bytes, protector)
}

/// A ring's bytes with a change, and the checksum put right: an attack, not an accident.
fn forged(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = bytes[..bytes.len() - 32].to_vec();
    change(&mut body);
    let check = blake3::hash(&body);
    body.extend_from_slice(check.as_bytes());
    body
}

#[test]
fn each_protector_opens_its_own_slot() {
    let both = |text: &str, key| PassphraseAndKeyFile::new(passphrase(text), key_file(key));
    for suite in SUITES {
        let ring = ring(suite);
        change(&ring, |draft| {
            draft.add_slot(&passphrase("correct horse"), time(1))?;
            draft.add_slot(&both("battery", 3), time(2))
        })
        .unwrap();
        let bytes = ring.to_bytes();
        let row = Row::new("db");
        let sealed = Sealer::new(ring).seal(row.place(), &plain(b"secret")).unwrap();
        let protectors: [&dyn Protector; 3] =
            [&key_file(1), &passphrase("correct horse"), &both("battery", 3)];
        for protector in protectors {
            let sealer = Sealer::new(open(&bytes, protector).unwrap());
            assert_eq!(sealer.open(row.place(), &sealed).unwrap().expose(), b"secret");
        }
        let wrong: [&dyn Protector; 4] = [
            &key_file(2),
            &passphrase("correct horse "),
            &both("battery", 4),
            &both("batteries", 3),
        ];
        for protector in wrong {
            let error = open(&bytes, protector).unwrap_err();
            assert!(matches!(error, CredentialError::Unlock(_)), "{error}");
        }
    }
}

#[test]
fn each_failure_has_its_own_name_and_remedy() {
    let ring = KeyRing::create(&passphrase("right"), time(0)).unwrap();
    let bytes = ring.to_bytes();

    let error = open(&bytes, &passphrase("wrong")).unwrap_err();
    assert!(matches!(error, CredentialError::Unlock(_)));
    assert!(error.to_string().contains("keyboard layout"), "{error}");

    let error = open(&bytes, &key_file(1)).unwrap_err();
    assert!(matches!(error, CredentialError::Unlock(_)));
    assert!(error.to_string().contains("opens with: passphrase"), "{error}");

    let two = crate::common::ring(Suite::default());
    change(&two, |draft| draft.add_slot(&key_file(2), time(1))).unwrap();
    let error = open(&two.to_bytes(), &passphrase("right")).unwrap_err();
    assert!(error.to_string().ends_with("opens with: key file"), "{error}");

    let mut damaged = bytes.clone();
    damaged[60] ^= 1;
    let error = open(&damaged, &passphrase("right")).unwrap_err();
    assert!(matches!(error, CredentialError::DecryptionFailed(_)));
    assert!(error.is_tampered());
    assert!(error.to_string().contains("the key ring is damaged"), "{error}");

    let newer = forged(&bytes, |body| body[8] = 2);
    let error = open(&newer, &passphrase("right")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("version 2"), "{error}");

    let error = open(b"-----BEGIN PGP MESSAGE-----", &passphrase("right")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);

    let error = open(&vec![0; 64 * 1024 + 1], &passphrase("right")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

/// The parameters stand at a known place: 37 bytes of header, the count, slot number, kind, time, length.
const PARAMS: usize = 37 + 1 + 1 + 1 + 8 + 2;

#[test]
fn hostile_argon2_parameters_are_refused_before_any_derivation() {
    let bytes = KeyRing::create(&passphrase("right"), time(0)).unwrap().to_bytes();
    assert_eq!(
        bytes[PARAMS..PARAMS + 12],
        [0, 0, 0x4c, 0, 0, 0, 0, 2, 0, 0, 0, 1],
        "control"
    );
    let cases: [(usize, u32, ErrorKind); 8] = [
        (0, 8, ErrorKind::InvalidInput),
        (0, 19 * 1024 - 1, ErrorKind::InvalidInput),
        (0, 4 * 1024 * 1024, ErrorKind::LimitExceeded),
        (0, u32::MAX, ErrorKind::LimitExceeded),
        (4, 0, ErrorKind::InvalidInput),
        (4, 17, ErrorKind::LimitExceeded),
        (8, 0, ErrorKind::InvalidInput),
        (8, 255, ErrorKind::LimitExceeded),
    ];
    for (field, value, kind) in cases {
        let hostile = forged(&bytes, |body| {
            body[PARAMS + field..PARAMS + field + 4].copy_from_slice(&value.to_be_bytes());
        });
        let begun = Instant::now();
        let error = open(&hostile, &passphrase("right")).unwrap_err();
        assert!(begun.elapsed() < Duration::from_millis(50));
        assert_eq!(error.kind(), kind, "{field} {value}: {error}");
        // Not only the slot that is used: no slot of the ring may be hostile.
        assert_eq!(open(&hostile, &key_file(1)).unwrap_err().kind(), kind);
    }
}

#[test]
fn a_change_in_another_slot_than_the_one_used_is_found() {
    let ring = ring(Suite::default());
    change(&ring, |draft| draft.add_slot(&key_file(2), time(1))).unwrap();
    let bytes = ring.to_bytes();
    let slot = 1 + 1 + 8 + 2 + 2 + 112;
    for at in 38 + slot..38 + 2 * slot {
        let changed = forged(&bytes, |body| body[at] ^= 1);
        let error = open(&changed, &key_file(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tampered, "{at}: {error}");
    }
}

#[test]
fn slots_are_added_changed_and_removed_but_never_the_last() {
    let ring = ring(Suite::default());
    let first = ring.status().slots[0].id;
    let error = change(&ring, |draft| draft.remove_slot(first)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    let error = change(&ring, |draft| draft.remove_slot(SlotId::new(7))).unwrap_err();
    assert!(matches!(error, CredentialError::KeyNotFound(_)));

    let before = ring.status();
    let new = change(&ring, |draft| {
        draft.change_slot(first, &passphrase("new"), time(1))
    })
    .unwrap();
    let status = ring.status();
    assert_eq!(status.generation, before.generation + 1);
    assert_eq!(status.slots.len(), 1);
    assert_eq!(
        (status.slots[0].id, status.slots[0].kind),
        (new, SlotKind::Passphrase)
    );
    assert!(open(&ring.to_bytes(), &key_file(1)).is_err());
    assert!(open(&ring.to_bytes(), &passphrase("new")).is_ok());

    for key in 2..9 {
        change(&ring, |draft| draft.add_slot(&key_file(key), time(2))).unwrap();
    }
    let error = change(&ring, |draft| draft.add_slot(&key_file(9), time(2))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(open(&ring.to_bytes(), &key_file(8)).is_ok());
    // A full ring still changes a slot.
    change(&ring, |draft| draft.change_slot(new, &key_file(1), time(3))).unwrap();
    assert!(open(&ring.to_bytes(), &key_file(1)).is_ok());
}

#[test]
fn an_empty_passphrase_makes_no_slot() {
    let error = KeyRing::create(&passphrase(""), time(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_change_that_is_not_persisted_is_not_made() {
    let ring = ring(Suite::default());
    let before = ring.to_bytes();
    let error = ring
        .update(
            |draft| draft.rotate(time(1)),
            |_| Err(CredentialError::storage("disk full")),
        )
        .unwrap_err();
    assert_eq!(error, CredentialError::storage("disk full"));
    assert_eq!(ring.to_bytes(), before);
    assert_eq!(ring.status().epochs.len(), 1);
}

#[test]
fn rotation_keeps_the_old_key_for_opening_only() {
    let ring = ring(Suite::default());
    let sealer = Sealer::new(ring.clone());
    let row = Row::new("db");
    let old = sealer.seal(row.place(), &plain(b"old")).unwrap();
    let epoch = change(&ring, |draft| draft.rotate(time(10))).unwrap();
    assert_eq!(epoch.get(), 2);
    let new = sealer.seal(row.place(), &plain(b"new")).unwrap();
    assert_eq!(sealer.epoch_of(&new).unwrap(), Some(epoch));
    assert_eq!(sealer.open(row.place(), &old).unwrap().expose(), b"old");
    let status = ring.status();
    assert_eq!(status.epochs[0].state, EpochState::DecryptOnly);
    assert_eq!(status.epochs[0].retired_at, Some(time(10)));
    assert_eq!(status.epochs[1].state, EpochState::Primary);
    // And so it is for whoever opens the ring anew.
    change(&ring, |_| Ok(())).unwrap();
    let again = open(&ring.to_bytes(), &key_file(1)).unwrap();
    assert_eq!(again.status().epochs, ring.status().epochs);

    let first = status.epochs[0].epoch;
    change(&ring, |draft| draft.disable_epoch(first)).unwrap();
    let error = sealer.open(row.place(), &old).unwrap_err();
    assert!(error.to_string().contains("disabled"), "{error}");
    change(&ring, |draft| draft.enable_epoch(first)).unwrap();
    assert!(sealer.open(row.place(), &old).is_ok());
    assert!(
        change(&ring, |draft| draft.disable_epoch(epoch)).is_err(),
        "the primary one"
    );
}

#[test]
fn wraps_are_counted_and_written_down_with_the_next_change() {
    let ring = ring(Suite::default());
    let sealer = Sealer::new(ring.clone());
    let row = Row::new("db");
    for _ in 0..5 {
        sealer.seal(row.place(), &plain(b"x")).unwrap();
    }
    assert_eq!(ring.status().epochs[0].wraps, 5);
    let forgets = open(&ring.to_bytes(), &key_file(1)).unwrap();
    assert_eq!(forgets.status().epochs[0].wraps, 0);
    change(&ring, |_| Ok(())).unwrap();
    assert_eq!(ring.status().epochs[0].wraps, 5);
    let knows = open(&ring.to_bytes(), &key_file(1)).unwrap();
    assert_eq!(knows.status().epochs[0].wraps, 5);
}

#[test]
fn a_worn_out_key_asks_to_be_rotated_and_then_stops() {
    const DAY: i64 = 86_400;
    let ring = ring(Suite::default());
    let sealer = Sealer::new(ring.clone());
    let seal = |day: i64| {
        let mut row = Row::new("db");
        row.version.created_at = time(day * DAY);
        sealer.seal(row.place(), &plain(b"x"))
    };
    assert!(!ring.status().rotation_due(time(365 * DAY)));
    assert!(ring.status().rotation_due(time(366 * DAY)));
    assert!(seal(729).is_ok());
    let error = seal(731).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert!(error.to_string().contains("rotate"), "{error}");
    change(&ring, |draft| draft.rotate(time(731 * DAY))).unwrap();
    assert!(seal(731).is_ok());
    assert!(!ring.status().rotation_due(time(732 * DAY)));
}

#[test]
fn a_new_root_closes_every_old_slot_and_copy() {
    let ring = ring(Suite::default());
    change(&ring, |draft| draft.add_slot(&passphrase("leaked"), time(1))).unwrap();
    let old = ring.to_bytes();
    let sealer = Sealer::new(ring.clone());
    let row = Row::new("db");
    let before = sealer.seal(row.place(), &plain(b"before")).unwrap();
    change(&ring, |draft| {
        draft.new_root(&[&key_file(5), &key_file(6)], time(2))
    })
    .unwrap();
    let after = sealer.seal(row.place(), &plain(b"after")).unwrap();
    let new = ring.to_bytes();
    let wrong: [&dyn Protector; 2] = [&key_file(1), &passphrase("leaked")];
    for protector in wrong {
        assert!(open(&new, protector).is_err());
    }
    let opened = Sealer::new(open(&new, &key_file(6)).unwrap());
    assert_eq!(opened.open(row.place(), &before).unwrap().expose(), b"before");
    assert_eq!(opened.open(row.place(), &after).unwrap().expose(), b"after");
    // The old copy is no use for what came after.
    let copy = Sealer::new(open(&old, &passphrase("leaked")).unwrap());
    assert!(copy.open(row.place(), &before).is_ok());
    assert!(copy.open(row.place(), &after).is_err());
    assert!(change(&ring, |draft| draft.new_root(&[], time(3))).is_err());
}

#[test]
fn a_ring_holds_512_epochs_and_no_more() {
    let ring = ring(Suite::default());
    let error = change(&ring, |draft| {
        loop {
            draft.rotate(time(1))?;
        }
    })
    .map(|never: ()| never)
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    change(&ring, |draft| {
        (1..512).try_for_each(|_| draft.rotate(time(1)).map(drop))
    })
    .unwrap();
    assert_eq!(ring.status().epochs.len(), 512);
    assert!(ring.to_bytes().len() <= 64 * 1024);
    assert!(open(&ring.to_bytes(), &key_file(1)).is_ok());
}

#[test]
fn nothing_secret_is_printed() {
    let ring = ring(Suite::default());
    let shown = format!(
        "{ring:?} {:?} {:?} {:?} {:?}",
        ring.status(),
        key_file(0x41),
        passphrase("hunter2"),
        RingSettings::default()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains("65, 65"), "{shown}");
    assert!(!shown.contains("AAAA"), "{shown}");
}

/// A device that wraps by exclusive or, and knows its own wraps by their reference.
struct Device {
    name: &'static [u8],
    asked: Arc<AtomicUsize>,
}

impl Device {
    fn new(name: &'static [u8]) -> Self {
        Self {
            name,
            asked: Arc::default(),
        }
    }

    fn mix(&self, context: &[u8], bytes: &[u8]) -> [u8; 32] {
        let pad = blake3::keyed_hash(&[9; 32], &[self.name, context].concat());
        std::array::from_fn(|at| bytes[at] ^ pad.as_bytes()[at])
    }
}

impl KeyProvider for Device {
    async fn wrap(&self, key: &DataKey, context: &[u8]) -> Result<WrappedKey, CredentialError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        yield_once().await;
        Ok(WrappedKey {
            reference: self.name.to_vec(),
            bytes: self.mix(context, key.expose()).to_vec(),
        })
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<DataKey, CredentialError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        yield_once().await;
        if wrapped.reference != self.name {
            return Err(CredentialError::key_not_found("another device's key"));
        }
        Ok(DataKey::take(&mut self.mix(context, &wrapped.bytes)))
    }
}

/// Is pending once, and wakes from another thread: the waiting must be real.
async fn yield_once() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if waited {
            return std::task::Poll::Ready(());
        }
        waited = true;
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake());
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn a_key_provider_opens_a_slot_and_is_asked_once() {
    let device = Device::new(b"token 7");
    let asked = Arc::clone(&device.asked);
    let protector = ProviderProtector::new(device);
    let ring = KeyRing::create(&protector, time(0)).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let bytes = ring.to_bytes();
    let opened = open(&bytes, &protector).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let row = Row::new("db");
    let sealed = Sealer::new(ring).seal(row.place(), &plain(b"x")).unwrap();
    assert!(Sealer::new(opened).open(row.place(), &sealed).is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    let error = open(&bytes, &ProviderProtector::new(Device::new(b"token 8"))).unwrap_err();
    assert!(matches!(error, CredentialError::Unlock(_)), "{error}");
    // A runtime that does not run what it is given is an error, not a hang or a panic.
    let idle = ProviderProtector::with_runtime(Device::new(b"token 7"), |_| ());
    assert_eq!(open(&bytes, &idle).unwrap_err().kind(), ErrorKind::Unavailable);
}

/// Sealing goes on in other threads while the ring rotates; whatever they seal can be opened.
#[test]
fn rotation_beside_sealing_loses_nothing() {
    let ring = ring(Suite::default());
    let row = Row::new("db");
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let sealer = Sealer::new(ring.clone());
                let row = row.clone();
                scope.spawn(move || {
                    (0..200)
                        .map(|_| sealer.seal(row.place(), &plain(b"x")).unwrap())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for second in 0..20 {
            change(&ring, |draft| draft.rotate(time(second))).unwrap();
        }
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let again = Sealer::new(open(&ring.to_bytes(), &key_file(1)).unwrap());
    for sealed in &sealed {
        again.open(row.place(), sealed).unwrap();
    }
    let wraps: u64 = ring.status().epochs.iter().map(|epoch| epoch.wraps).sum();
    assert_eq!(wraps, 800);
}

/// A provider that answers with so many bytes.
struct Wordy {
    reference: usize,
    bytes: usize,
}

impl KeyProvider for Wordy {
    async fn wrap(&self, key: &DataKey, _: &[u8]) -> Result<WrappedKey, CredentialError> {
        let mut bytes = key.expose().to_vec();
        bytes.resize(self.bytes, 0);
        Ok(WrappedKey {
            reference: vec![b'r'; self.reference],
            bytes,
        })
    }

    async fn unwrap(&self, wrapped: &WrappedKey, _: &[u8]) -> Result<DataKey, CredentialError> {
        Ok(DataKey::take(&mut wrapped.bytes[..32].try_into().unwrap()))
    }
}

#[test]
fn an_answer_that_fits_no_slot_is_refused_before_there_is_a_ring_that_nothing_opens() {
    let protector = |reference, bytes| ProviderProtector::new(Wordy { reference, bytes });
    for (reference, bytes) in [(0, 32), (255, 1024)] {
        let protector = protector(reference, bytes);
        let ring = KeyRing::create(&protector, time(0)).unwrap();
        assert!(KeyRing::unlock(&ring.to_bytes(), &protector).is_ok());
    }
    for (reference, bytes) in [(256, 32), (0, 1025), (70_000, 32)] {
        let error = KeyRing::create(&protector(reference, bytes), time(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        let ring = ring(Suite::default());
        let before = ring.to_bytes();
        let added = change(&ring, |draft| {
            draft.add_slot(&protector(reference, bytes), time(1))
        });
        assert_eq!(added.unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(ring.to_bytes(), before);
    }
}
