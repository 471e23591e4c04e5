//! Child processes: a clean environment, streamed output, and files read with their name in the error.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::Result;

/// A `cargo` command that runs in `root`.
///
/// `cargo run` hands this process `CARGO_PKG_*` and its kin. Build scripts that watch those
/// variables (ring's does) would see other values than under a plain `cargo build` and rebuild
/// everything above them, so they are not passed on.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = clean(&program, root);
    if on_ci() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Any other command that runs in `root`, with the same clean environment.
pub(crate) fn clean(program: impl AsRef<OsStr>, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let own = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || matches!(
                    name,
                    "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
                )
        });
        if own {
            command.env_remove(name);
        }
    }
    command
}

/// Whether this runs in continuous integration, where a skipped test is a failed run.
pub(crate) fn on_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Whether `program` can be started with `--version`.
pub(crate) fn available(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs `command` with inherited output; returns whether it succeeded.
pub(crate) fn status(command: &mut Command) -> Result<bool> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| cannot_start(command, &error))?;
    Ok(status.success())
}

/// Runs `command` and returns its standard output; its standard error goes through.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", shown(command), output.status).into());
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{}` printed something other than UTF-8", shown(command)).into())
}

/// Runs `command`, passes both of its streams through as they come, and shows each line, without
/// colours, to `observe`. Returns whether the command succeeded.
pub(crate) fn stream(command: &mut Command, mut observe: impl FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;
    let (sender, lines) = mpsc::channel::<Vec<u8>>();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        if let Some(out) = out {
            let sender = sender.clone();
            scope.spawn(move || copy_lines(out, std::io::stdout(), &sender));
        }
        if let Some(err) = err {
            let sender = sender.clone();
            scope.spawn(move || copy_lines(err, std::io::stderr(), &sender));
        }
        drop(sender);
        for line in lines {
            observe(&without_colours(&String::from_utf8_lossy(&line)));
        }
    });
    Ok(child.wait()?.success())
}

fn copy_lines(from: impl Read, mut to: impl Write, sender: &mpsc::Sender<Vec<u8>>) {
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        match from.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // A closed terminal must not stop the child: its lines are still counted.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        if sender.send(line).is_err() {
            return;
        }
    }
}

/// `line` without ANSI escape sequences and trailing white space.
pub(crate) fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // CSI sequences end at the first letter after `[`.
            for next in characters.by_ref() {
                if next.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}", shown(command))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// Reads a text file; the error names it.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
}

/// Writes `text` to `path` unless it holds it already (an unchanged file is not recompiled).
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|error| format!("cannot create {}: {error}", parent.display()))?;
    }
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// The name below `root` and the text of every file that is or could be committed; with `patterns`, of those that match
/// one. Binary files, and files that are deleted and not yet committed, hold no text.
pub(crate) fn texts(root: &Path, patterns: &[&str]) -> Result<Vec<(String, String)>> {
    let mut list = clean("git", root);
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = output(list.args(patterns))?;
    let text = |name: &str| Some((name.to_owned(), std::fs::read_to_string(root.join(name)).ok()?));
    Ok(names.split_terminator('\0').filter_map(text).collect())
}

/// Every file below `directory` with the given extension, sorted; nothing when it is absent.
pub(crate) fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(format!("cannot list {}: {error}", directory.display()).into());
            }
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_line_ends_are_removed() {
        assert_eq!(
            without_colours("\u{1b}[32;1m Summary\u{1b}[0m [1s]\r\n"),
            " Summary [1s]"
        );
        assert_eq!(without_colours("plain"), "plain");
    }

    #[cfg(unix)]
    #[test]
    fn both_streams_are_observed_and_the_status_returned() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let succeeded = stream(&mut command, |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        assert_eq!(lines, ["one", "two"]);
        assert!(!succeeded);
    }
}
