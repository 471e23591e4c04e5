//! Key rings and key files on disk, and two processes (two handles) that share a ring.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::common::{Row, key_file, passphrase, plain, time};
use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_crypto::{KeyFile, KeyRing, KeyRingFile, RingSettings, Sealer, Suite};
use nebula_credential_fs::CreateOutcome;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_ring_is_made_once_private_and_opened_again() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let error = KeyRingFile::open(&dir, &key_file(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "no directory");
    let made = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    assert_eq!((mode(&dir), mode(&dir.join("keyring"))), (0o700, 0o600));
    let error = KeyRingFile::create(&dir, &key_file(2), time(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    let (opened, outcome) = KeyRingFile::open_or_create(&dir, &key_file(1), time(0)).unwrap();
    assert_eq!(outcome, CreateOutcome::Exists);
    assert_eq!(opened.ring().id(), made.ring().id());

    let row = Row::new("db");
    let sealed = Sealer::new(made.ring().clone())
        .seal(row.place(), &plain(b"x"))
        .unwrap();
    assert!(
        Sealer::new(opened.ring().clone())
            .open(row.place(), &sealed)
            .is_ok()
    );
}

#[test]
fn a_missing_ring_is_a_missing_key_and_sealing_stops_when_it_vanishes() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let file = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    let bytes = fs::read(dir.join("keyring")).unwrap();
    fs::remove_file(dir.join("keyring")).unwrap();
    let error = KeyRingFile::open(&dir, &key_file(1)).unwrap_err();
    assert!(matches!(error, CredentialError::KeyNotFound(_)));
    assert!(error.to_string().contains("restore the file"), "{error}");
    // What is sealed under a ring that is gone could never be opened again.
    let sealer = Sealer::new(file.ring().clone());
    let row = Row::new("db");
    let error = sealer.seal(row.place(), &plain(b"x")).unwrap_err();
    assert!(matches!(error, CredentialError::KeyNotFound(_)));
    fs::write(dir.join("keyring"), bytes).unwrap();
    fs::set_permissions(dir.join("keyring"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(sealer.seal(row.place(), &plain(b"x")).is_ok());
}

#[test]
fn another_process_s_rotation_is_followed_by_sealing_and_by_opening() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    let one = KeyRingFile::create(&dir, &passphrase("x"), time(0)).unwrap();
    let two = KeyRingFile::open(&dir, &passphrase("x")).unwrap();
    let [sealer_one, sealer_two] = [&one, &two].map(|file| Sealer::new(file.ring().clone()));
    let row = Row::new("db");

    let second = one.update(|draft| draft.rotate(time(1))).unwrap();
    // Opening: an unknown epoch makes it look.
    let sealed = sealer_one.seal(row.place(), &plain(b"x")).unwrap();
    assert_eq!(two.ring().status().epochs.len(), 1);
    assert!(sealer_two.open(row.place(), &sealed).is_ok());
    assert_eq!(two.ring().status().epochs.len(), 2);
    // Sealing: it always looks.
    let third = two.update(|draft| draft.rotate(time(2))).unwrap();
    assert!(third > second);
    let sealed = sealer_one.seal(row.place(), &plain(b"x")).unwrap();
    assert_eq!(sealer_one.epoch_of(&sealed).unwrap(), Some(third));
    assert!(!one.reload_if_changed().unwrap());

    // Rewrapping: likewise.
    let fourth = two.update(|draft| draft.rotate(time(3))).unwrap();
    let rewrapped = sealer_one.rewrap(row.place(), &sealed).unwrap().unwrap();
    assert_eq!(sealer_one.epoch_of(&rewrapped).unwrap(), Some(fourth));

    // Both count their wraps; neither's count is lost.
    sealer_two.seal(row.place(), &plain(b"x")).unwrap();
    one.record_wraps().unwrap();
    two.record_wraps().unwrap();
    let again = KeyRingFile::open(&dir, &passphrase("x")).unwrap();
    let wraps: Vec<_> = again
        .ring()
        .status()
        .epochs
        .iter()
        .map(|epoch| epoch.wraps)
        .collect();
    assert_eq!(wraps, [0, 1, 1, 2]);
}

#[test]
fn changes_of_many_handles_at_once_all_last() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("store");
    KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let file = KeyRingFile::open(&dir, &key_file(1)).unwrap();
                for second in 0..5 {
                    file.update(|draft| draft.rotate(time(second))).unwrap();
                }
            });
        }
    });
    let file = KeyRingFile::open(&dir, &key_file(1)).unwrap();
    let status = file.ring().status();
    assert_eq!((status.generation, status.epochs.len()), (21, 21));
}

/// A seal that reads the file just before a rotation must not take its own process's newer ring for a forgery.
#[test]
fn sealing_beside_rotation_in_one_process_and_in_another_never_fails() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("s");
    let one = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    let two = KeyRingFile::open(&dir, &key_file(1)).unwrap();
    let row = Row::new("db");
    let sealed: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = [&one, &two, &one, &two]
            .map(|file| {
                let (sealer, row) = (Sealer::new(file.ring().clone()), row.clone());
                scope.spawn(move || {
                    let seal = |_| sealer.seal(row.place(), &plain(b"x")).unwrap();
                    (0..300).map(seal).collect::<Vec<_>>()
                })
            })
            .into_iter()
            .collect();
        for second in 0..20 {
            one.update(|draft| draft.rotate(time(second))).unwrap();
        }
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let again = KeyRingFile::open(&dir, &key_file(1)).unwrap();
    let sealer = Sealer::new(again.ring().clone());
    for sealed in &sealed {
        sealer.open(row.place(), sealed).unwrap();
    }
}

#[test]
fn a_ring_in_a_file_changes_through_the_file_only() {
    let scratch = tempfile::tempdir().unwrap();
    let file = KeyRingFile::create(scratch.path().join("s"), &key_file(1), time(0)).unwrap();
    let error = file
        .ring()
        .update(|draft| draft.rotate(time(1)), |_| Ok(()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
}

#[test]
fn an_older_or_another_ring_in_its_place_is_noticed() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("s");
    let file = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    let old = fs::read(dir.join("keyring")).unwrap();
    file.update(|draft| draft.rotate(time(1))).unwrap();
    let sealer = Sealer::new(file.ring().clone());
    let row = Row::new("db");
    let sealed = sealer.seal(row.place(), &plain(b"x")).unwrap();
    fs::write(dir.join("keyring"), &old).unwrap();
    let error = sealer.seal(row.place(), &plain(b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
    assert!(
        sealer.open(row.place(), &sealed).is_ok(),
        "what it knows it still opens"
    );
    let other = KeyRing::create(&key_file(1), time(0)).unwrap();
    fs::write(dir.join("keyring"), other.to_bytes()).unwrap();
    assert!(sealer.seal(row.place(), &plain(b"x")).is_err());
}

/// The name of the ring is right and its generation is not older, but the key it has under number 2 is another.
#[test]
fn an_old_ring_that_was_put_back_and_changed_since_is_noticed() {
    for changes in 1..=3 {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("s");
        let file = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
        let old = fs::read(dir.join("keyring")).unwrap();
        file.update(|draft| draft.rotate(time(1))).unwrap();
        let sealer = Sealer::new(file.ring().clone());
        let row = Row::new("db");
        let sealed = sealer.seal(row.place(), &plain(b"x")).unwrap();

        fs::write(dir.join("keyring"), &old).unwrap();
        let other = KeyRingFile::open(&dir, &key_file(1)).unwrap();
        for second in 1..=changes {
            other.update(|draft| draft.rotate(time(second))).unwrap();
        }
        let error = sealer.seal(row.place(), &plain(b"x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState, "{changes}: {error}");
        assert!(file.update(|draft| draft.rotate(time(9))).is_err());
        assert!(
            sealer.open(row.place(), &sealed).is_ok(),
            "what it knows it still opens"
        );
    }
    // Nor may a key be missing that is in use.
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("s");
    let file = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    let old = fs::read(dir.join("keyring")).unwrap();
    file.update(|draft| draft.rotate(time(1))).unwrap();
    fs::write(dir.join("keyring"), &old).unwrap();
    let other = KeyRingFile::open(&dir, &key_file(1)).unwrap();
    for _ in 0..3 {
        other.record_wraps().unwrap();
    }
    let error = file.reload_if_changed().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
}

#[test]
fn a_new_root_makes_other_processes_open_the_ring_again() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("s");
    let one = KeyRingFile::create(&dir, &key_file(1), time(0)).unwrap();
    let two = KeyRingFile::open(&dir, &key_file(1)).unwrap();
    one.update(|draft| draft.new_root(&[&key_file(2)], time(1)))
        .unwrap();
    let error = Sealer::new(two.ring().clone())
        .seal(Row::new("db").place(), &plain(b"x"))
        .unwrap_err();
    assert!(matches!(error, CredentialError::Unlock(_)));
    assert!(error.to_string().contains("open it again"), "{error}");
    assert!(KeyRingFile::open(&dir, &key_file(2)).is_ok());
}

#[test]
fn a_ring_may_use_approved_algorithms_only() {
    let scratch = tempfile::tempdir().unwrap();
    let settings = RingSettings {
        suite: Suite::HkdfSha512Aes256Gcm,
        ..RingSettings::default()
    };
    let dir = scratch.path().join("s");
    KeyRingFile::create_with(settings, &dir, &key_file(1), time(0)).unwrap();
    let file = KeyRingFile::open(&dir, &key_file(1)).unwrap();
    assert_eq!(file.ring().suite(), Suite::HkdfSha512Aes256Gcm);
    let sealed = Sealer::new(file.ring().clone())
        .seal(Row::new("db").place(), &plain(b"x"))
        .unwrap();
    assert_eq!(sealed.as_envelope().unwrap()[9..11], [0, 2]);
}

#[test]
fn a_key_file_is_made_once_private_and_read_again() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("config/key");
    let error = KeyFile::open(&path).unwrap_err();
    assert!(matches!(error, CredentialError::KeyNotFound(_)));
    let (key, outcome) = KeyFile::open_or_create(&path).unwrap();
    assert_eq!(outcome, CreateOutcome::Created);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(
        KeyFile::create(&path).unwrap_err().kind(),
        ErrorKind::InvalidState
    );
    let bytes = KeyRing::create(&key, time(0)).unwrap().to_bytes();
    let (same, outcome) = KeyFile::open_or_create(&path).unwrap();
    assert_eq!(outcome, CreateOutcome::Exists);
    assert!(KeyRing::unlock(&bytes, &same).is_ok());
    let delivered = KeyFile::from_bytes(&fs::read(&path).unwrap()).unwrap();
    assert!(KeyRing::unlock(&bytes, &delivered).is_ok());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        KeyFile::open(&path).unwrap_err().kind(),
        ErrorKind::InsecureStorage
    );
}

#[test]
fn a_damaged_key_file_is_told_from_a_foreign_and_from_a_newer_one() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("config/key");
    KeyFile::create(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 49);
    let mut accepted = 0;
    for changed in crate::common::mutations(&bytes) {
        accepted += usize::from(KeyFile::from_bytes(&changed).is_ok());
    }
    assert_eq!(accepted, 0);
    let mut damaged = bytes.clone();
    damaged[20] ^= 1;
    assert_eq!(
        KeyFile::from_bytes(&damaged).unwrap_err().kind(),
        ErrorKind::Tampered
    );
    let mut newer = bytes[..41].to_vec();
    newer[8] = 2;
    newer.extend_from_slice(&blake3::hash(&newer).as_bytes()[..8]);
    assert_eq!(
        KeyFile::from_bytes(&newer).unwrap_err().kind(),
        ErrorKind::UnsupportedFormat
    );
    assert_eq!(
        KeyFile::from_bytes(&[7; 32]).unwrap_err().kind(),
        ErrorKind::UnsupportedFormat
    );
    fs::write(&path, [7; 4096]).unwrap();
    assert_eq!(
        KeyFile::open(&path).unwrap_err().kind(),
        ErrorKind::UnsupportedFormat
    );
}
