//! What is printed: text for people, JSON for programs, and nothing buffered where it cannot be wiped.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::ColorChoice;
use crate::exit::{Failure, Outcome};

/// Standard output and the notes beside it.
pub(crate) struct Output {
    json: bool,
    color: bool,
    color_errors: bool,
}

impl Output {
    pub(crate) fn new(json: bool, color: ColorChoice) -> Self {
        let wanted = |terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && colors_allowed(),
        };
        Self {
            json,
            color: wanted(io::stdout().is_terminal()),
            color_errors: wanted(io::stderr().is_terminal()),
        }
    }

    /// Whether a program reads this.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints bytes as they are, past every buffer: some of them are secret.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Outcome {
        let written = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .and_then(|out| File::from(out).write_all(bytes));
        written.map_err(|flaw| match flaw.kind() {
            ErrorKind::BrokenPipe => Failure::broken_pipe(),
            _ => Failure::system(
                "standard output cannot be written",
                "check the disk or pipe it goes to",
            ),
        })
    }

    /// Prints one line.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Outcome {
        let text = text.as_ref();
        let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Prints `value` as indented JSON and a line end.
    pub(crate) fn value(&self, value: &impl Serialize) -> Outcome {
        let mut text = Wiped::default();
        serde_json::to_writer_pretty(&mut text, value)
            .map_err(|_| Failure::system("the answer cannot be written as JSON", "report this as a bug"))?;
        text.put(b"\n");
        self.bytes(&text.0)
    }

    /// Prints rows in columns under a header.
    pub(crate) fn table(&self, header: &[&str], rows: &[Vec<String>]) -> Outcome {
        let width = |column: usize| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            cells
                .chain(header.get(column).map(|name| name.len()))
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let render = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (cell, width) in cells.zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(
                    ' ',
                    width - cell.chars().count().min(*width) + 2,
                ));
            }
            line.trim_end().to_owned()
        };
        let mut text = self.strong(&render(&mut header.iter().copied()));
        text.push('\n');
        for row in rows {
            text.push_str(&render(&mut row.iter().map(String::as_str)));
            text.push('\n');
        }
        self.bytes(text.as_bytes())
    }

    /// `text`, emphasised where colours are on.
    pub(crate) fn strong(&self, text: &str) -> String {
        paint(self.color, "1", text)
    }

    /// Tells something that is not the answer.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.tell("note", "36", text.as_ref());
    }

    /// Tells of a danger.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        self.tell("warning", "33", text.as_ref());
    }

    fn tell(&self, what: &str, color: &str, text: &str) {
        if self.json {
            complain(&format!("{}\n", serde_json::json!({ what: text })));
        } else {
            let what = paint(self.color_errors, color, &format!("{what}:"));
            complain(&format!("{what} {text}\n"));
        }
    }

    /// Reports why the run failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if self.json {
            complain(&format!("{}\n", Report::of(failure)));
            return;
        }
        let mut text = format!(
            "{} {}\n",
            paint(self.color_errors, "1;31", "error:"),
            failure.message
        );
        if let Some(help) = &failure.help {
            text.push_str(&format!("{} {help}\n", paint(self.color_errors, "36", "help:")));
        }
        complain(&text);
    }
}

/// Collects what may be secret; what it outgrows is wiped.
#[derive(Default)]
struct Wiped(Zeroizing<Vec<u8>>);

impl Wiped {
    fn put(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut wider = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two().max(4096)));
            wider.extend_from_slice(&self.0);
            self.0 = wider;
        }
        self.0.extend_from_slice(bytes);
    }
}

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error object of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    error: ReportedError<'a>,
}

#[derive(Serialize)]
struct ReportedError<'a> {
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    exit_code: u8,
}

impl Report<'_> {
    fn of(failure: &Failure) -> String {
        let report = Report {
            error: ReportedError {
                kind: failure.kind,
                message: &failure.message,
                help: failure.help.as_deref(),
                exit_code: failure.exit.code(),
            },
        };
        serde_json::to_string(&report).unwrap_or_default()
    }
}

/// Nobody can be told that nobody can be told.
fn complain(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn paint(on: bool, code: &str, text: &str) -> String {
    if on {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// <https://no-color.org>: any value but none switches colours off.
fn colors_allowed() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}
