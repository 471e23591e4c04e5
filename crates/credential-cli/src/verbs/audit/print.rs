//! Records as text, as JSON lines and as comma-separated values.

use std::fmt::Write as _;

use nebula_credential::audit::Entry;

use super::super::view::{short, time};
use crate::exit::Outcome;
use crate::output::Output;

/// How much is gathered before it is written.
const CHUNK: usize = 64 * 1024;

const COLUMNS: [&str; 27] = [
    "seq",
    "time",
    "event",
    "stage",
    "principal",
    "tenant",
    "scope",
    "name",
    "tag",
    "version",
    "operation",
    "permission",
    "purpose",
    "workflow",
    "node",
    "user",
    "environment",
    "address",
    "mfa",
    "allowed",
    "rule",
    "outcome",
    "source",
    "duration_us",
    "trace_id",
    "intent",
    "detail",
];

enum Form {
    Text,
    Json,
    Csv,
}

pub(super) struct Printer<'a> {
    output: &'a Output,
    form: Form,
    lines: String,
}

impl<'a> Printer<'a> {
    pub(super) fn new(output: &'a Output, csv: bool) -> Outcome<Self> {
        let form = match (output.is_json(), csv) {
            (_, true) => Form::Csv,
            (true, false) => Form::Json,
            (false, false) => Form::Text,
        };
        let mut printer = Self {
            output,
            form,
            lines: String::new(),
        };
        if let Form::Csv = printer.form {
            csv_row(
                &mut printer.lines,
                COLUMNS.iter().map(|name| Some((*name).to_owned())),
            );
        }
        Ok(printer)
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Outcome {
        match self.form {
            Form::Text => text(&mut self.lines, entry),
            Form::Json => {
                let line = serde_json::to_string(entry).unwrap_or_default();
                ascii(&mut self.lines, &line);
                self.lines.push('\n');
            }
            Form::Csv => csv_row(&mut self.lines, cells(entry).into_iter()),
        }
        if self.lines.len() >= CHUNK {
            return self.flush();
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Outcome {
        self.output.bytes(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}

/// Number, time, event, principal, credential, outcome, and what else there is.
fn text(lines: &mut String, entry: &Entry) {
    let event = match entry.stage.as_str() {
        "outcome" => plain(&entry.event),
        stage => plain(&format!("{} ({stage})", entry.event)),
    };
    let mut line = format!(
        "{:<6}  {}  {:<20}  {:<18}  {:<26}  {}",
        entry.seq,
        short(&time(entry.time)),
        event,
        plain(entry.principal.as_deref().unwrap_or("-")),
        credential(entry),
        plain(entry.outcome.as_deref().unwrap_or("-")),
    );
    for (what, value) in [
        ("op", &entry.operation),
        ("wants", &entry.permission),
        ("rule", &entry.rule),
        ("from", &entry.source),
        ("purpose", &entry.purpose),
        ("workflow", &entry.workflow),
        ("node", &entry.node),
        ("user", &entry.user),
        ("environment", &entry.environment),
        ("address", &entry.address),
        ("mfa", &entry.mfa.map(|mfa| mfa.to_string())),
        ("detail", &entry.detail),
    ] {
        if let Some(value) = value {
            // Writing to text in memory does not fail.
            let _ = match value.contains(' ') {
                true => write!(line, "  {what}=\"{}\"", plain(value)),
                false => write!(line, "  {what}={}", plain(value)),
            };
        }
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
}

/// Which credential, and which version of it.
fn credential(entry: &Entry) -> String {
    let Some(mut shown) = subject(entry) else {
        return "-".to_owned();
    };
    if let Some(version) = entry.version {
        shown.push_str(&format!(" v{version}"));
    }
    shown
}

/// `tenant:scope:name`, or a tag; none of both for what concerns no single credential.
pub(super) fn subject(entry: &Entry) -> Option<String> {
    if let Some(tag) = &entry.tag {
        return Some(plain(tag));
    }
    let part = |part: &Option<String>| plain(part.as_deref().unwrap_or("-"));
    let name = entry.name.as_deref()?;
    Some(format!(
        "{}:{}:{}",
        part(&entry.tenant),
        part(&entry.scope),
        plain(name)
    ))
}

/// What a terminal takes for nothing but text.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' '..='~' => shown.push(char),
            char if char.is_alphanumeric() => shown.push(char),
            char => shown.extend(char.escape_unicode()),
        }
    }
    shown
}

/// JSON in printable ASCII, as the log has it. Nothing else stands outside of its texts.
fn ascii(into: &mut String, json: &str) {
    for char in json.chars() {
        match char {
            ' '..='~' => into.push(char),
            char => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(into, "\\u{unit:04x}");
                }
            }
        }
    }
}

fn cells(entry: &Entry) -> [Option<String>; COLUMNS.len()] {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    [
        Some(entry.seq.to_string()),
        Some(time(entry.time)),
        Some(entry.event.clone()),
        Some(entry.stage.clone()),
        entry.principal.clone(),
        entry.tenant.clone(),
        entry.scope.clone(),
        entry.name.clone(),
        entry.tag.clone(),
        number(entry.version.map(u64::from)),
        entry.operation.clone(),
        entry.permission.clone(),
        entry.purpose.clone(),
        entry.workflow.clone(),
        entry.node.clone(),
        entry.user.clone(),
        entry.environment.clone(),
        entry.address.clone(),
        entry.mfa.map(|mfa| mfa.to_string()),
        entry.allowed.map(|allowed| allowed.to_string()),
        entry.rule.clone(),
        entry.outcome.clone(),
        entry.source.clone(),
        number(entry.duration_us),
        entry.trace_id.clone(),
        number(entry.intent),
        entry.detail.clone(),
    ]
}

/// A row as in RFC 4180, but for its end, which is a line feed. A cell that a spreadsheet would take for a formula has an
/// apostrophe before it.
pub(super) fn csv_row(lines: &mut String, cells: impl Iterator<Item = Option<String>>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            lines.push(',');
        }
        let mut cell = cell.unwrap_or_default();
        if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            cell.insert(0, '\'');
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            lines.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
        } else {
            lines.push_str(&cell);
        }
    }
    lines.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_wrote_misleads_no_terminal_no_reader_of_lines_and_no_spreadsheet() {
        let hostile = "\u{1b}[2J\u{202e}a\n=1+1";
        assert_eq!(plain(hostile), "\\u{1b}[2J\\u{202e}a\\u{a}=1+1");
        let mut json = String::new();
        ascii(&mut json, &serde_json::to_string("\u{7f}\u{1f511}").unwrap());
        assert_eq!(json, r#""\u007f\ud83d\udd11""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "\u{7f}\u{1f511}");
        let mut row = String::new();
        csv_row(
            &mut row,
            ["=1+1", "a,\"b\"", ""]
                .map(|cell| Some(cell.to_owned()))
                .into_iter(),
        );
        assert_eq!(row, "'=1+1,\"a,\"\"b\"\"\",\n");
    }
}
