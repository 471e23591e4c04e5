//! JSON strings, decoded without a copy that nobody wipes: serde_json unescapes into a buffer of its own.

use memchr::memchr;
use serde::de::Error;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Decodes a string field into a buffer of exactly its length.
pub(super) fn load<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
    unescape(raw.get()).ok_or_else(|| D::Error::custom("expected a string"))
}

/// The value of a JSON string literal; `None` if it is not one. The syntax is checked already.
pub(crate) fn unescape(literal: &str) -> Option<Zeroizing<String>> {
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    // No escape makes the text longer, so the buffer never grows and leaves nothing behind.
    let mut out = Zeroizing::new(String::with_capacity(body.len()));
    let mut rest = body;
    // Most secrets have no escape: they are one copy.
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at)?);
        let mut chars = rest.get(at + 1..)?.chars();
        out.push(escaped(&mut chars)?);
        rest = chars.as_str();
    }
    out.push_str(rest);
    Some(out)
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(chars),
        c @ ('"' | '\\' | '/') => c,
        _ => return None,
    })
}

fn unicode(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let high = hex4(chars)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high);
    }
    if (chars.next()?, chars.next()?) != ('\\', 'u') {
        return None;
    }
    let low = hex4(chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut value = 0;
    for _ in 0..4 {
        value = value << 4 | chars.next()?.to_digit(16)?;
    }
    Some(value)
}

/// The owned string inside, moved out without a copy.
pub(crate) fn take(mut text: Zeroizing<String>) -> String {
    std::mem::take(&mut *text)
}
