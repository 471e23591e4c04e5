//! Envelopes: what opens, and that nothing else does.

use std::collections::HashSet;
use std::sync::Arc;

use crate::common::{
    Constant, Row, SUITES, envelope, id, key_file, mutations, passphrase, plain, ring, time,
};
use nebula_credential_core::{CredentialError, ErrorKind, Plaintext, Sealed, Version, limits};
use nebula_credential_crypto::{KeyRing, RingSettings, Sealer, Suite};

#[test]
fn opens_what_it_sealed_at_every_length_around_a_bucket() {
    for suite in SUITES {
        let sealer = Sealer::new(ring(suite));
        let row = Row::new("db");
        for length in [0, 1, 3, 251, 252, 253, 255, 256, 257, 508, 509, 4096, 65_536] {
            let secret: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let sealed = sealer.seal(row.place(), &plain(&secret)).unwrap();
            let opened = sealer.open(row.place(), &sealed).unwrap();
            assert_eq!(opened.expose(), secret, "{length}");
        }
    }
}

#[test]
fn lengths_show_in_steps_of_256_bytes_only() {
    let sealer = Sealer::new(ring(Suite::default()));
    let row = Row::new("db");
    let size = |length: usize| {
        let sealed = sealer.seal(row.place(), &plain(&vec![7; length])).unwrap();
        sealed.as_envelope().unwrap().len()
    };
    assert_eq!(size(0), size(252));
    assert_eq!(size(253), size(252) + 256);
    assert_eq!(size(253), size(508));
}

#[test]
fn the_limit_on_secrets_holds_to_the_byte() {
    let sealer = Sealer::new(ring(Suite::default()));
    let row = Row::new("db");
    let longest = vec![b'x'; limits::SECRET_BYTES_MAX];
    let sealed = sealer.seal(row.place(), &plain(&longest)).unwrap();
    assert_eq!(sealer.open(row.place(), &sealed).unwrap().expose(), longest);
    let too_long = vec![b'x'; limits::SECRET_BYTES_MAX + 1];
    let error = sealer.seal(row.place(), &plain(&too_long)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn no_envelope_holds_its_secret_in_the_clear() {
    let sealer = Sealer::new(ring(Suite::default()));
    let sealed = sealer
        .seal(Row::new("db").place(), &plain(b"hunter2-hunter2"))
        .unwrap();
    let bytes = sealed.as_envelope().unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
}

/// Flips, cuts and extensions of an envelope of more than 1 KiB and of a ring with three kinds of slot.
#[test]
fn no_damaged_envelope_and_no_damaged_ring_is_accepted() {
    let (mut tried, mut accepted) = (0, 0);
    for suite in SUITES {
        let sealer = Sealer::new(ring(suite));
        let row = Row::new("db");
        let sealed = sealer.seal(row.place(), &plain(&[0x5a; 1024])).unwrap();
        for bytes in mutations(sealed.as_envelope().unwrap()) {
            tried += 1;
            let opened = envelope(&bytes).and_then(|sealed| sealer.open(row.place(), &sealed));
            accepted += usize::from(opened.is_ok());
        }
    }
    println!("envelopes: {tried} damaged, {accepted} accepted");

    let ring = ring_with_three_slots();
    let bytes = ring.to_bytes();
    let (mut rings, mut unchecked) = (0, 0);
    for damaged in mutations(&bytes) {
        rings += 1;
        accepted += usize::from(KeyRing::unlock(&damaged, &key_file(1)).is_ok());
        // An attacker also corrects the checksum.
        if let Some((body, _)) = damaged.split_last_chunk::<32>() {
            if blake3::hash(body).as_bytes()[..] == damaged[body.len()..] && damaged != bytes {
                unchecked += 1;
            }
            let forged = [body, blake3::hash(body).as_bytes()].concat();
            if forged != bytes {
                rings += 1;
                accepted += usize::from(KeyRing::unlock(&forged, &key_file(1)).is_ok());
            }
        }
    }
    println!("key rings: {rings} damaged or forged");
    println!("in all {} tried, {accepted} accepted", tried + rings);
    assert_eq!(unchecked, 0);
    assert_eq!(accepted, 0);
    assert!(tried + rings >= 20_000);
    assert!(KeyRing::unlock(&bytes, &key_file(1)).is_ok(), "control");
}

fn ring_with_three_slots() -> KeyRing {
    let ring = ring(Suite::default());
    crate::common::change(&ring, |draft| {
        draft.add_slot(&passphrase("one"), time(1))?;
        draft.add_slot(&key_file(2), time(2))?;
        draft.rotate(time(3))
    })
    .unwrap();
    ring
}

#[test]
fn an_envelope_opens_nowhere_but_where_it_belongs() {
    let mut places = vec![Row::new("db")];
    for (tenant, scope, name) in [
        ("acme", "global", "db"),
        ("default", "workflow/7", "db"),
        ("default", "global", "db2"),
        // The same letters, cut elsewhere.
        ("default", "globa", "l-db"),
        ("defaul", "t-global", "db"),
    ] {
        let mut row = Row::new("db");
        row.id = id(tenant, scope, name);
        places.push(row);
    }
    let changes: [fn(&mut Row); 6] = [
        |row| row.version.credential_type = "postgres".into(),
        |row| row.version.version = Version::new(2).unwrap(),
        |row| row.version.schema_version = 2,
        |row| row.version.created_at = time(2),
        |row| row.version.expires_at = Some(time(9)),
        |row| row.version.expires_at = Some(chrono::DateTime::UNIX_EPOCH),
    ];
    for change in changes {
        let mut row = Row::new("db");
        change(&mut row);
        places.push(row);
    }

    for suite in SUITES {
        let sealer = Sealer::new(ring(suite));
        let (mut moved, mut accepted) = (0, 0);
        for (at, from) in places.iter().enumerate() {
            let sealed = sealer.seal(from.place(), &plain(b"secret")).unwrap();
            assert!(sealer.open(from.place(), &sealed).is_ok(), "control");
            for (_, to) in places.iter().enumerate().filter(|(other, _)| *other != at) {
                moved += 1;
                let opened = sealer.open(to.place(), &sealed);
                accepted += usize::from(opened.is_ok());
                assert_eq!(opened.unwrap_err(), CredentialError::Tampered);
                let rewrapped = sealer.rewrap(to.place(), &sealed);
                assert!(!matches!(rewrapped, Ok(Some(_))));
            }
        }
        println!("{suite:?}: {moved} transplants, {accepted} accepted");
        assert_eq!(accepted, 0);
    }
}

/// Also the parts of two envelopes do not mix, though place, ring and epoch are the same.
#[test]
fn a_wrapped_key_serves_its_own_payload_only() {
    let sealer = Sealer::new(ring(Suite::default()));
    let row = Row::new("db");
    let one = sealer.seal(row.place(), &plain(b"one")).unwrap();
    let two = sealer.seal(row.place(), &plain(b"two")).unwrap();
    let [one, two] = [&one, &two].map(|sealed| sealed.as_envelope().unwrap().to_vec());
    let part = 49 + 32..49 + 32 + 2 + 21 + 2 + 112;
    let mut mixed = one.clone();
    mixed[part.clone()].copy_from_slice(&two[part]);
    let opened = sealer.open(row.place(), &envelope(&mixed).unwrap());
    assert_eq!(opened.unwrap_err(), CredentialError::Tampered);
}

#[test]
fn a_broken_random_source_never_repeats_a_key_with_a_nonce() {
    let count: u32 = std::env::var("NEBULA_PROOF_COUNT")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(20_000);
    let settings = RingSettings {
        entropy: Some(Arc::new(Constant(7))),
        ..RingSettings::default()
    };
    let sealer = Sealer::new(KeyRing::create_with(settings, &key_file(1), time(0)).unwrap());
    let row = Row::new("db");
    // The commitment is derived with the key and the nonce, from the same inputs: where they repeat, it repeats.
    let (mut payloads, mut wraps) = (HashSet::new(), HashSet::new());
    for number in 0..count {
        let sealed = sealer.seal(row.place(), &plain(&number.to_be_bytes())).unwrap();
        let bytes = sealed.as_envelope().unwrap();
        assert!(payloads.insert(bytes[49..81].to_vec()), "{number}");
        assert!(
            wraps.insert(bytes[81 + 25 + 32..81 + 25 + 64].to_vec()),
            "{number}"
        );
    }
    println!("{count} secrets under a constant random source: 0 repeated payload keys, 0 repeated wraps");

    // Control: the source is as bad as it says, and the same message gives the same bytes.
    let again = |secret: &[u8]| sealer.seal(row.place(), &plain(secret)).unwrap();
    assert_eq!(again(b"same").as_envelope(), again(b"same").as_envelope());
}

#[test]
fn unknown_versions_suites_and_magic_are_named_and_unknown_flags_refused() {
    let sealer = Sealer::new(ring(Suite::default()));
    let row = Row::new("db");
    let sealed = sealer.seal(row.place(), &plain(b"secret")).unwrap();
    let bytes = sealed.as_envelope().unwrap();
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.to_vec();
        changed[at] = byte;
        envelope(&changed)
            .and_then(|sealed| sealer.open(row.place(), &sealed))
            .unwrap_err()
    };
    assert_eq!(with(0, 0).kind(), ErrorKind::UnsupportedFormat);
    let newer = with(8, 2);
    assert_eq!(newer.kind(), ErrorKind::UnsupportedFormat);
    assert!(newer.to_string().contains("version 2"), "{newer}");
    assert_eq!(with(10, 9).kind(), ErrorKind::UnsupportedFormat);
    assert_eq!(with(12, 1), CredentialError::Tampered);
}

#[test]
fn a_key_that_is_not_there_is_named_with_the_remedy() {
    let row = Row::new("db");
    let sealed = Sealer::new(ring(Suite::default()))
        .seal(row.place(), &plain(b"x"))
        .unwrap();
    let other = Sealer::new(ring(Suite::default()));
    let error = other.open(row.place(), &sealed).unwrap_err();
    assert!(matches!(error, CredentialError::KeyNotFound(_)));
    assert!(error.to_string().contains("with that key ring"), "{error}");
    assert_eq!(other.epoch_of(&sealed).unwrap(), None);

    let ring = ring(Suite::default());
    let before = ring.to_bytes();
    crate::common::change(&ring, |draft| draft.rotate(time(5))).unwrap();
    let sealed = Sealer::new(ring).seal(row.place(), &plain(b"x")).unwrap();
    let old = Sealer::new(KeyRing::unlock(&before, &key_file(1)).unwrap());
    let error = old.open(row.place(), &sealed).unwrap_err();
    assert!(matches!(error, CredentialError::KeyNotFound(_)));
    assert!(error.to_string().contains("newest copy"), "{error}");
}

#[test]
fn a_ring_refuses_envelopes_below_its_suite() {
    let row = Row::new("db");
    let strict = ring(Suite::HkdfSha512Aes256Gcm);
    let sealed = Sealer::new(strict.clone())
        .seal(row.place(), &plain(b"x"))
        .unwrap();
    let mut bytes = sealed.as_envelope().unwrap().to_vec();
    bytes[10] = 1;
    let error = Sealer::new(strict)
        .open(row.place(), &envelope(&bytes).unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
}

#[test]
fn values_of_a_store_that_encrypts_itself_are_not_mistaken_for_envelopes() {
    let sealer = Sealer::new(ring(Suite::default()));
    let managed = Sealed::provider_managed(Plaintext::new(b"{}".to_vec()));
    let error = sealer.open(Row::new("db").place(), &managed).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn rewrapping_changes_the_wrap_part_and_nothing_else() {
    for suite in SUITES {
        let ring = ring(suite);
        let sealer = Sealer::new(ring.clone());
        let row = Row::new("db");
        let sealed = sealer.seal(row.place(), &plain(b"secret")).unwrap();
        assert!(sealer.rewrap(row.place(), &sealed).unwrap().is_none());
        let epoch = crate::common::change(&ring, |draft| draft.rotate(time(5))).unwrap();
        assert!(sealer.open(row.place(), &sealed).is_ok(), "old epochs still open");
        let rewrapped = sealer.rewrap(row.place(), &sealed).unwrap().unwrap();
        assert_eq!(sealer.epoch_of(&rewrapped).unwrap(), Some(epoch));
        assert_eq!(sealer.open(row.place(), &rewrapped).unwrap().expose(), b"secret");
        let [old, new] = [&sealed, &rewrapped].map(|sealed| sealed.as_envelope().unwrap());
        let part = 81..81 + 2 + 21 + 2 + 112;
        assert_eq!(old.len(), new.len());
        assert_eq!(old[..part.start], new[..part.start]);
        assert_eq!(old[part.end..], new[part.end..]);
        assert_ne!(old[part.clone()], new[part]);
        assert!(sealer.rewrap(row.place(), &rewrapped).unwrap().is_none());
    }
}
