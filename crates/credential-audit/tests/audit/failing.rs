//! Logs that cannot be written: nothing is released, nothing is changed, and nobody waits for long.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use nebula_credential_audit::{AuditLogger, Durability, OnFailure, VerifyWith, verify};
use nebula_credential_core::{CredentialError, ErrorKind, Response};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::layer::{ask, context, get, record};
use crate::support::{Place, count, event};

/// Asks for a value over and over; how often it was released, and the longest wait.
async fn attempts(place: &Place, log: &AuditLogger, times: usize) -> (usize, Duration) {
    let (mut released, mut longest) = (0, Duration::ZERO);
    for _ in 0..times {
        let since = Instant::now();
        match ask(log, context(place), get(), |ctx| record(ctx, "secret")).await {
            Ok(Response::Record(_)) => released += 1,
            Ok(other) => unreachable!("{other:?}"),
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::AuditUnavailable | ErrorKind::InsecureStorage
                ),
                "{error}"
            ),
        }
        longest = longest.max(since.elapsed());
    }
    (released, longest)
}

async fn fails_closed(what: &str, place: &Place, log: &AuditLogger) {
    let times = count(200);
    let (released, longest) = attempts(place, log, times).await;
    println!("{what}: {times} reads, {released} values released, the longest wait {longest:?}");
    assert_eq!(released, 0, "{what}");
    assert!(longest < Duration::from_secs(2), "{what}: {longest:?}");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test]
async fn what_is_no_private_file_is_not_written_to() {
    let place = Place::new();
    fifo(&place.path());
    fails_closed("a FIFO that nobody reads", &place, &place.logger()).await;
    // One that somebody has open and does not read from.
    let reader = rustix::fs::open(
        place.path(),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK,
        Mode::empty(),
    );
    fails_closed("a FIFO that hangs", &place, &place.logger()).await;
    drop(reader);
    fs::remove_file(place.path()).unwrap();

    symlink("/dev/null", place.path()).unwrap();
    fails_closed("a symbolic link", &place, &place.logger()).await;
    fs::remove_file(place.path()).unwrap();

    fs::write(place.path(), "").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    fails_closed("a file that others can read", &place, &place.logger()).await;
}

#[tokio::test]
async fn a_log_that_is_taken_away_is_missed_at_once() {
    let place = Place::new();
    let log = place.logger();
    assert_eq!(attempts(&place, &log, 3).await.0, 3);
    let moved = place.directory.path().join("elsewhere");
    fs::rename(place.path(), &moved).unwrap();
    fails_closed("a log that was moved away", &place, &log).await;
    fs::rename(&moved, place.path()).unwrap();
    assert_eq!(attempts(&place, &log, 3).await.0, 3);

    fs::remove_dir_all(place.directory.path()).unwrap();
    fails_closed("a directory that was deleted", &place, &log).await;
    fails_closed("a directory that is not there", &place, &place.logger()).await;
}

#[tokio::test]
async fn a_full_disk_releases_nothing_and_leaves_the_log_whole() {
    let place = Place::new();
    let disk = place.directory.path().join("disk");
    fs::create_dir(&disk).unwrap();
    if mount(
        "tmpfs",
        &disk,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=256k,mode=700"),
    )
    .is_err()
    {
        return nebula_credential_testkit::skip("a full disk", "mounting a tmpfs needs root");
    }
    let path = disk.join("audit.log");
    let log = AuditLogger::builder(&path)
        .clock(place.clock.clone())
        .changes(Durability::Written)
        .build();
    while attempts(&place, &log, 1).await.0 == 1 {}
    fails_closed("a full disk", &place, &log).await;
    let seed = fs::read_to_string(disk.join("audit.log.seed")).unwrap();
    let seed = nebula_credential_audit::AuditSeed::parse(&seed).unwrap();
    let found = crate::support::verify_at(&path, &seed);
    assert!(found.is_intact(), "{found:?}");

    // With room again, it goes on where it was.
    fs::remove_file(disk.join("audit.log.seed")).unwrap();
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
    assert!(crate::support::verify_at(&path, &seed).is_intact());
    unmount(&disk, UnmountFlags::DETACH).unwrap();
}

#[tokio::test]
async fn best_effort_goes_on_and_records_how_many_were_lost() {
    let place = Place::new();
    let log = place.builder().on_failure(OnFailure::BestEffort).build();
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
    let moved = place.directory.path().join("elsewhere");
    fs::rename(place.path(), &moved).unwrap();
    assert_eq!(attempts(&place, &log, 7).await.0, 7);
    fs::rename(&moved, place.path()).unwrap();
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
    assert!(
        place.text().contains("\"detail\":\"7 by best effort\""),
        "{}",
        place.text()
    );
    assert!(place.verify().is_intact());
}

#[tokio::test]
async fn another_process_that_holds_the_lock_for_ever_is_not_waited_for() {
    let place = Place::new();
    let log = place.logger();
    log.open().unwrap();
    let held = fs::File::open(place.beside("state")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (released, longest) = attempts(&place, &log, 1).await;
    assert_eq!(released, 0);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    drop(held);
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
}

#[tokio::test]
async fn synced_reads_share_syncs() {
    let place = Place::new();
    let log = place.builder().reads(Durability::Synced).build();
    let reads = (0..200).map(|_| ask(&log, context(&place), get(), |ctx| record(ctx, "secret")));
    let mut reads: Vec<_> = reads.map(Box::pin).collect();
    for read in &mut reads {
        let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(read.as_mut().poll(cx).is_ready())).await;
    }
    for read in reads {
        match read.await {
            Ok(_) => {}
            Err(CredentialError::AuditUnavailable(reason)) => unreachable!("{reason}"),
            Err(error) => unreachable!("{error}"),
        }
    }
    assert_eq!(place.verify().records, 201);
}

#[tokio::test]
async fn best_effort_counts_what_was_lost_before_the_log_could_be_opened() {
    let place = Place::new();
    let path = place.directory.path().join("later/audit.log");
    let log = AuditLogger::builder(&path)
        .clock(place.clock.clone())
        .on_failure(OnFailure::BestEffort)
        .build();
    assert_eq!(attempts(&place, &log, 7).await.0, 7);
    fs::create_dir(path.parent().unwrap()).unwrap();
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"detail\":\"7 by best effort\""), "{text}");
}

#[tokio::test]
async fn what_several_sinks_lost_is_recorded_though_the_first_try_fails() {
    struct Dead(&'static str);
    impl nebula_credential_audit::AuditSink for Dead {
        fn name(&self) -> &'static str {
            self.0
        }
        fn take(&self, record: &str) -> bool {
            record.contains("records_lost")
        }
    }
    let place = Place::new();
    let log = place.builder().sink(Dead("one")).sink(Dead("two")).build();
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
    let moved = place.directory.path().join("elsewhere");
    fs::rename(place.path(), &moved).unwrap();
    assert_eq!(attempts(&place, &log, 1).await.0, 0);
    fs::rename(&moved, place.path()).unwrap();
    assert_eq!(attempts(&place, &log, 1).await.0, 1);
    for name in ["one", "two"] {
        let text = place.text();
        assert_eq!(text.matches(&format!(" by {name}")).count(), 2, "{text}");
    }
}

#[tokio::test]
async fn a_lock_held_for_ever_costs_many_callers_no_more_than_one() {
    let place = Place::new();
    let log = place.logger();
    log.open().unwrap();
    let held = fs::File::open(place.beside("state")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let since = Instant::now();
    assert_eq!(attempts(&place, &log, 20).await.0, 0);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // One that was not open yet.
    let (late, since) = (place.logger(), Instant::now());
    assert_eq!(attempts(&place, &late, 20).await.0, 0);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    drop(held);
    assert_eq!(attempts(&place, &log, 20).await.0, 20);
    assert_eq!(attempts(&place, &late, 20).await.0, 20);
}

#[test]
fn callers_that_come_at_once_wait_for_a_lock_held_for_ever_at_once() {
    let place = Place::new();
    let log = place.logger();
    log.open().unwrap();
    let held = fs::File::open(place.beside("state")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let since = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..200 {
            let log = &log;
            scope.spawn(move || log.record(&event(number)).unwrap_err());
        }
    });
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_not_forgotten() {
    let place = Place::new();
    let notes = place.directory.path().join("elsewhere/checkpoints");
    let log = place.builder().checkpoints(&notes).build();
    let mut written = 0;
    while log.record(&event(written)).is_ok() {
        written += 1;
        assert!(written < 2000, "no checkpoint was due");
    }
    log.record(&event(0)).unwrap_err();
    fs::create_dir(notes.parent().unwrap()).unwrap();
    log.record(&event(0)).unwrap();
    let seed = place.seed();
    let found = verify(place.path(), VerifyWith::Seed(&seed), Some(&notes)).unwrap();
    assert!(found.is_intact() && found.checkpoints == 1, "{found:?}");
}
