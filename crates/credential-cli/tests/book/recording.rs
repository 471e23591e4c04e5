//! The session that the README shows: what `ncred` prints at a terminal of fixed size, drawn as a picture.
//!
//! Nothing is edited but what differs from run to run: the home directory becomes `~`, and every time [`TIME`].

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::Parser;

use crate::svg;

const STORY: &[&str] = &[
    "ncred init",
    r#"echo '{"username": "app", "password": "correct horse"}' | ncred put billing-db --type basic"#,
    "ncred get billing-db",
    "ncred get billing-db --field password --reveal",
    "ncred rotate billing-db --generate",
    "ncred versions billing-db",
    "ncred rollback billing-db",
    "ncred run --set PGPASSWORD=billing-db#password -- printenv PGPASSWORD",
    "ncred get biling-db",
    "ncred doctor | head -n 1",
];

const COLUMNS: u16 = 98;
/// More than the story fills: nothing scrolls away.
const ROWS: u16 = 60;

const TIME: &str = "2026-01-05T09:30:00Z";

/// The picture, recorded now.
pub(crate) fn picture() -> String {
    let home = tempfile::tempdir().unwrap();
    let size = |size| NonZeroU16::new(size).unwrap();
    let mut terminal = Parser::new(size(ROWS), size(COLUMNS), 0);
    let mut commands = Vec::new();
    for command in STORY {
        commands.push(terminal.screen().cursor_position().0);
        terminal.process(format!("\x1b[1;32m$\x1b[0;1m {command}\x1b[0m\r\n").as_bytes());
        let printed = at_terminal(command, home.path());
        let printed = printed.replace(home.path().to_str().unwrap(), "~");
        terminal.process(one_time(&printed).as_bytes());
        if terminal.screen().cursor_position().1 > 0 {
            terminal.process(b"\r\n");
        }
    }
    let rows = terminal.screen().cursor_position().0;
    assert!(rows < ROWS - 1, "the story is longer than the screen");
    svg::draw(terminal.screen(), rows, &commands)
}

/// What `command` writes to a terminal of its own.
fn at_terminal(command_line: &str, home: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_ncred"));
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());

    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
    let size = Winsize {
        ws_row: ROWS,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();

    let mut command = Command::new("sh");
    command
        .args(["-c", command_line])
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("PATH", path)
        .env("TERM", "xterm-256color")
        .stdin(Stdio::from(terminal.try_clone().unwrap()))
        .stdout(Stdio::from(terminal.try_clone().unwrap()))
        .stderr(Stdio::from(terminal));
    let mut child = command.spawn().unwrap();
    // The last open ends of the terminal on this side: when the child's are closed too, reading ends.
    drop(command);
    let mut screen = File::from(keyboard);
    let mut printed = Vec::new();
    let mut chunk = [0; 4096];
    // Linux answers with an error where others say that nothing follows.
    while let Ok(count @ 1..) = screen.read(&mut chunk) {
        printed.extend_from_slice(&chunk[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(printed).unwrap()
}

/// `text` with [`TIME`] in the place of every time, as RFC 3339 writes it to the second in UTC.
fn one_time(text: &str) -> String {
    let like = |text: &str| {
        text.len() == TIME.len()
            && text.bytes().zip(TIME.bytes()).all(|(byte, shape)| match shape {
                b'0'..=b'9' => byte.is_ascii_digit(),
                _ => byte == shape,
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..TIME.len()).is_some_and(like) {
            out.push_str(TIME);
            rest = &rest[TIME.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

#[test]
fn a_time_is_told_from_other_text() {
    assert_eq!(
        one_time("é 2024-02-29T23:59:60Z, 2024-02-29"),
        format!("é {TIME}, 2024-02-29")
    );
}
