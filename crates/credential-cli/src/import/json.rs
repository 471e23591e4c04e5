//! JSON: one object, whose keys are names and whose values are texts or `{"type": …, "value": {…}}`.

use std::collections::HashSet;

use nebula_credential::{Plaintext, SecretField as _, SecretWriter, limits};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Body, Entry, Input, Origin, SOPS_METADATA, find_type, line_of, sops_note};
use crate::exit::{Failure, Outcome};
use crate::value::Object;

/// What a file of this kind looks like, for those whose does not.
pub(super) const SHAPE: &str =
    r#"write {"NAME": "text", "OTHER": {"type": "basic", "value": {"username": "…", "password": "…"}}}"#;

pub(super) fn parse(text: &str) -> Outcome<Input> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let object: Object<'_> = serde_json::from_str(text).map_err(|flaw| {
        // The parser's own words may quote the input.
        let what = if flaw.is_eof() {
            "the JSON ends too early"
        } else if flaw.is_syntax() {
            "this is not JSON"
        } else {
            "this is not one JSON object"
        };
        Failure::usage(
            format!("line {}, column {}: {what}", flaw.line(), flaw.column()),
            SHAPE,
        )
    })?;
    let mut input = Input::default();
    let mut seen = HashSet::new();
    for (key, raw) in object.iter() {
        // Both are slices of one text, the second within the first.
        let offset = raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let line = line_of(text.get(..offset).unwrap_or_default());
        let at = Origin {
            key: key.to_owned(),
            line,
        };
        if !seen.insert(at.key.clone()) {
            return Err(Failure::usage(
                format!("{at} stands there twice"),
                "remove one of the two",
            ));
        }
        match body(raw, &at)? {
            Some(body) => input.entries.push(Entry { at, body }),
            None => input.notes.push(sops_note(line)),
        }
    }
    Ok(input)
}

/// `None` for what sops keeps for itself.
fn body(raw: &RawValue, at: &Origin) -> Outcome<Option<Body>> {
    let nested = || {
        Failure::usage(
            format!("{at} is neither text nor {{\"type\": …, \"value\": {{…}}}}"),
            format!("{SHAPE}; give what is nested a name of its own"),
        )
    };
    Ok(Some(match raw.get().bytes().next() {
        Some(b'"') => Body::Text(text_of(raw).ok_or_else(nested)?),
        Some(b'n') => Body::Nothing,
        Some(b'{') => {
            let object: Object<'_> = serde_json::from_str(raw.get()).map_err(|_| nested())?;
            match (
                object.get("type").and_then(text_of),
                object.get("value"),
                object.iter().count(),
            ) {
                (Some(name), Some(value), 2) if value.get().starts_with('{') => {
                    Body::Typed(find_type(&name, at)?, Plaintext::new(value.get().into()))
                }
                _ if at.key == SOPS_METADATA => return Ok(None),
                _ => return Err(nested()),
            }
        }
        Some(b'[') | None => return Err(nested()),
        // A number or a truth value, as it is written.
        Some(_) => Body::Text(Zeroizing::new(raw.get().to_owned())),
    }))
}

/// The text of a JSON string, in memory that is wiped.
fn text_of(raw: &RawValue) -> Option<Zeroizing<String>> {
    Zeroizing::<String>::load(raw).ok()
}

/// Writes the JSON form of a credential into memory that is wiped.
pub(super) struct JsonWriter(SecretWriter);

/// The JSON is longer than a secret may be.
pub(super) struct TooLong;

impl JsonWriter {
    pub(super) fn new() -> Self {
        Self(SecretWriter::with_limit(limits::SECRET_BYTES_MAX))
    }

    /// Appends a string.
    pub(super) fn text(&mut self, text: &str) -> Result<(), TooLong> {
        serde_json::to_writer(&mut self.0, text).map_err(|_| TooLong)
    }

    /// Appends what is JSON already.
    pub(super) fn raw(&mut self, json: &str) -> Result<(), TooLong> {
        self.0.put(json.as_bytes()).map_err(|_| TooLong)
    }

    pub(super) fn finish(self) -> Plaintext {
        self.0.finish()
    }
}

impl From<TooLong> for Failure {
    fn from(_: TooLong) -> Self {
        Self::usage(
            format!("the value is longer than {} bytes", limits::SECRET_BYTES_MAX),
            "store a smaller value; large files belong in a file store, and their key here",
        )
    }
}

/// Whether `text` is a number in JSON.
pub(super) fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text)
}
