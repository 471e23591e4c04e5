use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use super::*;

/// Two writes of four bytes, then a sync.
const WRITER: &[&str] = &[
    "dd",
    "if=/dev/zero",
    "of=out/f",
    "bs=4",
    "count=2",
    "conv=fsync",
    "status=none",
];

struct Ended {
    status: ExitStatus,
    steps: Vec<Step>,
    length: u64,
    errors: String,
}

/// Runs the program in a directory of its own, and has it fail at the `nth` call by that name on its file.
fn run(name: &str, program: &[&str], strike: Option<(i64, u32, Fault)>) -> Ended {
    let directory = format!("nebula-xtask-tracer-{}-{name}", std::process::id());
    let directory = std::env::temp_dir().join(directory).join("out");
    fs::create_dir_all(&directory).unwrap();
    let directory = directory.parent().unwrap().canonicalize().unwrap();
    let point = strike.map(|(number, nth, fault)| {
        let mut counts = Counts::default();
        let mut site = || counts.next(0, Call::of(number).unwrap(), "out/f");
        let site = (0..nth).map(|_| site()).last().unwrap();
        Point { site, fault }
    });
    let watched = Watched {
        root: directory.join("out"),
        label: "out",
    };
    let (shell, arguments) = HELD.split_first().unwrap();
    let mut command = Command::new(shell);
    command.args(arguments).args(program).current_dir(&directory);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (status, steps) = follow(child.id(), &directory, &[watched], point.as_ref()).unwrap();
    let _ = child.try_wait();
    let mut errors = String::new();
    child.stderr.unwrap().read_to_string(&mut errors).unwrap();
    let length = directory.join("out/f").metadata().map_or(0, |file| file.len());
    fs::remove_dir_all(&directory).unwrap();
    Ended {
        status,
        steps,
        length,
        errors,
    }
}

fn texts(steps: &[Step]) -> Vec<String> {
    let text = |step: &Step| format!("{} = {}", step.site, step.result.unwrap_or_default());
    // Descriptors are numbered as they come.
    steps
        .iter()
        .filter(|step| step.site.call.kind != Kind::Open)
        .map(text)
        .collect()
}

/// Whether processes can be traced here; if not, the test is counted as skipped.
fn traces(test: &str) -> bool {
    let traces = works().unwrap_or(false);
    if let (false, Some(log)) = (traces, std::env::var_os("NEBULA_TEST_SKIP_LOG")) {
        let mut log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(log)
            .unwrap();
        writeln!(log, "{test}: processes cannot be traced here").unwrap();
    }
    traces
}

#[test]
fn the_calls_on_a_file_are_noted_and_no_others() {
    if !traces("the_calls_on_a_file_are_noted_and_no_others") {
        return;
    }
    let ended = run("noted", WRITER, None);
    assert!(ended.status.success(), "{}", ended.errors);
    assert_eq!(ended.length, 8);
    assert_eq!(
        texts(&ended.steps),
        [
            "thread 0, write 1 of out/f = 4",
            "thread 0, write 2 of out/f = 4",
            "thread 0, fsync 1 of out/f = 0",
        ]
    );
    let opened = ended.steps.first().unwrap();
    assert!(opened.creates && opened.succeeded(), "{opened:?}");
    assert!(ended.steps.iter().all(|step| !step.is_struck));
}

#[test]
fn a_call_that_fails_does_nothing() {
    if !traces("a_call_that_fails_does_nothing") {
        return;
    }
    let ended = run("eio", WRITER, Some((libc::SYS_write, 2, Fault::Eio)));
    assert_eq!((ended.status.code(), ended.length), (Some(1), 4));
    assert!(ended.errors.contains("Input/output error"), "{}", ended.errors);
    let ended = run("enospc", WRITER, Some((libc::SYS_fsync, 1, Fault::Enospc)));
    assert_eq!((ended.status.code(), ended.length), (Some(1), 8));
    assert!(ended.errors.contains("No space left"), "{}", ended.errors);
    let ended = run("open", WRITER, Some((libc::SYS_openat, 1, Fault::Eio)));
    assert_eq!((ended.status.code(), ended.length), (Some(1), 0));
    assert_eq!(ended.steps.iter().filter(|step| step.is_struck).count(), 1);
    let ended = run("nothing", WRITER, Some((libc::SYS_write, 1, Fault::Nothing)));
    assert_eq!(
        ended.steps.iter().find(|step| step.is_struck).unwrap().result,
        Some(0)
    );
}

#[test]
fn half_of_a_write_is_written() {
    if !traces("half_of_a_write_is_written") {
        return;
    }
    // It writes the rest after a short write.
    let ended = run("short", WRITER, Some((libc::SYS_write, 1, Fault::Short)));
    assert!(ended.status.success(), "{}", ended.errors);
    assert_eq!(ended.length, 8);
    let writes = ended
        .steps
        .iter()
        .filter(|step| step.site.call.kind == Kind::Write);
    let lengths: Vec<_> = writes.map(|step| (step.length, step.result)).collect();
    assert_eq!(lengths, [(4, Some(2)), (2, Some(2)), (4, Some(4))]);
    let ended = run("full", WRITER, Some((libc::SYS_write, 1, Fault::Full)));
    assert_eq!((ended.status.code(), ended.length), (Some(1), 2));
    assert!(ended.errors.contains("No space left"), "{}", ended.errors);
}

#[test]
fn what_is_killed_has_not_made_the_call() {
    if !traces("what_is_killed_has_not_made_the_call") {
        return;
    }
    let ended = run("kill", WRITER, Some((libc::SYS_write, 2, Fault::Kill)));
    assert_eq!((ended.status.signal(), ended.length), (Some(9), 4));
    assert!(ended.steps.last().unwrap().is_struck);
}

#[test]
fn other_programs_are_left_alone() {
    if !traces("other_programs_are_left_alone") {
        return;
    }
    let ended = run(
        "other",
        &["sh", "-c", "echo 1 > out/f; cat out/f out/f; echo 2 >> out/f"],
        None,
    );
    assert!(ended.status.success(), "{}", ended.errors);
    let opened = ended
        .steps
        .iter()
        .filter(|step| step.site.call.kind == Kind::Open);
    assert_eq!((opened.count(), ended.length), (2, 4));
}
