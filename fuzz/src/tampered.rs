//! A secret sealed for a place that the input names, then changed as the input says.

use chrono::DateTime;
use nebula_credential_core::{ErrorKind, Sealed, Version};
use nebula_credential_crypto::Suite;

use crate::envelope::refuses;
use crate::golden::{CREATED_AT, ENVELOPES, Row, address, plain, rotated, sealer};
use crate::input::Input;

/// Most changes of one run: more would make noise of the envelope.
const CHANGES: usize = 8;

/// Seals, changes the envelope or the place it is opened for, and compares the answer with the one there has to be:
/// what was sealed opens to its exact secret where it belongs, and nothing else opens at all.
pub fn decrypt_tampered(data: &[u8]) {
    let mut input = Input::new(data);
    let suite = match input.u8() % 2 {
        0 => Suite::Blake3Aes256Gcm,
        _ => Suite::HkdfSha512Aes256Gcm,
    };
    let Some(one) = Sample::seal(suite, &mut input) else {
        return;
    };
    let Some(two) = Sample::seal(suite, &mut input) else {
        return;
    };
    let golden = ENVELOPES.iter().map(|(bytes, secret)| Sample {
        row: Row::golden(),
        secret: secret.to_vec(),
        bytes: bytes.to_vec(),
    });
    let mut samples: Vec<Sample> = golden.collect();
    let mut bytes = one.bytes.clone();
    let mut row = one.row.clone();
    samples.extend([one, two]);

    for _ in 0..CHANGES {
        if input.is_empty() {
            break;
        }
        change(&mut bytes, &mut row, &samples, &mut input);
    }
    let expected = samples
        .iter()
        .find(|sample| sample.bytes == bytes && sample.row == row);
    open(
        suite,
        &row,
        &bytes,
        expected.map(|sample| sample.secret.as_slice()),
    );
}

/// Something that was sealed.
struct Sample {
    row: Row,
    secret: Vec<u8>,
    bytes: Vec<u8>,
}

impl Sample {
    fn seal(suite: Suite, input: &mut Input<'_>) -> Option<Self> {
        let mut row = Row::golden();
        for _ in 0..input.u8() % 8 {
            change_row(&mut row, input);
        }
        // Up to four buckets of 256 bytes, of a pattern that shows where each byte belongs.
        let length = input.below(4 * 256);
        let pattern = input.bytes(16);
        let secret: Vec<u8> = (0..length)
            .map(|at| {
                pattern
                    .get(at % 16)
                    .copied()
                    .unwrap_or(b' ')
                    .wrapping_add((at / 16) as u8)
            })
            .collect();
        match sealer(suite).seal(row.place(), &plain(&secret)) {
            Ok(sealed) => Some(Self {
                bytes: sealed.as_envelope().expect("an envelope").to_vec(),
                row,
                secret,
            }),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
                assert!(row.version.credential_type.len() > 255);
                None
            }
        }
    }
}

fn change(bytes: &mut Vec<u8>, row: &mut Row, samples: &[Sample], input: &mut Input<'_>) {
    match input.u8() % 12 {
        0 => {
            let at = input.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (input.u8() % 8);
            }
        }
        1 => bytes.truncate(input.below(bytes.len() + 1)),
        2 => {
            let more = usize::from(input.u8());
            bytes.extend_from_slice(input.bytes(more));
        }
        3 => drop(bytes.drain(input.range(bytes.len()))),
        4 => {
            let at = input.below(bytes.len() + 1);
            let more = usize::from(input.u8());
            drop(bytes.splice(at..at, input.bytes(more).iter().copied()));
        }
        5 => {
            let range = input.range(bytes.len());
            let new = input.bytes(range.len());
            bytes[range.start..range.start + new.len()].copy_from_slice(new);
        }
        // The same field of another envelope, or another one.
        6 | 7 => {
            let other = &samples[input.below(samples.len())].bytes;
            let from = input.range(other.len());
            let start = match input.u8() % 4 {
                0 => input.below(bytes.len() + 1),
                _ => from.start.min(bytes.len()),
            };
            let end = (start + from.len()).min(bytes.len());
            drop(bytes.splice(start..end, other[from].iter().copied()));
        }
        8 => {
            let range = input.range(bytes.len());
            let at = input.below(range.len() + 1);
            bytes[range].rotate_left(at);
        }
        // A whole envelope of another record, as a store that mixes up its rows would give.
        9 => *bytes = samples[input.below(samples.len())].bytes.clone(),
        10 => *row = samples[input.below(samples.len())].row.clone(),
        _ => change_row(row, input),
    }
}

fn change_row(row: &mut Row, input: &mut Input<'_>) {
    let Row { id, version } = row;
    match input.u8() % 8 {
        kind @ 0..=2 => {
            let text = name(input);
            let parts = [id.tenant().as_str(), id.scope().as_str(), id.name().as_str()];
            let [tenant, scope, name] = std::array::from_fn(|part| {
                if part == usize::from(kind) {
                    text.as_str()
                } else {
                    parts[part]
                }
            });
            if let Ok(changed) = address(tenant, scope, name) {
                *id = changed;
            }
        }
        3 => {
            // Beyond 255 bytes: refused, or the context could not be told from another.
            let length = usize::from(input.u8()) * 2;
            let text = String::from_utf8_lossy(input.bytes(length));
            version.credential_type = text.repeat(1 + usize::from(input.u8() % 4)).into();
        }
        4 => version.schema_version = input.u32(),
        5 => version.version = Version::new(input.u32()).unwrap_or(Version::FIRST),
        6 => {
            // Within 72 minutes: a ring wraps nothing for a version made years after it.
            let later = CREATED_AT + i64::from(input.u32());
            version.created_at = DateTime::from_timestamp_micros(later).expect("a time");
        }
        _ => {
            let seconds = i64::from(input.u32());
            let time = DateTime::from_timestamp(seconds, 0).expect("a time");
            version.expires_at = (input.u8() % 2 == 1).then_some(time);
        }
    }
}

/// A name of few different letters: contexts of the same letters cut elsewhere come up often.
fn name(input: &mut Input<'_>) -> String {
    let length = 1 + input.u8() % 12;
    let letters = input.bytes(length.into()).iter();
    letters
        .map(|byte| char::from(b"ab01-._/"[usize::from(byte % 8)]))
        .collect()
}

fn open(suite: Suite, row: &Row, bytes: &[u8], expected: Option<&[u8]>) {
    let Ok(sealed) = Sealed::envelope(bytes) else {
        return assert!(expected.is_none());
    };
    let sealer = sealer(suite);
    match sealer.open(row.place(), &sealed) {
        // A golden envelope of the other suite is another ring's.
        Err(error) if error.kind() == ErrorKind::Key => assert!(is_foreign(suite, bytes), "{error}"),
        Err(error) => {
            assert!(refuses(error.kind()), "{error}");
            assert!(expected.is_none(), "what was sealed does not open: {error}");
        }
        Ok(secret) => assert_eq!(
            Some(secret.expose()),
            expected,
            "opened, and was not sealed so for this place"
        ),
    }
    if suite != Suite::Blake3Aes256Gcm {
        return;
    }
    // Rewrapping does not open the payload; what it wraps anew must not open for that.
    match rotated().rewrap(row.place(), &sealed) {
        Ok(Some(again)) => {
            let secret = rotated().open(row.place(), &again);
            assert_eq!(secret.as_ref().ok().map(|secret| secret.expose()), expected);
        }
        Ok(None) => assert!(rotated().open(row.place(), &sealed).is_err()),
        Err(_) => assert!(expected.is_none() || is_foreign(suite, bytes)),
    }
}

/// Whether the envelope names another ring or epoch than the one of `suite`.
fn is_foreign(suite: Suite, bytes: &[u8]) -> bool {
    const REFERENCE: usize = 8 + 1 + 2 + 2 + 32 + 4 + 32;
    let own = ENVELOPES[if suite == Suite::Blake3Aes256Gcm { 0 } else { 4 }].0;
    let reference = REFERENCE..REFERENCE + 2 + 21;
    bytes.get(reference.clone()) != own.get(reference)
}
