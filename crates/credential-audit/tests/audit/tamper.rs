//! What someone changes who may write the files.

use std::fs;

use nebula_credential_audit::{Fault, Tail, VerifyWith, verify};
use nebula_credential_core::CredentialError;

use crate::support::{Place, count, event, verify_at};

/// A log of 1,000 records beside the one that says it was opened.
fn thousand() -> Place {
    let place = Place::new();
    let log = place.logger();
    for number in 0..999 {
        log.record(&event(number)).unwrap();
    }
    assert!(place.verify().is_intact());
    assert_eq!(place.verify().records, 1000);
    place
}

fn random(below: usize) -> usize {
    usize::try_from(getrandom_u64() % below as u64).unwrap()
}

fn getrandom_u64() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

/// One change of the lines, and the first line that differs from what was written.
fn change(lines: &mut Vec<String>) -> (&'static str, usize) {
    let at = random(lines.len());
    match random(6) {
        0 => {
            let mut bytes = lines[at].clone().into_bytes();
            let byte = random(bytes.len());
            bytes[byte] ^= 1 << random(7);
            lines[at] = String::from_utf8_lossy(&bytes).replace(['\n', '\r'], "?");
            ("edit", at)
        }
        1 => {
            lines[at] = lines[at].replace("\"outcome\":\"ok\"", "\"outcome\":\"no\"")
                + if at == 0 { " " } else { "" };
            ("edit of a field", at)
        }
        // The last line is the tail, which is a question of its own.
        2 => {
            let at = at.min(lines.len() - 2);
            lines.remove(at);
            ("deletion", at)
        }
        3 => {
            let at = at.min(lines.len() - 2);
            let other = at + 1 + random(lines.len() - at - 1);
            lines.swap(at, other);
            ("swap", at)
        }
        4 => {
            let copy = lines[random(lines.len())].clone();
            lines.insert(at, copy);
            // A copy of the line itself is where it belongs; the original then is not.
            let first = if lines[at] == lines[at + 1] { at + 1 } else { at };
            ("insertion", first)
        }
        _ => {
            let copy = lines[at].clone();
            lines.insert(at + 1, copy);
            ("duplication", at + 1)
        }
    }
}

#[test]
fn every_change_of_a_record_is_found_where_it_was_made() {
    let place = thousand();
    let seed = place.seed();
    let original: Vec<_> = place.text().lines().map(str::to_owned).collect();
    let path = place.path();
    let total = count(300);
    let mut found = 0;
    for _ in 0..total {
        let mut lines = original.clone();
        let (kind, first) = change(&mut lines);
        if lines == original {
            continue;
        }
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let verification = verify_at(&path, &seed);
        let problem = verification
            .problem
            .unwrap_or_else(|| unreachable!("{kind} at {first} was not found"));
        assert_eq!(problem.line, first as u64 + 1, "{kind}: {problem}");
        found += 1;
    }
    println!(
        "{total} edits, deletions, swaps, insertions and duplications: {found} made a difference, {found} found where they were made"
    );
    assert!(found > total * 9 / 10);
}

#[test]
fn a_tail_that_was_cut_is_known_while_the_state_or_a_checkpoint_is_there() {
    let place = Place::new();
    let log = place.logger();
    for number in 0..2_500 {
        log.record(&event(number)).unwrap();
    }
    let (seed, lines) = (place.seed(), place.text());
    let lines: Vec<_> = lines.lines().collect();
    let write = |kept: usize| fs::write(place.path(), lines[..kept].join("\n") + "\n").unwrap();
    let tails = (1..=40).chain([400, 501, 1_000, 2_000, 2_500]);

    for cut in tails.clone() {
        write(lines.len() - cut);
        let verification = verify_at(&place.path(), &seed);
        assert_eq!(verification.problem, None);
        assert_eq!(verification.tail, Tail::Cut { known: 2_501 }, "{cut}");
        assert!(!verification.is_intact());
    }
    // Without the state the last checkpoint decides: that of record 2,000.
    fs::remove_file(place.beside("state")).unwrap();
    for cut in tails {
        write(lines.len() - cut);
        let tail = verify_at(&place.path(), &seed).tail;
        let expected = if cut > 501 {
            Tail::Cut { known: 2_000 }
        } else {
            Tail::Unknown
        };
        assert_eq!(tail, expected, "{cut}");
    }
    fs::remove_file(place.beside("checkpoints")).unwrap();
    write(10);
    assert_eq!(verify_at(&place.path(), &seed).tail, Tail::Unknown);
}

#[test]
fn a_log_that_was_replaced_by_an_empty_one_is_known() {
    let place = thousand();
    fs::write(place.path(), "").unwrap();
    assert_eq!(place.verify().tail, Tail::Cut { known: 1000 });
}

/// The key lies behind magic, number and hash in the state.
fn stolen_key(place: &Place) -> [u8; 32] {
    fs::read(place.beside("state")).unwrap()[9 + 8 + 32..][..32]
        .try_into()
        .unwrap()
}

/// The line with another name, sealed anew with `key`.
fn forge(line: &str, key: &[u8; 32], prev: Option<&str>) -> (String, String) {
    let body = line.split_once(",\"mac\":").unwrap().0.replace("name-", "evil-");
    let body = match prev {
        Some(prev) => {
            let (start, _) = body.rsplit_once(",\"prev\":").unwrap();
            format!("{start},\"prev\":\"{prev}\"")
        }
        None => body,
    };
    let hash = blake3::hash(body.as_bytes());
    let mac = blake3::keyed_hash(key, hash.as_bytes());
    (format!("{body},\"mac\":\"{mac}\"}}"), hash.to_string())
}

#[test]
fn the_present_key_forges_no_earlier_record() {
    let place = Place::new();
    let log = place.logger();
    for number in 0..50 {
        log.record(&event(number)).unwrap();
    }
    let (seed, key) = (place.seed(), stolen_key(&place));
    let original = place.text();
    let original: Vec<_> = original.lines().collect();
    for at in 1..original.len() {
        // Every record from there on is made anew, as one who has the key of now would.
        let mut lines: Vec<String> = original[..at].iter().map(|&line| line.to_owned()).collect();
        let mut prev = None;
        let mut evolved = key;
        for line in &original[at..] {
            let (line, hash) = forge(line, &evolved, prev.as_deref());
            lines.push(line);
            prev = Some(hash);
            evolved = blake3::derive_key(
                "nebula-credential 2026-11 audit key of a record to that of the next v1",
                &evolved,
            );
        }
        fs::write(place.path(), lines.join("\n") + "\n").unwrap();
        let problem = verify_at(&place.path(), &seed).problem.unwrap();
        assert_eq!((problem.line, problem.fault), (at as u64 + 1, Fault::Forged));
    }
    // The control: a record after the theft can be forged, so the forging above is what it should be.
    let mut lines: Vec<String> = original.iter().map(|&line| line.to_owned()).collect();
    let last = original[original.len() - 1];
    let hash = blake3::hash(last.split_once(",\"mac\":").unwrap().0.as_bytes()).to_string();
    let next = last.replace("{\"seq\":51,", "{\"seq\":52,");
    lines.push(forge(&next, &key, Some(&hash)).0);
    fs::write(place.path(), lines.join("\n") + "\n").unwrap();
    assert_eq!(verify_at(&place.path(), &seed).problem, None);
}

#[test]
fn with_the_public_key_what_lies_before_a_checkpoint_is_verified() {
    let place = Place::new();
    let log = place.logger();
    for number in 0..1_200 {
        log.record(&event(number)).unwrap();
    }
    let seed = place.seed();
    let key = seed.verifier().clone();
    let public = || verify(place.path(), VerifyWith::Checkpoints(&key), None).unwrap();
    let found = public();
    assert!(found.is_consistent() && !found.is_intact(), "{found:?}");
    assert_eq!((found.checkpoints, found.verified_through), (1, 1_000));
    assert!(verify_at(&place.path(), &seed).is_intact());

    // Someone changes a record and makes all hashes after it anew.
    let original = place.text();
    let mut lines: Vec<String> = Vec::new();
    let mut prev = None;
    for (at, line) in original.lines().enumerate() {
        if at < 100 {
            lines.push(line.to_owned());
            continue;
        }
        let (line, hash) = forge(line, &[7; 32], prev.as_deref());
        lines.push(line);
        prev = Some(hash);
    }
    fs::write(place.path(), lines.join("\n") + "\n").unwrap();
    let problem = public().problem.unwrap();
    assert_eq!((problem.line, problem.fault), (1_000, Fault::Contradicted));
    // A checkpoint of another key is none.
    let other = thousand();
    fs::copy(other.beside("checkpoints"), place.beside("checkpoints")).unwrap();
    assert_eq!((public().checkpoints, public().verified_through), (0, 0));
}

#[test]
fn what_is_no_log_is_told_so() {
    let place = Place::new();
    let missing = place.path();
    let seed = thousand().seed();
    let error = verify(&missing, VerifyWith::Seed(&seed), None).unwrap_err();
    assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    for text in ["hello\n", "{}\n", "{\"seq\":1}\n", "\u{0}\n", "no line end"] {
        fs::write(&missing, text).unwrap();
        assert_eq!(
            verify_at(&missing, &seed).problem.unwrap().fault,
            Fault::Malformed,
            "{text:?}"
        );
    }
    let other = fs::read_to_string(thousand().path()).unwrap();
    fs::write(&missing, other).unwrap();
    let problem = verify_at(&missing, &seed).problem.unwrap();
    assert_eq!((problem.line, problem.fault), (1, Fault::Forged));
}
