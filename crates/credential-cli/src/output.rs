//! What is printed: text for people, JSON for programs, and nothing buffered where it cannot be wiped.

use std::fmt::{self, Write as _};
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
        let mut table = Table::new(header);
        rows.iter().flatten().for_each(|cell| table.cell(cell));
        self.print(&table)
    }

    /// Prints a table.
    pub(crate) fn print(&self, table: &Table) -> Outcome {
        self.bytes(table.lines(|header| self.strong(header)).as_bytes())
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

/// Text in columns under a header; of many rows no more is kept than what they say.
pub(crate) struct Table {
    /// All cells in one, row by row.
    text: String,
    /// Where each ends, and how many characters it has.
    cells: Vec<(usize, usize)>,
    /// The most characters of each column.
    widths: Vec<usize>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut table = Self {
            text: String::new(),
            cells: Vec::new(),
            widths: vec![0; header.len()],
        };
        header.iter().for_each(|name| table.cell(name));
        table
    }

    /// Adds the next cell of a row, or the first of the next row.
    pub(crate) fn cell(&mut self, cell: impl fmt::Display) {
        let start = self.text.len();
        // Writing to text in memory does not fail.
        let _ = write!(self.text, "{cell}");
        let length = self.text.get(start..).unwrap_or_default().chars().count();
        let column = self.cells.len() % self.widths.len().max(1);
        if let Some(width) = self.widths.get_mut(column) {
            *width = length.max(*width);
        }
        self.cells.push((self.text.len(), length));
    }

    /// All of it, its first line as `head` shows it.
    fn lines(&self, head: impl Fn(&str) -> String) -> String {
        let blank = " ".repeat(self.widths.iter().sum::<usize>() + 2 * self.widths.len());
        let mut lines = String::with_capacity(self.text.len() + self.cells.len() * 4);
        let mut start = 0;
        for (at, row) in self.cells.chunks(self.widths.len().max(1)).enumerate() {
            // None at the end of a line.
            let mut spaces = 0;
            for ((end, length), width) in row.iter().zip(&self.widths) {
                if *length > 0 {
                    lines.push_str(blank.get(..spaces).unwrap_or_default());
                    lines.push_str(self.text.get(start..*end).unwrap_or_default());
                    spaces = 0;
                }
                spaces += width - length + 2;
                start = *end;
            }
            if at == 0 {
                lines = head(&lines);
            }
            lines.push('\n');
        }
        lines
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
