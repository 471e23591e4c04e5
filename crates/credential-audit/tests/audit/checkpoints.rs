//! Signed notes of where the log stood.

use std::fs;

use nebula_credential_audit::{VerifyWith, extent, verify};

use crate::support::{Place, event};

const FIRST_LINE: &str = "nebula-credential/audit\n";

/// A log with two checkpoints, and the notes.
fn noted() -> (Place, Vec<u8>, Vec<u8>) {
    let place = Place::new();
    let log = place.logger();
    for number in 0..2_000 {
        log.record(&event(number)).unwrap();
    }
    let notes = fs::read_to_string(place.beside("checkpoints")).unwrap();
    let second = notes.rfind(FIRST_LINE).unwrap();
    let (first, second) = notes.split_at(second);
    (place, first.as_bytes().to_vec(), second.as_bytes().to_vec())
}

#[test]
fn a_note_that_was_torn_off_hides_none_of_the_others() {
    let (place, first, second) = noted();
    for torn in 0..second.len() {
        let notes = [&first[..], &second[..torn], &second].concat();
        fs::write(place.beside("checkpoints"), notes).unwrap();
        assert_eq!(place.verify().checkpoints, 2, "{torn}");
        let said = extent(place.path(), None).unwrap().last_checkpoint;
        assert_eq!(said, Some(2_000), "{torn}");
    }
    for torn in 0..first.len() {
        fs::write(place.beside("checkpoints"), [&first[..torn], &second].concat()).unwrap();
        assert_eq!(place.verify().checkpoints, 1, "{torn}");
    }
}

#[test]
fn a_number_that_was_torn_off_is_not_taken_for_one() {
    let (place, first, _) = noted();
    let torn = [&first[..], FIRST_LINE.as_bytes(), b"20"].concat();
    fs::write(place.beside("checkpoints"), torn).unwrap();
    let said = extent(place.path(), None).unwrap().last_checkpoint;
    assert_eq!(said, Some(1_000));
}

#[test]
fn a_note_is_written_on_a_line_of_its_own() {
    let (place, first, second) = noted();
    fs::write(place.beside("checkpoints"), [&first[..], &second[..40]].concat()).unwrap();
    let log = place.logger();
    for number in 0..1_000 {
        log.record(&event(number)).unwrap();
    }
    let notes = fs::read_to_string(place.beside("checkpoints")).unwrap();
    let begun = notes.lines().filter(|line| *line == FIRST_LINE.trim_end());
    assert_eq!(begun.count(), 3, "{notes}");
    assert_eq!(place.verify().checkpoints, 2);
}

#[test]
fn checkpoints_that_are_named_and_cannot_be_read_are_not_passed_over() {
    let (place, ..) = noted();
    let seed = place.seed();
    let elsewhere = place.directory.path().join("elsewhere");
    let error = verify(place.path(), VerifyWith::Seed(&seed), Some(&elsewhere)).unwrap_err();
    assert!(error.to_string().contains("checkpoints"), "{error}");
    fs::remove_file(place.beside("checkpoints")).unwrap();
    assert_eq!(place.verify().checkpoints, 0);
}
