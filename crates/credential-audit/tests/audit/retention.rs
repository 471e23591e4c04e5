//! Which files are removed when, and what is made of it when they are not there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use nebula_credential_audit::{AuditLogger, Fault, Tail};
use nebula_credential_core::Clock as _;

use crate::support::{Place, event};

const KEEP: Duration = Duration::from_secs(10 * 86_400);

fn logger(place: &Place) -> AuditLogger {
    place.builder().max_file_bytes(5_000).keep(KEEP).build()
}

/// Records an event on each of so many days; some ten of them fill a file.
fn days(place: &Place, log: &AuditLogger, count: usize) {
    for number in 0..count {
        log.record(&event(number)).unwrap();
        place.clock.advance(Duration::from_secs(86_400));
    }
}

/// The completed files that are there, the oldest first.
fn completed(place: &Place) -> Vec<PathBuf> {
    let numbers = (1..200).map(|number| place.beside(&format!("{number:06}")));
    numbers.filter(|file| file.exists()).collect()
}

#[test]
fn old_files_are_removed_and_the_log_says_through_which_record() {
    let place = Place::new();
    let log = logger(&place);
    days(&place, &log, 200);
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert!(found.first > 50, "{found:?}");
    // What is left reaches back for as long as it is to be kept.
    assert!(found.reaches_back_to(place.clock.now() - KEEP), "{found:?}");

    // What the log does not say is not believed.
    fs::remove_file(&completed(&place)[0]).unwrap();
    assert_eq!(place.verify().problem.unwrap().fault, Fault::NoBeginning);
}

#[test]
fn a_removal_that_stops_half_way_is_recorded_as_far_as_it_came() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(5_000).build();
    days(&place, &log, 60);
    drop(log);
    let (second, aside) = (place.beside("000002"), place.beside("aside"));
    fs::rename(&second, &aside).unwrap();
    fs::create_dir(&second).unwrap();
    let log = logger(&place);
    while log.record(&event(100)).is_ok() {
        assert!(place.beside("000001").exists() || completed(&place).len() > 3);
    }
    fs::remove_dir(&second).unwrap();
    fs::rename(&aside, &second).unwrap();
    log.record(&event(101)).unwrap();
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
}

#[test]
fn a_process_that_died_when_it_had_said_that_it_removes_a_file_is_believed() {
    let place = Place::new();
    let log = logger(&place);
    let mut texts = Vec::new();
    while place.beside("000001").exists() || !place.beside("000002").exists() {
        days(&place, &log, 1);
        if let Ok(text) = fs::read(place.beside("000001")) {
            texts = text;
        }
    }
    assert!(place.verify().is_intact());
    fs::write(place.beside("000001"), texts).unwrap();
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.first, 1);
}

#[test]
fn a_clock_that_jumps_ahead_removes_nothing() {
    let place = Place::new();
    let keep = Duration::from_secs(100 * 86_400);
    let log = place.builder().max_file_bytes(5_000).keep(keep).build();
    days(&place, &log, 40);
    let (before, now) = (completed(&place), place.clock.now());
    assert!(before.len() > 1);
    place.clock.jump(now + TimeDelta::days(10_000));
    log.record(&event(1)).unwrap();
    place.clock.jump(now);
    // Nor do files that the system says are old: the records say when they were written.
    for file in completed(&place) {
        let file = fs::File::options().append(true).open(file).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    for number in 0..200 {
        log.record(&event(number)).unwrap();
    }
    assert_eq!(completed(&place)[..before.len()], before);
    let found = place.verify();
    assert!(found.is_intact() && found.first == 1, "{found:?}");
}

#[test]
fn a_clock_that_was_ahead_when_a_file_was_begun_does_not_keep_it_open_for_ever() {
    let place = Place::new();
    let now = place.clock.now();
    place.clock.jump(now + TimeDelta::days(10_000));
    let log = place.builder().max_file_age(Duration::from_secs(86_400)).build();
    log.record(&event(1)).unwrap();
    place.clock.jump(now);
    log.record(&event(2)).unwrap();
    assert_eq!(completed(&place).len(), 0);
    days(&place, &log, 3);
    assert!(!completed(&place).is_empty());
}

#[test]
fn the_last_completed_file_and_one_that_is_damaged_are_kept() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(5_000).keep(Duration::ZERO).build();
    days(&place, &log, 60);
    assert_eq!(completed(&place).len(), 1);
    let kept = completed(&place).remove(0);
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text + "no record\n").unwrap();
    days(&place, &log, 60);
    assert!(kept.exists());
}

#[test]
fn removals_that_the_retention_did_not_make_are_told_by_how_far_the_log_reaches_back() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(5_000).build();
    days(&place, &log, 100);
    drop(log);
    let honest = place.verify();
    assert!(honest.reaches_back_to(place.clock.now() - TimeDelta::days(365)));
    // Who has the state has the key of the records to come, and may say in them what they like.
    let thief = place
        .builder()
        .max_file_bytes(1)
        .keep(Duration::from_secs(20 * 86_400))
        .build();
    for number in 0..3 {
        thief.record(&event(number)).unwrap();
    }
    let found = place.verify();
    assert!(found.is_intact() && found.first > 1, "{found:?}");
    assert_eq!(found.tail, Tail::Complete);
    assert!(found.reaches_back_to(place.clock.now() - TimeDelta::days(20)));
    assert!(!found.reaches_back_to(place.clock.now() - TimeDelta::days(365)));
}

#[test]
fn one_record_of_a_clock_that_is_ahead_does_not_stop_the_retention() {
    let place = Place::new();
    let log = logger(&place);
    // Up to where the next record begins a file.
    let mut files = completed(&place).len();
    while files == completed(&place).len() || files < 2 {
        files = completed(&place).len();
        days(&place, &log, 1);
    }
    let long = place.builder().max_file_bytes(1).keep(KEEP).build();
    let now = place.clock.now();
    place.clock.jump(now + TimeDelta::days(10_000));
    long.record(&event(1)).unwrap();
    place.clock.jump(now);
    let kept = completed(&place);
    days(&place, &log, 200);
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert!(kept.iter().all(|file| !file.exists()), "{found:?}");
    assert!(completed(&place).len() < 6, "{found:?}");
    assert!(found.reaches_back_to(place.clock.now() - KEEP), "{found:?}");
}

#[test]
fn the_last_record_of_a_file_under_a_clock_that_is_ahead_removes_nothing() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(5_000).build();
    days(&place, &log, 40);
    let (before, now) = (completed(&place), place.clock.now());
    place.clock.jump(now + TimeDelta::days(10_000));
    log.record(&event(1)).unwrap();
    place.clock.jump(now);
    // The next record completes the file that ends ahead.
    let next = place
        .builder()
        .max_file_bytes(1)
        .keep(Duration::from_secs(100 * 86_400));
    next.build().record(&event(2)).unwrap();
    assert_eq!(completed(&place)[..before.len()], before);
    assert!(completed(&place).len() > before.len());
    let found = place.verify();
    assert!(found.is_intact() && found.first == 1, "{found:?}");
}

#[test]
fn a_record_of_a_clock_that_was_behind_removes_nothing_though_a_file_begins_with_it() {
    let place = Place::new();
    let keep = Duration::from_secs(100 * 86_400);
    let log = place.builder().max_file_bytes(5_000).keep(keep).build();
    days(&place, &log, 3);
    let now = place.clock.now();
    // As after a start without a battery, until the network has told the time.
    place.clock.jump(now - TimeDelta::days(10_000));
    let next = place.builder().max_file_bytes(1).keep(keep).build();
    next.record(&event(1)).unwrap();
    let before = place.beside("000001");
    assert!(before.exists());
    place.clock.jump(now);
    days(&place, &log, 60);
    assert!(before.exists());
    let found = place.verify();
    assert!(found.is_intact() && found.first == 1, "{found:?}");
    // When it is old enough, it goes all the same.
    days(&place, &log, 100);
    assert!(!before.exists());
    assert!(place.verify().is_intact());
}

#[test]
fn a_file_that_ends_and_is_followed_under_a_clock_that_was_behind_goes_with_those_before_it() {
    let place = Place::new();
    let keep = Duration::from_secs(100 * 86_400);
    let log = place.builder().max_file_bytes(5_000).keep(keep).build();
    let each = place.builder().max_file_bytes(1).keep(keep).build();
    let two_files_behind = || {
        let now = place.clock.now();
        place.clock.jump(now - TimeDelta::days(10_000));
        each.record(&event(1)).unwrap();
        each.record(&event(2)).unwrap();
        place.clock.jump(now);
    };
    // At the beginning of a log there is nothing before it.
    two_files_behind();
    let first = place.beside("000001");
    assert!(first.exists());
    days(&place, &log, 30);
    assert!(!first.exists());

    two_files_behind();
    let files = completed(&place);
    let [.., before, behind] = files.as_slice() else {
        panic!("{files:?}")
    };
    days(&place, &log, 60);
    assert!(before.exists() && behind.exists());
    while before.exists() {
        assert!(behind.exists());
        days(&place, &log, 1);
    }
    assert!(!behind.exists());
    let found = place.verify();
    assert!(found.is_intact() && found.first > 1, "{found:?}");
}

#[test]
fn a_record_that_a_thief_dates_back_is_not_told_by_how_far_the_log_reaches_back_but_by_its_number() {
    let place = Place::new();
    let log = place.builder().max_file_bytes(5_000).build();
    days(&place, &log, 100);
    drop(log);
    let honest = place.verify();
    let now = place.clock.now();
    place.clock.jump(now - TimeDelta::days(9_000));
    let thief = place.builder().max_file_bytes(1).keep(Duration::ZERO).build();
    for number in 0..6 {
        thief.record(&event(number)).unwrap();
    }
    let found = place.verify();
    assert!(found.is_intact(), "{found:?}");
    assert!(found.reaches_back_to(now - TimeDelta::days(365)), "{found:?}");
    // Every record from before the theft is gone. Who knows the number of one that must be there sees it.
    assert!(found.first > honest.last, "{found:?}");
}
