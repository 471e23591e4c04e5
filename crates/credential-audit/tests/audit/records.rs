//! What a record looks like, and where copies of it go.

use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use nebula_credential_audit::{
    AuditSeed, AuditSink, Event, EventKind, Names, OnFailure, WriterSink, entries,
};
use nebula_credential_core::{CredentialError, Decision, Permission, Principal, Version};
use nebula_credential_testkit::TraceCapture;

use crate::support::{Place, event, id};

#[test]
fn a_record_is_one_line_of_ascii_whatever_the_caller_says() {
    let place = Place::new();
    let log = place.logger();
    let purposes = [
        "plain",
        "line\nbreak\r\n{\"seq\":99}",
        "quote \" and backslash \\",
        "bidi \u{202e}txet\u{2066} and zero\u{200b}width",
        "\u{0}\u{1b}[2J\u{7f}\u{85}\u{2028}",
        "emoji \u{1f511}",
    ];
    for purpose in purposes {
        let mut event = event(1);
        event.purpose = Some(purpose.to_owned());
        log.record(&event).unwrap();
    }
    let text = place.text();
    assert!(
        text.bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte))
    );
    assert_eq!(text.lines().count(), 1 + purposes.len());
    let read: Vec<_> = entries(place.path()).unwrap().map(Result::unwrap).collect();
    let said: Vec<_> = read.iter().filter_map(|entry| entry.purpose.as_deref()).collect();
    assert_eq!(said, purposes);
    assert!(place.verify().is_intact());
}

#[test]
fn everything_that_is_known_is_in_it() {
    let place = Place::new();
    let mut event = event(3);
    event.kind = EventKind::PermissionDenied;
    event.version = Version::new(7);
    event.permission = Some(Permission::Use);
    let decision = Decision {
        allowed: false,
        rule: "night".into(),
    };
    event.allowed = Some(decision.allowed);
    event.rule = Some(decision.rule.to_string());
    event.trace_id = Some([0xAB; 16]);
    event.intent = Some(1);
    let seq = place.logger().record(&event).unwrap();
    let entry = entries(place.path()).unwrap().map(Result::unwrap).last().unwrap();
    assert_eq!(
        serde_json::to_value(&entry).unwrap(),
        serde_json::json!({
            "seq": seq,
            "time": "2026-01-01T00:00:00Z",
            "event": "permission_denied",
            "stage": "outcome",
            "principal": "service:service-3",
            "tenant": "default",
            "scope": "global",
            "name": "name-3",
            "version": 7,
            "operation": "get",
            "permission": "use",
            "allowed": false,
            "rule": "night",
            "outcome": "ok",
            "duration_us": 3,
            "trace_id": "ab".repeat(16),
            "intent": 1,
        })
    );
}

#[test]
fn a_log_without_names_tells_records_apart_all_the_same() {
    let place = Place::new();
    let log = place.builder().names(Names::Tagged).build();
    for number in [1, 2, 1] {
        log.record(&event(number)).unwrap();
    }
    assert!(!place.text().contains("name-"));
    let tags: Vec<_> = entries(place.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().tag)
        .collect();
    let seed = place.seed();
    let expected = [1, 2, 1].map(|number| seed.tag(&id(&format!("name-{number}"))));
    assert_eq!(tags, expected);
    assert_ne!(tags[0], tags[1]);
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<String>>>);

impl AuditSink for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn take(&self, record: &str) -> bool {
        self.0.lock().unwrap().push(record.to_owned());
        true
    }
}

/// Takes nothing before it is told to.
struct Hung(Receiver<()>);

impl Write for Hung {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn sinks_get_copies_and_one_that_cannot_follow_is_recorded() {
    let place = Place::new();
    let memory = Memory::default();
    let (release, hung) = channel();
    let log = place
        .builder()
        .sink(memory.clone())
        .sink(WriterSink::new("socket", Hung(hung), 4).unwrap())
        .build();
    for number in 0..50 {
        log.record(&event(number)).unwrap();
    }
    drop(release);
    let copies = memory.0.lock().unwrap().join("\n") + "\n";
    assert_eq!(copies, place.text());
    let lost: u64 = entries(place.path())
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.event == "records_lost")
        .map(|entry| {
            let detail = entry.detail.unwrap();
            detail.strip_suffix(" by socket").unwrap().parse::<u64>().unwrap()
        })
        .sum();
    // The queue holds four and the writer one; of the records of losses themselves, some are lost as well.
    assert!(lost >= 44, "{lost}");
    assert!(place.verify().is_intact());
}

/// Hangs until its other end is dropped, then fails.
struct Dying(Receiver<()>);

impl Write for Dying {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_sink_took_and_never_wrote_is_recorded_as_lost() {
    let place = Place::new();
    let (alive, end) = channel();
    let sink = WriterSink::new("siem", Dying(end), 100).unwrap();
    let log = place.builder().sink(sink).build();
    for number in 0..50 {
        log.record(&event(number)).unwrap();
    }
    assert!(!place.text().contains("records_lost"));
    drop(alive);
    let lost = || -> u64 {
        let text = place.text();
        let counts = text
            .split("\"detail\":\"")
            .filter_map(|rest| rest.split_once(" by siem")?.0.parse::<u64>().ok());
        counts.sum()
    };
    while lost() == 0 {
        log.record(&event(0)).unwrap();
    }
    log.record(&event(0)).unwrap();
    log.record(&event(0)).unwrap();
    // Every record there is, but for those that were written last: theirs is told of with the next.
    let records = place.verify().records;
    assert!(
        lost() < records && records - lost() <= 2,
        "{} of {records}",
        lost()
    );
}

#[test]
fn a_seed_that_was_not_taken_away_is_told_of_at_each_opening() {
    let place = Place::new();
    let opening = || {
        let told = TraceCapture::new();
        let _guard = told.capture_thread();
        place.logger().open().unwrap();
        told.text()
    };
    assert!(opening().contains("a new audit log was begun"));
    assert_eq!(AuditSeed::beside(place.path()), Some(place.beside("seed")));
    for _ in 0..2 {
        let told = opening();
        assert!(told.contains("lies beside it still"), "{told}");
    }
    std::fs::rename(place.beside("seed"), place.directory.path().join("elsewhere")).unwrap();
    assert_eq!(AuditSeed::beside(place.path()), None);
    assert!(!opening().contains("seed"));
}

#[test]
fn best_effort_is_itself_recorded() {
    let place = Place::new();
    place
        .builder()
        .on_failure(OnFailure::BestEffort)
        .build()
        .open()
        .unwrap();
    assert!(place.text().contains("best effort: operations go on"));
    let mut custom = Event::new(EventKind::Custom);
    custom.principal = Some(Principal::Process);
    custom.detail = Some("exported 3 credentials".into());
    place.logger().record(&custom).unwrap();
    assert!(place.text().contains("\"detail\":\"fail closed\""));
    assert!(place.text().contains("exported 3 credentials"));
}

/// Makes the state that of a log from before it knew how credentials are named.
fn age(place: &Place) {
    let mut state = std::fs::read(place.beside("state")).unwrap();
    let body = state.len() - 8;
    state[8] = 1;
    let check = blake3::hash(&state[..body]);
    state[body..].copy_from_slice(&check.as_bytes()[..8]);
    std::fs::write(place.beside("state"), state).unwrap();
}

#[test]
fn a_log_whose_state_does_not_say_how_it_names_goes_on_as_whoever_writes_next() {
    for (names, next) in [(None, Names::Tagged), (Some(Names::Tagged), Names::Clear)] {
        let place = Place::new();
        place.logger().record(&event(1)).unwrap();
        age(&place);
        assert!(place.verify().is_intact());
        let log = match names {
            Some(names) => place.builder().names(names).build(),
            None => place.logger(),
        };
        log.record(&event(2)).unwrap();
        assert_eq!(place.text().contains("name-2"), names.is_none());
        // From then on it is known.
        let told = place.builder().names(next).build().open();
        assert!(matches!(told, Err(CredentialError::InvalidState(_))), "{told:?}");
        place.logger().record(&event(3)).unwrap();
        assert_eq!(place.text().contains("name-3"), names.is_none());
        assert!(place.verify().is_intact());
    }
}

#[test]
fn an_event_too_long_to_be_recorded_is_refused_under_best_effort_and_the_log_goes_on() {
    let place = Place::new();
    let log = place.builder().on_failure(OnFailure::BestEffort).build();
    let mut long = event(1);
    long.detail = Some("x".repeat(70_000).into());
    let refused = log.record(&long).unwrap_err();
    assert!(
        matches!(refused, CredentialError::LimitExceeded { .. }),
        "{refused}"
    );
    assert!(log.missed(refused).is_err());
    log.record(&event(2)).unwrap();
    assert!(!place.text().contains("records_lost"));
    assert!(place.verify().is_intact());
}
