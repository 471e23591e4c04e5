//! Arguments and environments, of `ncred` and of every other process there is meanwhile.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use nebula_credential_testkit::Canary;

use super::{Home, Step, searched, until};

/// Every argument and every variable that some process had, and which process.
#[derive(Default)]
struct Watch {
    seen: BTreeSet<(String, Vec<u8>)>,
    sweeps: usize,
    places: usize,
}

impl Watch {
    /// Looks at every process once; true if one of them is `wanted`.
    fn sweep(&mut self, wanted: impl Fn(u32, &[u8]) -> bool) -> bool {
        let mut is_there = false;
        self.sweeps += 1;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            for name in ["cmdline", "environ"] {
                // What cannot be read is gone by now, or closed to this user.
                let Ok(bytes) = std::fs::read(entry.path().join(name)) else {
                    continue;
                };
                self.places += 1;
                is_there |= name == "cmdline" && wanted(id, &bytes);
                for part in bytes.split(|byte| *byte == 0) {
                    self.seen.insert((place(name, id), part.to_vec()));
                }
            }
        }
        is_there
    }

    fn until(&mut self, wanted: impl Fn(u32, &[u8]) -> bool) {
        until(|| self.sweep(&wanted), "the process");
    }
}

fn place(name: &str, id: u32) -> String {
    format!("{name} of process {id}")
}

/// A pipe that is full: whoever writes to it waits.
pub(super) fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Runs a step whose words reach no one until it has been looked at. Its process, and its exit code.
fn held(home: &Home, step: &Step, watch: &mut Watch) -> (u32, i32) {
    let (mut reader, writer) = full_pipe();
    let mut command = home.command(step);
    command
        .stdin(Stdio::piped())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer);
    let mut child: Child = command.spawn().unwrap();
    // The ends of the pipe that this process has would keep it open.
    drop(command);
    let _ = child.stdin.take().unwrap().write_all(step.stdin.as_bytes());
    let verb = step.args[0].clone();
    let own = child.id();
    let editor = home.editor();
    watch.until(|id, cmdline| match verb.as_str() {
        // Its editor is another process, and what it runs takes its place.
        "edit" => contains(cmdline, editor.as_os_str().as_encoded_bytes()),
        "run" if step.code == 0 => id == own && cmdline.starts_with(b"echo\0"),
        _ => id == own && contains(cmdline, format!("ncred\0{}", step.args.join("\0")).as_bytes()),
    });
    // And once more, with everything it started.
    watch.sweep(|_, _| true);
    let drain = thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    let status = child.wait().unwrap();
    drain.join().unwrap().unwrap();
    (own, status.code().unwrap_or(-1))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn no_process_has_a_secret_in_its_arguments_or_environment_but_whom_run_gives_it() {
    let test = "no_process_has_a_secret_in_its_arguments_or_environment_but_whom_run_gives_it";
    let Some(home) = Home::new(test, Canary::text) else {
        return;
    };
    let mut watch = Watch::default();
    let mut given = BTreeSet::new();
    home.drive(|step| {
        let (process, code) = held(&home, step, &mut watch);
        if step.args[0] == "run" && step.code == 0 {
            given.insert(place("environ", process));
        }
        code
    });
    let hunter = home.hunter();
    let mut found = BTreeSet::new();
    for (place, part) in &watch.seen {
        // The variable that was named.
        if given.contains(place) && part.starts_with(b"P=") {
            assert!(!hunter.search(part).is_empty(), "what run gives is not found");
            found.insert(place.clone());
        } else {
            hunter.check(place, part);
        }
    }
    assert_eq!((found.len(), &found), (1, &given));
    searched(
        watch.places,
        &format!("arguments and environments in {} sweeps", watch.sweeps),
    );
}

#[test]
fn a_secret_in_an_argument_or_a_variable_is_found() {
    let canary = Canary::text();
    let hunter = nebula_credential_testkit::LeakHunter::new().hunt("the secret", &canary);
    let mut in_argument = Command::new("cat");
    in_argument.args(["-", &canary.secret()]);
    let mut in_variable = Command::new("cat");
    in_variable.env("TOKEN", canary.secret());
    for (mut command, name) in [(in_argument, "cmdline"), (in_variable, "environ")] {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = child.id();
        let mut watch = Watch::default();
        watch.until(|found, cmdline| found == id && cmdline.starts_with(b"cat\0"));
        drop(child.stdin.take());
        child.wait().unwrap();
        let found: Vec<&String> = watch
            .seen
            .iter()
            .filter(|(_, part)| !hunter.search(part).is_empty())
            .map(|(at, _)| at)
            .collect();
        assert_eq!(found, [&place(name, id)]);
    }
}
