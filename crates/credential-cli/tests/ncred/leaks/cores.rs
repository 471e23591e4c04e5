//! Core files of a process that is ended while it holds a secret.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nebula_credential_testkit::{LeakHunter, skip};
use rustix::process::{Pid, Signal, kill_process};

use super::{Home, searched, text, until};

/// Longer than what a pipe takes at once.
const LONG: usize = 200_000;

/// What a child is told to do before it becomes what is tested.
const RAISE: &str = "ulimit -c unlimited && cd \"$CORES\" && exec \"$@\"";

/// Where the core files of the test would lie.
struct Cores<'a> {
    home: &'a Home,
    directory: PathBuf,
}

impl<'a> Cores<'a> {
    /// None where no core file would come to lie there.
    fn new(test: &str, home: &'a Home) -> Option<Self> {
        let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        if pattern.is_empty() || pattern.starts_with(['|', '/', '@']) {
            skip(test, "core files go elsewhere");
            return None;
        }
        let raised = Command::new("sh").args(["-c", "ulimit -c unlimited"]).status();
        if !raised.is_ok_and(|status| status.success()) {
            skip(test, "core files are not permitted");
            return None;
        }
        let directory = home.place.path("cores");
        std::fs::create_dir(&directory).unwrap();
        Some(Self { home, directory })
    }

    /// Starts `program`, which may leave core files of any size.
    fn start(&self, program: &str, args: &[&str]) -> Child {
        self.home
            .wrapped("sh")
            .env("CORES", &self.directory)
            .args(["-c", RAISE, "sh", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn ncred(&self, args: &[&str]) -> Child {
        self.start(env!("CARGO_BIN_EXE_ncred"), args)
    }

    /// Ends `child`, and takes the core files away.
    fn end(&self, child: &mut Child, signal: Signal) -> (ExitStatus, Vec<Vec<u8>>) {
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let status = loop {
            // The first of some of them is heard by the runtime, which takes it for an overflow of the stack.
            kill_process(id, signal).unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut cores = Vec::new();
        for entry in std::fs::read_dir(&self.directory).unwrap() {
            let path = entry.unwrap().path();
            cores.push(std::fs::read(&path).unwrap());
            std::fs::remove_file(path).unwrap();
        }
        (status, cores)
    }
}

/// How much lies in a pipe, seen from either end.
fn waiting(pipe: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap()
}

/// Half a value was read; the rest does not come.
fn put(cores: &Cores<'_>) -> Child {
    let mut child = cores.ncred(&["put", "x", "--type", "basic"]);
    let stdin = child.stdin.as_mut().unwrap();
    let half = Home::basic(&cores.home.stored);
    stdin.write_all(half.trim_end_matches('}').as_bytes()).unwrap();
    until(|| waiting(&*stdin) == 0, "a reader of the value");
    child
}

/// A value is on its way to someone who does not read on.
fn get(cores: &Cores<'_>) -> Child {
    let mut child = cores.ncred(&["get", "long", "--reveal", "--field", "text"]);
    let stdout = child.stdout.as_mut().unwrap();
    until(|| waiting(&*stdout) > 0, "the beginning of the value");
    child
}

/// The editor waits for whoever types.
fn edit(cores: &Cores<'_>) -> Child {
    told(cores.ncred(&["edit", "db"]))
}

/// The command that was given a secret goes on.
fn run(cores: &Cores<'_>) -> Child {
    let script = "echo editing; exec cat";
    told(cores.ncred(&["run", "--set", "P=db#password", "--", "sh", "-c", script]))
}

/// Waits for the word of what `ncred` started.
fn told(mut child: Child) -> Child {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "editing\n");
    child
}

#[test]
fn a_process_that_crashes_with_a_secret_leaves_no_core_file() {
    let test = "a_process_that_crashes_with_a_secret_leaves_no_core_file";
    let Some(home) = Home::with_db(test) else {
        return;
    };
    let Some(cores) = Cores::new(test, &home) else {
        return;
    };
    let editor = "#!/bin/sh\necho editing\nexec cat >/dev/null\n";
    File::options()
        .write(true)
        .truncate(true)
        .open(home.editor())
        .and_then(|mut file| file.write_all(editor.as_bytes()))
        .unwrap();
    let long = format!("{}{}", home.stored.secret(), "x".repeat(LONG));
    let json = serde_json::json!({ "text": long }).to_string();
    let stored = home.place.run(&["put", "long", "--type", "secret_text"], &json);
    assert_eq!(stored.code, 0, "{stored:?}");

    type Moment = fn(&Cores<'_>) -> Child;
    let moments: &[(&str, Moment)] = &[("put", put), ("get", get), ("edit", edit), ("run", run)];
    let mut crashes = 0;
    for (name, moment) in moments {
        for signal in [Signal::ABORT, Signal::SEGV, Signal::BUS] {
            let mut child = moment(&cores);
            let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
            let (status, left) = cores.end(&mut child, signal);
            assert_eq!(status.signal(), Some(signal.as_raw()), "{name}");
            assert!(!status.core_dumped() && left.is_empty(), "{name}: {status}");
            // For good: what it starts cannot raise it again.
            let limit = limits.lines().find(|line| line.starts_with("Max core")).unwrap();
            let limit: Vec<&str> = limit.split_whitespace().rev().take(3).collect();
            assert_eq!(limit, ["bytes", "0", "0"], "{name}");
            crashes += 1;
        }
    }
    // What the killed edits left is for the next to sweep.
    home.place.ok(&["get", "db"]);
    searched(crashes, "crashes for core files");
}

#[test]
fn a_program_without_protection_leaves_the_secret_in_its_core_file() {
    let test = "a_program_without_protection_leaves_the_secret_in_its_core_file";
    let Some(home) = Home::with_db(test) else {
        return;
    };
    let Some(cores) = Cores::new(test, &home) else {
        return;
    };
    let hunter = LeakHunter::new().hunt("the secret", &home.stored);
    let mut child = cores.start("sh", &["-c", "read -r secret; echo editing; read -r more"]);
    writeln!(child.stdin.as_mut().unwrap(), "{}", home.stored.secret()).unwrap();
    let mut child = told(child);
    let (status, left) = cores.end(&mut child, Signal::ABORT);
    assert!(status.core_dumped(), "{status}");
    assert_eq!(left.len(), 1);
    assert!(!hunter.search(&left[0]).is_empty());
    assert!(text(&cores.directory).ends_with("cores"));
}
