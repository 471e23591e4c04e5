//! A record as a line of JSON: ASCII, one way to write each, the code of its authenticity at the end.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use nebula_credential_core::CredentialRef;
use subtle::ConstantTimeEq as _;

use crate::chain::{Hash, Link};
use crate::event::Event;

/// The end of a line: `,"mac":"` 64 digits `"}`.
const MAC_OPEN: &str = ",\"mac\":\"";
const MAC_CLOSE: &str = "\"}";
const MAC_LEN: usize = MAC_OPEN.len() + 64 + MAC_CLOSE.len();

/// How the log names credentials.
pub(crate) enum Naming<'a> {
    /// By their names.
    Clear,
    /// By a keyed hash of tenant, scope and name.
    Tagged(&'a [u8; 32]),
}

/// The line of `event`, without a line end, and its hash.
pub(crate) fn seal(link: &Link, time: DateTime<Utc>, event: &Event, naming: &Naming<'_>) -> (String, Hash) {
    let mut line = String::with_capacity(512);
    let _ = write!(line, "{{\"seq\":{}", link.seq);
    text(
        &mut line,
        "time",
        &time.to_rfc3339_opts(SecondsFormat::Micros, true),
    );
    text(&mut line, "event", event.kind.as_str());
    text(&mut line, "stage", event.stage.as_str());
    fields(&mut line, event, naming);
    text(&mut line, "prev", &hex(&link.prev));
    let hash = *blake3::hash(line.as_bytes()).as_bytes();
    let mac = link.mac(&hash);
    line.push_str(MAC_OPEN);
    line.push_str(&hex(&mac));
    line.push_str(MAC_CLOSE);
    (line, hash)
}

fn fields(line: &mut String, event: &Event, naming: &Naming<'_>) {
    if let Some(principal) = &event.principal {
        text(line, "principal", &principal.to_string());
    }
    if let Some(id) = &event.id {
        text(line, "tenant", id.tenant().as_str());
        match naming {
            Naming::Clear => {
                text(line, "scope", id.scope().as_str());
                text(line, "name", id.name().as_str());
            }
            Naming::Tagged(key) => text(line, "tag", &hex(&tag(key, id))),
        }
    }
    if let Some(version) = event.version {
        number(line, "version", u64::from(version.get()));
    }
    optional(line, "operation", event.operation);
    optional(line, "permission", event.permission.map(|wanted| wanted.as_str()));
    optional(line, "purpose", event.purpose.as_deref());
    if let Some(allowed) = event.allowed {
        let _ = write!(line, ",\"allowed\":{allowed}");
    }
    optional(line, "rule", event.rule.as_deref());
    optional(line, "outcome", event.outcome);
    optional(line, "source", event.source.as_deref());
    if let Some(duration) = event.duration {
        number(
            line,
            "duration_us",
            u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        );
    }
    if let Some(trace) = event.trace_id {
        let _ = write!(line, ",\"trace_id\":\"{:032x}\"", u128::from_be_bytes(trace));
    }
    if let Some(intent) = event.intent {
        number(line, "intent", intent);
    }
    optional(line, "detail", event.detail.as_deref());
}

/// What stands for a credential where names are not to be read.
pub(crate) fn tag(key: &[u8; 32], id: &CredentialRef) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in [id.tenant().as_str(), id.scope().as_str(), id.name().as_str()] {
        // Parts are at most 128 bytes long.
        hasher.update(&[u8::try_from(part.len()).unwrap_or(u8::MAX)]);
        hasher.update(part.as_bytes());
    }
    let mut tag = [0; 16];
    hasher.finalize_xof().fill(&mut tag);
    tag
}

fn optional(line: &mut String, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(line, key, value);
    }
}

fn number(line: &mut String, key: &str, value: u64) {
    let _ = write!(line, ",\"{key}\":{value}");
}

/// Everything but printable ASCII is escaped, so that no terminal and no reader of lines is misled.
fn text(line: &mut String, key: &str, value: &str) {
    let _ = write!(line, ",\"{key}\":\"");
    for char in value.chars() {
        match char {
            '"' | '\\' => {
                line.push('\\');
                line.push(char);
            }
            ' '..='~' => line.push(char),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The parts of a line that its authenticity hangs on.
#[derive(Debug)]
pub(crate) struct Sealed<'a> {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) hash: Hash,
    mac: &'a str,
}

impl<'a> Sealed<'a> {
    /// Takes a line apart; `None` if it is not one of ours.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok().filter(|line| line.is_ascii())?;
        let (body, end) = line.split_at_checked(line.len().checked_sub(MAC_LEN)?)?;
        let mac = end.strip_prefix(MAC_OPEN)?.strip_suffix(MAC_CLOSE)?;
        let (_, prev) = body.rsplit_once(",\"prev\":\"")?;
        let digits = body.strip_prefix("{\"seq\":")?.split(',').next()?;
        let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        Some(Self {
            seq: digits.parse().ok().filter(|_| canonical)?,
            prev: unhex(prev.strip_suffix('"')?)?,
            hash: *blake3::hash(body.as_bytes()).as_bytes(),
            mac,
        })
    }

    /// Whether it was written by whoever held the key of its place.
    pub(crate) fn is_authentic(&self, link: &Link) -> bool {
        let expected = hex(&link.mac(&self.hash));
        bool::from(expected.as_bytes().ct_eq(self.mac.as_bytes()))
    }
}

fn unhex(text: &str) -> Option<Hash> {
    let mut bytes = [0; 32];
    if text.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
