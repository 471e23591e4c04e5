//! Everything that is written while a verb runs, by whatever process, and everything that is left behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use nebula_credential_testkit::{Canary, LeakHunter, skip};

use super::{Home, is_there, searched, text};
use crate::place::answer;

/// Every call by which something comes to be in a file or gets a name.
const CALLS: &str = "trace=write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,splice,copy_file_range,\
                     open,openat,openat2,creat,memfd_create,rename,renameat,renameat2,link,linkat,symlink,symlinkat,\
                     mkdir,mkdirat,setxattr,fsetxattr";

/// `command` with its calls noted in `log`, whole.
fn traced(home: &Home, command: &Command, log: &Path) -> Command {
    let mut strace = home.wrapped("strace");
    strace
        .args([
            "-f",
            "-qq",
            "-y",
            "-s",
            "200000",
            "-e",
            CALLS,
            "-o",
            text(log),
            "--",
        ])
        .arg(command.get_program())
        .args(command.get_args());
    strace
}

/// The file that a line of the log opens for writing, if it does.
fn written(line: &str) -> Option<PathBuf> {
    let (_, call) = line.split_once(' ')?;
    let call = call.trim_start();
    let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"]
        .iter()
        .any(|flag| call.contains(flag));
    let opens = call.starts_with("creat(") || (call.starts_with("open") && writes);
    if !opens {
        return None;
    }
    let mut parts = call.split('"');
    let (before, path) = (parts.next()?, parts.next()?);
    // `openat(4</the/directory>, "name", ...`: what is absolute stays.
    let directory = before.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    Some(Path::new(directory.map_or("/", |(path, _)| path)).join(path))
}

#[test]
fn nothing_is_written_to_a_file_but_into_the_memory_that_edit_uses() {
    let test = "nothing_is_written_to_a_file_but_into_the_memory_that_edit_uses";
    let Some(home) = Home::new(test, Canary::text) else {
        return;
    };
    let strace = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    // It reads no memory of a process that closed itself to its own user.
    let traces = rustix::process::geteuid().is_root() && strace.is_ok_and(|status| status.success());
    if !traces {
        home.drive(|step| answer(home.command(step), &step.stdin).code);
        check_left(&home, &home.hunter());
        return skip(test, "only root may trace ncred; just what is left was searched");
    }
    let log = home.place.path("calls");
    let mut lines: Vec<(String, String)> = Vec::new();
    home.drive(|step| {
        let answer = answer(traced(&home, &home.command(step), &log), &step.stdin);
        let noted = std::fs::read(&log).unwrap();
        let noted = String::from_utf8_lossy(&noted);
        lines.extend(noted.lines().map(|line| (step.name(), line.to_owned())));
        answer.code
    });
    std::fs::remove_file(&log).unwrap();

    let hunter = home.hunter();
    let private = format!("<{}/ncred-edit-", text(home.memory.path()));
    let roots = [
        home.place.store_path(),
        home.place.path(".config"),
        home.place.path("bundles"),
        home.memory.path().to_owned(),
        // No files: what is written there is what the other tests read.
        PathBuf::from("/dev/null"),
        PathBuf::from("/dev/tty"),
        PathBuf::from("/proc/self/fd"),
    ];
    let (mut edited, mut opened) = (0, 0);
    for (name, line) in &lines {
        if let Some(path) = written(line) {
            opened += 1;
            let is_expected = roots.iter().any(|root| path.starts_with(root));
            assert!(is_expected, "{name} opens {} for writing", path.display());
        }
        if line.contains(&private) {
            edited += usize::from(!hunter.search(line).is_empty());
        } else {
            hunter.check(&format!("a call of {name}"), line);
        }
    }
    // It sees what is written: the value is, for the editor.
    assert!(edited >= 2 && opened > 50, "{edited} of {opened}");
    assert_eq!(std::fs::read_dir(home.memory.path()).unwrap().count(), 0);
    searched(lines.len(), "calls that write");
    check_left(&home, &hunter);
}

/// What is left on the disk, names and contents.
fn check_left(home: &Home, hunter: &LeakHunter) {
    let (files, leaks) = hunter.search_files(home.place.path(".")).unwrap();
    let key = home.place.key_path();
    let (of_key, others): (Vec<_>, Vec<_>) = leaks
        .into_iter()
        .partition(|(path, leak)| path.file_name() == key.file_name() && leak.canary == "the key");
    let others: Vec<String> = others
        .iter()
        .map(|(path, leak)| format!("{}: {leak}", path.display()))
        .collect();
    assert_eq!(others, Vec::<String>::new());
    // The key is where it must be, and is found there.
    assert!(!of_key.is_empty());
    searched(files, "files that were left");
}

#[test]
fn what_was_written_and_removed_again_is_found() {
    let test = "what_was_written_and_removed_again_is_found";
    let Some(home) = Home::new(test, Canary::text) else {
        return;
    };
    if !is_there("strace") {
        return skip(test, "there is no strace");
    }
    let log = home.place.path("calls");
    let hunter = LeakHunter::new().hunt("the secret", &home.stored);
    let mut leaking = home.wrapped("sh");
    leaking.args([
        "-c",
        "read -r secret; echo \"$secret\" >\"$TMPDIR/x\"; rm \"$TMPDIR/x\"",
    ]);
    let told = answer(
        traced(&home, &leaking, &log),
        &format!("{}\n", home.stored.secret()),
    );
    assert_eq!(told.code, 0, "{told:?}");
    let noted = std::fs::read_to_string(&log).unwrap();
    assert!(!home.place.path("tmp/x").exists());
    assert!(!hunter.search(&noted).is_empty());
    let opened: Vec<PathBuf> = noted.lines().filter_map(written).collect();
    assert!(opened.contains(&home.place.path("tmp/x")), "{opened:?}");
    // And what is left is, by its content and by its name.
    std::fs::remove_file(&log).unwrap();
    home.place.file("left", &home.stored.secret());
    home.place.file(&home.stored.secret(), "");
    let (_, leaks) = hunter.search_files(home.place.path(".")).unwrap();
    assert_eq!(leaks.iter().filter(|(_, leak)| leak.form == "plain").count(), 2);
}
