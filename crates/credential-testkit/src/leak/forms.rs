//! The disguises in which a secret leaves a program.

use std::fmt::Write as _;

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::masked::Masked;

/// How much of a secret's beginning or end is a leak by itself.
pub(super) const PART: usize = 16;

/// The shortest form that is looked for: shorter ones occur by chance.
const SHORTEST: usize = 12;

/// One way to write one secret.
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) text: Masked,
}

/// Every form of `secret` that differs from the others, the plain one first.
pub(super) fn forms(secret: &[u8]) -> Vec<Form> {
    let mut seen: Vec<(&'static str, Zeroizing<Vec<u8>>)> = Vec::new();
    let mut add = |name, bytes: Zeroizing<Vec<u8>>| {
        if bytes.len() >= SHORTEST && !seen.iter().any(|(_, other)| *other == bytes) {
            seen.push((name, bytes));
        }
    };
    add("plain", copy(secret));
    if secret.len() > PART {
        add("beginning", copy(secret.get(..PART).unwrap_or_default()));
        add("end", copy(secret.get(secret.len() - PART..).unwrap_or_default()));
    }
    let mut reversed = copy(secret);
    reversed.reverse();
    add("reversed", reversed);
    for shift in 0..3 {
        add("base64", base64(secret, shift, &STANDARD_NO_PAD));
        add("base64url", base64(secret, shift, &URL_SAFE_NO_PAD));
    }
    add("hex", written(secret, |out, byte| write!(out, "{byte:02x}")));
    add(
        "upper-case hex",
        written(secret, |out, byte| write!(out, "{byte:02X}")),
    );
    add("list of bytes", listed(secret, ", "));
    add("list of bytes", listed(secret, ","));
    add(
        "escaped bytes",
        written(secret, |out, byte| write!(out, "{}", byte.escape_ascii())),
    );
    for (keep, space) in [
        ("", "%20"),
        ("-._~", "%20"),
        ("-._~", "+"),
        ("*-._", "+"),
        ("-_.!~*'()", "%20"),
        ("-._~/", "%20"),
    ] {
        add("percent-encoded", percent(secret, keep, space, false));
        add("percent-encoded", percent(secret, keep, space, true));
    }
    add(
        "percent-encoded",
        written(secret, |out, byte| write!(out, "%{byte:02x}")),
    );
    add(
        "percent-encoded",
        written(secret, |out, byte| write!(out, "%{byte:02X}")),
    );
    let text = text(secret);
    add("as characters", copy(text.as_bytes()));
    let mut backwards = buffer(text.len());
    backwards.extend(text.chars().rev());
    add("reversed", bytes_of(backwards));
    add(
        "debug text",
        spelled(&text, |out, c| write!(out, "{}", c.escape_debug())),
    );
    let mut debug = buffer(text.len());
    write!(debug, "{:?}", text.as_str()).unwrap_or_default();
    let unquoted = debug
        .as_bytes()
        .get(1..debug.len().saturating_sub(1))
        .unwrap_or_default();
    add("debug text", copy(unquoted));
    for (slash, ascii) in [(false, false), (false, true), (true, false), (true, true)] {
        let once = spelled(&text, |out, c| json(out, c, slash, ascii));
        let again = std::str::from_utf8(&once).unwrap_or_default();
        add(
            "JSON in JSON",
            spelled(again, |out, c| json(out, c, slash, ascii)),
        );
        add("JSON", once);
    }
    add("XML", spelled(&text, xml));
    let utf16 = |order: fn(u16) -> [u8; 2]| {
        let mut out = Zeroizing::new(Vec::with_capacity(4 * text.len()));
        out.extend(text.encode_utf16().flat_map(order));
        out
    };
    add("UTF-16", utf16(u16::to_le_bytes));
    add("UTF-16", utf16(u16::to_be_bytes));
    seen.into_iter()
        .map(|(name, bytes)| Form {
            name,
            text: Masked::of(&bytes),
        })
        .collect()
}

/// `secret` as text; of bytes that are no text, each as the character of that number.
pub(super) fn text(secret: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * secret.len()));
    match std::str::from_utf8(secret) {
        Ok(secret) => text.push_str(secret),
        Err(_) => text.extend(secret.iter().map(|byte| char::from(*byte))),
    }
    text
}

fn copy(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

/// What base64 makes of `secret` wherever it stands `shift` bytes behind a multiple of three, without the characters
/// that depend on its neighbours.
fn base64(secret: &[u8], shift: usize, engine: &impl base64::Engine) -> Zeroizing<Vec<u8>> {
    let mut shifted = Zeroizing::new(Vec::with_capacity(shift + secret.len()));
    shifted.resize(shift, 0);
    shifted.extend_from_slice(secret);
    let text = Zeroizing::new(engine.encode(&shifted));
    // A character holds six bits: skip those with a bit of what stands before or behind.
    let (first, end) = ((shift * 8).div_ceil(6), shifted.len() * 8 / 6);
    copy(text.as_bytes().get(first..end).unwrap_or_default())
}

/// Long enough for the longest form of `bytes`, so that nothing is left behind where it would have grown.
fn buffer(bytes: usize) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(bytes * 12))
}

fn bytes_of(mut text: Zeroizing<String>) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}

fn written(secret: &[u8], each: impl Fn(&mut String, u8) -> std::fmt::Result) -> Zeroizing<Vec<u8>> {
    let mut out = buffer(secret.len());
    secret
        .iter()
        .for_each(|byte| each(&mut out, *byte).unwrap_or_default());
    bytes_of(out)
}

fn spelled(secret: &str, each: impl Fn(&mut String, char) -> std::fmt::Result) -> Zeroizing<Vec<u8>> {
    let mut out = buffer(secret.len());
    secret.chars().for_each(|c| each(&mut out, c).unwrap_or_default());
    bytes_of(out)
}

fn listed(secret: &[u8], separator: &str) -> Zeroizing<Vec<u8>> {
    let mut out = buffer(secret.len());
    for (at, byte) in secret.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { separator });
        write!(out, "{byte}").unwrap_or_default();
    }
    bytes_of(out)
}

fn percent(secret: &[u8], keep: &str, space: &str, lower: bool) -> Zeroizing<Vec<u8>> {
    written(secret, |out, byte| match byte {
        b' ' => out.write_str(space),
        _ if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) => {
            out.write_char(char::from(byte))
        }
        _ if lower => write!(out, "%{byte:02x}"),
        _ => write!(out, "%{byte:02X}"),
    })
}

fn json(out: &mut String, c: char, slash: bool, ascii: bool) -> std::fmt::Result {
    match c {
        '"' | '\\' => write!(out, "\\{c}"),
        '/' if slash => out.write_str("\\/"),
        '<' | '>' | '&' | '\'' if ascii => write!(out, "\\u{:04x}", u32::from(c)),
        _ if ascii && !c.is_ascii() => {
            let mut units = [0; 2];
            c.encode_utf16(&mut units)
                .iter()
                .try_for_each(|unit| write!(out, "\\u{unit:04x}"))
        }
        _ => out.write_char(c),
    }
}

fn xml(out: &mut String, c: char) -> std::fmt::Result {
    match c {
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '&' => out.write_str("&amp;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        _ => out.write_char(c),
    }
}
