//! What a crash leaves, and files that are completed, continued and removed.

use std::fs;

use nebula_credential_audit::{AuditLogger, Fault, Gap, Tail, entries};
use nebula_credential_core::CredentialError;

use crate::support::{Place, event};

fn filled(records: usize) -> Place {
    let place = Place::new();
    let log = place.logger();
    for number in 0..records {
        log.record(&event(number)).unwrap();
    }
    place
}

fn append(place: &Place, text: &str) {
    fs::write(place.path(), place.text() + text).unwrap();
}

#[test]
fn an_unfinished_record_is_dropped_and_that_is_recorded() {
    let place = filled(5);
    append(&place, "{\"seq\":7,\"time\":\"2026");
    place.logger().record(&event(9)).unwrap();
    assert!(place.verify().is_intact(), "{:?}", place.verify());
    assert!(
        place
            .text()
            .contains("21 bytes of an unfinished one were dropped")
    );
}

#[test]
fn an_unfinished_record_is_told_of_and_is_no_tampering() {
    let place = filled(5);
    let whole = place.text();
    let next = whole.lines().last().unwrap().replace("\"seq\":6", "\"seq\":7");
    for torn in [1, 21, next.len()] {
        fs::write(place.path(), whole.clone() + next.get(..torn).unwrap()).unwrap();
        let mut read = entries(place.path()).unwrap();
        assert_eq!(read.by_ref().map(Result::unwrap).count(), 6);
        assert_eq!(read.unfinished(), torn as u64);
        let found = place.verify();
        assert!(found.is_intact(), "{found:?}");
        assert_eq!((found.unfinished, found.tail), (torn as u64, Tail::Complete));
    }
    // Behind a tail that was cut, or without the state that knows of no more, it is damage.
    let mut lines: Vec<_> = whole.lines().collect();
    let last = lines.pop().unwrap();
    fs::write(place.path(), lines.join("\n") + "\n" + last.get(..21).unwrap()).unwrap();
    assert_eq!(place.verify().problem.unwrap().fault, Fault::Malformed);
    fs::write(place.path(), whole + next.get(..21).unwrap()).unwrap();
    fs::remove_file(place.beside("state")).unwrap();
    let problem = place.verify().problem.unwrap();
    assert_eq!((problem.line, problem.fault), (7, Fault::Malformed));
}

#[test]
fn an_unfinished_record_behind_some_that_had_not_been_noted_is_no_tampering() {
    for bytes in [1 << 20, 2_000] {
        let place = filled(5);
        let old = fs::read(place.beside("state")).unwrap();
        let log = place.builder().max_file_bytes(bytes).build();
        for number in 5..25 {
            log.record(&event(number)).unwrap();
        }
        drop(log);
        // As after a loss of power: the state was not synced.
        fs::write(place.beside("state"), old).unwrap();
        append(&place, "{\"seq\":28,\"ti");
        let found = place.verify();
        assert!(found.is_intact(), "{found:?}");
        assert_eq!((found.unfinished, found.tail), (13, Tail::Complete));
        // The next to write finds the same.
        place.logger().record(&event(9)).unwrap();
        assert!(
            place
                .text()
                .contains("13 bytes of an unfinished one were dropped")
        );
        let found = place.verify();
        assert!(found.is_intact() && found.unfinished == 0, "{found:?}");
    }
}

#[test]
fn a_completed_file_ends_with_a_whole_record() {
    let place = filled(5);
    fs::write(place.beside("000001"), place.text() + "{\"seq\":7").unwrap();
    fs::remove_file(place.path()).unwrap();
    let read: Vec<_> = entries(place.path()).unwrap().collect();
    assert_eq!(
        (read.len(), read.iter().filter(|entry| entry.is_ok()).count()),
        (7, 6)
    );
    assert_eq!(place.verify().problem.unwrap().fault, Fault::Malformed);
}

#[test]
fn records_that_the_state_does_not_know_yet_are_taken_in() {
    let place = filled(5);
    let old = fs::read(place.beside("state")).unwrap();
    let log = place.logger();
    for number in 5..400 {
        log.record(&event(number)).unwrap();
    }
    fs::write(place.beside("state"), old).unwrap();
    place.logger().record(&event(9)).unwrap();
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert!(place.text().contains("396 records had not been noted"));
}

#[test]
fn records_that_were_lost_with_the_power_are_a_gap_that_the_log_tells_of() {
    let place = filled(20);
    let text = place.text();
    let kept: Vec<_> = text.lines().take(15).collect();
    // Torn in the middle of a record.
    fs::write(place.path(), kept.join("\n") + "\n{\"seq\":16,\"ti").unwrap();
    place.logger().record(&event(9)).unwrap();
    let found = place.verify();
    assert_eq!(found.problem, None);
    assert_eq!(found.gaps, [Gap { from: 16, to: 21 }]);
    assert!(!found.is_intact());
}

#[test]
fn what_someone_else_wrote_is_left_as_it_is_and_nothing_is_written_after_it() {
    let place = filled(5);
    let last = place.text().lines().last().unwrap().to_owned();
    append(&place, &(last.replace("\"seq\":6", "\"seq\":7") + "\n"));
    let before = place.text();
    let error = place.logger().record(&event(9)).unwrap_err();
    assert!(error.to_string().contains("something else wrote"), "{error}");
    assert_eq!(place.text(), before);
}

#[test]
fn a_log_without_its_state_is_not_begun_again() {
    let place = filled(5);
    fs::remove_file(place.beside("state")).unwrap();
    let error = place.logger().record(&event(9)).unwrap_err();
    assert!(matches!(error, CredentialError::AuditUnavailable(_)), "{error}");
    assert!(error.to_string().contains("put the state back"), "{error}");
}

#[test]
fn a_long_log_goes_on_in_another_file_that_is_linked_to_the_one_before() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(10_000).build();
    for number in 0..200 {
        log.record(&event(number)).unwrap();
    }
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert!(found.files > 4, "{found:?}");
    let read: Vec<_> = entries(place.path()).unwrap().map(Result::unwrap).collect();
    assert!(read.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
    let accessed = read.iter().filter(|entry| entry.event == "accessed").count();
    assert_eq!(accessed, 200);

    // A file in the middle is no less protected than the last.
    let middle = place.beside("000002");
    let text = fs::read_to_string(&middle).unwrap();
    fs::remove_file(&middle).unwrap();
    let problem = place.verify().problem.unwrap();
    assert_eq!((problem.line, problem.fault), (1, Fault::OutOfOrder));
    fs::write(&middle, text).unwrap();
    assert!(place.verify().is_intact());
}

#[test]
fn a_process_that_died_between_two_files_is_followed_by_one_that_goes_on() {
    let place = filled(5);
    fs::rename(place.path(), place.beside("000001")).unwrap();
    for number in [9, 10] {
        place.logger().record(&event(number)).unwrap();
    }
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.files, 2);
}

#[test]
fn several_writers_make_one_chain() {
    let place = Place::new();
    place.logger().open().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let log: AuditLogger = place.logger();
            scope.spawn(move || {
                for number in 0..200 {
                    log.record(&event(writer * 1000 + number)).unwrap();
                }
            });
        }
    });
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.records, 1 + 4 + 800);
}

/// Writes without pause on a thread, while `other` does what it does.
fn beside_a_busy_writer(place: &Place, other: impl FnOnce()) {
    let done = std::sync::atomic::AtomicBool::new(false);
    let log = place.logger();
    log.open().unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut written = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                log.record(&event(written)).unwrap();
                written += 1;
            }
            written
        });
        other();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(busy.join().unwrap() > 0);
    });
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
}

#[test]
fn one_that_writes_without_pause_lets_others_have_their_turn() {
    let place = Place::new();
    beside_a_busy_writer(&place, || {
        for number in 0..100 {
            // Each waits for its turn anew, and fails if that does not come within two seconds.
            place.logger().record(&event(number)).unwrap();
        }
    });
}

#[test]
fn one_that_wrote_without_pause_and_stopped_keeps_nobody_waiting() {
    let place = Place::new();
    let (one, other) = (place.logger(), place.logger());
    for round in 0..20 {
        for log in [&one, &other] {
            for number in 0..100 {
                log.record(&event(round * 100 + number)).unwrap();
            }
        }
    }
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.records, 2 + 4000);
}

#[test]
fn a_process_that_died_when_it_had_just_begun_a_file_costs_no_completed_one() {
    let place = filled(5);
    fs::rename(place.path(), place.beside("000001")).unwrap();
    nebula_credential_fs::append_private_file(place.path()).unwrap();
    let log = place.builder().max_file_bytes(2000).build();
    for number in 0..20 {
        log.record(&event(number)).unwrap();
    }
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert!(found.files > 2 && found.records > 25, "{found:?}");
}

#[test]
fn a_state_from_before_several_rotations_catches_up() {
    let place = filled(5);
    let old = fs::read(place.beside("state")).unwrap();
    let log = place.builder().max_file_bytes(2000).build();
    for number in 0..20 {
        log.record(&event(number)).unwrap();
    }
    // As after a loss of power: the records were synced, and the state was not.
    fs::write(place.beside("state"), old).unwrap();
    place.logger().record(&event(9)).unwrap();
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
}

#[test]
fn a_log_that_is_being_written_is_found_whole() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(20_000).build();
    log.open().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..3000 {
                log.record(&event(number)).unwrap();
            }
        });
        while !writer.is_finished() {
            let found = place.verify();
            assert!(found.is_intact(), "{found:?}");
        }
    });
}
