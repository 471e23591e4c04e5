//! A record as a line of JSON: ASCII, one way to write each, the code of its authenticity at the end.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use nebula_credential_core::{Circumstances, CredentialName, CredentialRef};
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

/// Makes `line` that of `event`, without a line end. Its hash.
pub(crate) fn seal(
    line: &mut Vec<u8>,
    link: &Link,
    time: DateTime<Utc>,
    event: &Event,
    naming: &Naming<'_>,
) -> Hash {
    line.clear();
    line.extend_from_slice(b"{\"seq\":");
    digits(line, link.seq);
    key(line, "time");
    line.push(b'"');
    instant(line, time);
    line.push(b'"');
    text(line, "event", event.kind.as_str());
    text(line, "stage", event.stage.as_str());
    fields(line, event, naming);
    hexes(line, "prev", &link.prev);
    let hash = *blake3::hash(line).as_bytes();
    let mac = link.mac(&hash);
    line.extend_from_slice(MAC_OPEN.as_bytes());
    push_hex(line, &mac);
    line.extend_from_slice(MAC_CLOSE.as_bytes());
    hash
}

fn fields(line: &mut Vec<u8>, event: &Event, naming: &Naming<'_>) {
    if let Some(principal) = &event.principal {
        key(line, "principal");
        line.push(b'"');
        let _ = write!(Escaping(line), "{principal}");
        line.push(b'"');
    }
    if let Some(id) = &event.id {
        text(line, "tenant", id.tenant().as_str());
        match naming {
            Naming::Clear => {
                text(line, "scope", id.scope().as_str());
                text(line, "name", id.name().as_str());
            }
            Naming::Tagged(key) => hexes(line, "tag", &tag(key, id)),
        }
    }
    if let Some(version) = event.version {
        number(line, "version", u64::from(version.get()));
    }
    optional(line, "operation", event.operation);
    optional(line, "permission", event.permission.map(|wanted| wanted.as_str()));
    optional(line, "purpose", event.purpose.as_deref());
    if let Some(told) = &event.circumstances {
        circumstances(line, told);
    }
    if let Some(allowed) = event.allowed {
        key(line, "allowed");
        line.extend_from_slice(if allowed { b"true" } else { b"false" });
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
        hexes(line, "trace_id", &trace);
    }
    if let Some(intent) = event.intent {
        number(line, "intent", intent);
    }
    optional(line, "detail", event.detail.as_deref());
}

fn circumstances(line: &mut Vec<u8>, told: &Circumstances) {
    for (key, name) in [
        ("workflow", &told.workflow),
        ("node", &told.node),
        ("user", &told.user),
    ] {
        optional(line, key, name.as_ref().map(CredentialName::as_str));
    }
    optional(line, "environment", told.environment.as_deref());
    if let Some(address) = told.address {
        key(line, "address");
        line.push(b'"');
        let _ = write!(Escaping(line), "{address}");
        line.push(b'"');
    }
    // Without it nothing was told.
    if told.mfa {
        key(line, "mfa");
        line.extend_from_slice(b"true");
    }
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

fn optional(line: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(line, key, value);
    }
}

fn number(line: &mut Vec<u8>, name: &str, value: u64) {
    key(line, name);
    digits(line, value);
}

fn hexes(line: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    key(line, name);
    line.push(b'"');
    push_hex(line, bytes);
    line.push(b'"');
}

fn text(line: &mut Vec<u8>, name: &str, value: &str) {
    key(line, name);
    line.push(b'"');
    let _ = Escaping(line).write_str(value);
    line.push(b'"');
}

fn key(line: &mut Vec<u8>, name: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

/// Everything but printable ASCII is escaped, so that no terminal and no reader of lines is misled.
struct Escaping<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Self(line) = self;
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
        // Without a way out, the loop looks at several bytes at a time.
        if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
            line.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for char in text.chars() {
            match u8::try_from(char) {
                Ok(byte) if is_plain(byte) => line.push(byte),
                Ok(byte @ (b'"' | b'\\')) => line.extend_from_slice(&[b'\\', byte]),
                _ => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        line.extend_from_slice(b"\\u");
                        push_hex(line, &unit.to_be_bytes());
                    }
                }
            }
        }
        Ok(())
    }
}

/// As RFC 3339 has it, in UTC and microseconds: what `chrono` writes, in a tenth of the time.
fn instant(line: &mut Vec<u8>, time: DateTime<Utc>) {
    let micros = time.nanosecond() / 1000;
    // Beyond four digits, a year has a sign; a leap second is written as the 61st.
    let (Ok(year @ 0..=9999), 0..1_000_000) = (u32::try_from(time.year()), micros) else {
        line.extend_from_slice(time.to_rfc3339_opts(SecondsFormat::Micros, true).as_bytes());
        return;
    };
    let parts = [
        (year, 4, b'-'),
        (time.month(), 2, b'-'),
        (time.day(), 2, b'T'),
        (time.hour(), 2, b':'),
        (time.minute(), 2, b':'),
        (time.second(), 2, b'.'),
        (micros, 6, b'Z'),
    ];
    for (value, width, end) in parts {
        padded(line, u64::from(value), width);
        line.push(end);
    }
}

fn digits(line: &mut Vec<u8>, value: u64) {
    padded(line, value, 1);
}

/// `value` in decimal digits, `width` of them at least.
fn padded(line: &mut Vec<u8>, mut value: u64, width: usize) {
    // The longest number has 20 digits.
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        if value == 0 && start + width <= 20 {
            break;
        }
        // The remainder is one digit.
        *digit += u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        start = at;
    }
    line.extend_from_slice(digits.get(start..).unwrap_or_default());
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = Vec::new();
    push_hex(&mut digits, bytes);
    digits.into_iter().map(char::from).collect()
}

fn push_hex(line: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' - 10 + nibble
        }
    };
    let start = line.len();
    line.resize(start + 2 * bytes.len(), 0);
    let digits = line.get_mut(start..).unwrap_or_default();
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_numbers_and_digits_are_written_as_everywhere() {
        let leap = DateTime::from_timestamp(1_483_228_799, 1_999_999_000);
        let times = [
            -62_167_219_200,
            -1,
            0,
            951_782_399,
            1_732_000_000,
            253_402_300_799,
            253_402_300_800,
        ]
        .map(|seconds| DateTime::from_timestamp(seconds, 1_002_003));
        for time in times.into_iter().chain([leap]).map(Option::unwrap) {
            let mut line = Vec::new();
            instant(&mut line, time);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line, time.to_rfc3339_opts(SecondsFormat::Micros, true));
        }
        for value in [0, 1, 9, 10, 1234, u64::MAX - 1, u64::MAX] {
            let mut line = Vec::new();
            digits(&mut line, value);
            assert_eq!(line, value.to_string().as_bytes());
        }
        let bytes: Vec<u8> = (0..=255).collect();
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex(&bytes), expected);
    }

    #[test]
    fn nothing_but_printable_characters_reaches_a_line() {
        for (value, expected) in [
            ("plain text", "plain text"),
            ("a\"b\\c", "a\\\"b\\\\c"),
            ("\n\u{1b}[2J\u{7f}", "\\u000a\\u001b[2J\\u007f"),
            ("ü😀", "\\u00fc\\ud83d\\ude00"),
        ] {
            let mut line = Vec::new();
            text(&mut line, "detail", value);
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line, format!(",\"detail\":\"{expected}\""));
            let read: serde_json::Value = serde_json::from_str(&format!("{{\"a\":0{line}}}")).unwrap();
            assert_eq!(read["detail"], value);
        }
    }
}
