//! The value of a credential as JSON, read with refusals that help.

mod shown;

use std::borrow::Cow;
use std::fmt;

use nebula_credential::types::{CATALOG, TypeInfo};
use nebula_credential::{AnyCredential, FieldInfo, FieldKind, Plaintext, SecretWriter, limits};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use self::shown::{Shown, Visible};
use crate::exit::{Failure, Outcome};
use crate::{input, suggest};

/// The type called `name`.
pub(crate) fn type_named(name: &str) -> Outcome<&'static TypeInfo> {
    find(name).ok_or_else(|| {
        Failure::usage(
            "there is no such credential type",
            match suggest::nearest(name, CATALOG.iter().map(TypeInfo::name)) {
                Some(near) => format!("did you mean {near:?}? `ncred types` lists them"),
                None => "`ncred types` lists them".to_owned(),
            },
        )
    })
}

/// The built-in type called `name`, if it is one.
pub(crate) fn find(name: &str) -> Option<&'static TypeInfo> {
    CATALOG.iter().find(|info| info.name() == name)
}

/// The members of a JSON object, in order, as they are written: no secret is copied.
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        #[derive(serde::Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reads the value of a new credential or version: prompts at a terminal, else JSON on standard input.
pub(crate) fn read(info: &TypeInfo) -> Outcome<AnyCredential> {
    if input::is_interactive() {
        let json = prompted(info)?;
        return decode(info, json.expose());
    }
    let bytes = input::stdin()?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::usage("standard input is empty", expected(info)));
    }
    decode(info, &bytes)
}

/// The object of a stored value of which a part is to be replaced.
pub(crate) fn stored(bytes: &[u8]) -> Outcome<Object<'_>> {
    serde_json::from_slice(bytes).map_err(|_| {
        Failure::state(
            "the stored value is no JSON object",
            "rotate it with a value of its own",
        )
    })
}

/// The stored value `current` with one field read anew: from a prompt, or all of standard input but one line end.
pub(crate) fn read_field(info: &TypeInfo, field: &str, current: &[u8]) -> Outcome<Plaintext> {
    use nebula_credential::ExposeSecret as _;

    let object = stored(current)?;
    let is_text =
        |known: &&FieldInfo| matches!(known.kind, FieldKind::Text | FieldKind::Bytes | FieldKind::Time);
    let texts = || info.fields().iter().filter(is_text).map(|known| known.name);
    let Some(known) = info
        .fields()
        .iter()
        .filter(is_text)
        .find(|known| known.name == field)
    else {
        return Err(Failure::usage(
            format!("{} has no such field that is text", info.name()),
            match suggest::nearest(field, texts()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!(
                    "it has: {}; without --field the whole value is read, as JSON",
                    texts().collect::<Vec<_>>().join(", ")
                ),
            },
        ));
    };
    let empty = || Failure::usage("the new value is empty", "pipe it to standard input, as it is");
    if input::is_interactive() {
        let question = format!("{field}: ");
        let answer = match known.secret {
            true => Some(input::prompt(&question)?),
            false => input::ask(&question)?.map(Into::into),
        };
        let answer = answer.filter(|answer| !answer.expose_secret().is_empty());
        return with_text(&object, field, answer.ok_or_else(empty)?.expose_secret());
    }
    let bytes = input::stdin()?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).map_err(|_| {
        Failure::usage(
            "the new value is no UTF-8 text",
            "encode it first, such as with base64",
        )
    })?;
    match text {
        "" => Err(empty()),
        text => with_text(&object, field, text),
    }
}

/// Checks JSON against the fields of a type, and decodes it.
pub(crate) fn decode(info: &TypeInfo, bytes: &[u8]) -> Outcome<AnyCredential> {
    let object: Object<'_> = serde_json::from_slice(bytes).map_err(|flaw| {
        Failure::usage(
            format!(
                "the value is no JSON object (line {}, column {})",
                flaw.line(),
                flaw.column()
            ),
            expected(info),
        )
    })?;
    check(info, &object)?;
    let credential = info
        .decode(&without_nulls(info, &object)?, info.schema_version())
        .map_err(|error| Failure::usage(Failure::from(error).message, expected(info)))?;
    credential.validate()?;
    Ok(credential)
}

/// Names what is wrong with the fields, where the codec of the type only says that something is.
fn check(info: &TypeInfo, object: &Object<'_>) -> Outcome {
    let fields = info.fields();
    if fields.is_empty() {
        return Ok(());
    }
    let known = || fields.iter().map(|field| field.name);
    for (at, (key, value)) in object.iter().enumerate() {
        if object.iter().take(at).any(|(earlier, _)| earlier == key) {
            return Err(Failure::usage("a field stands there twice", expected(info)));
        }
        let Some(field) = fields.iter().find(|field| field.name == key) else {
            // A key that is like no field may be a value in the wrong place: it is not repeated.
            return Err(match suggest::nearest(key, known()) {
                Some(near) => Failure::usage(
                    format!("{} has no field {key:?}", info.name()),
                    format!("did you mean {near:?}?"),
                ),
                None => Failure::usage(
                    format!("there is a field that {} does not have", info.name()),
                    expected(info),
                ),
            });
        };
        if !fits(field, value) {
            return Err(Failure::usage(
                format!("field {:?} must be {}", field.name, shape(field.kind)),
                expected(info),
            ));
        }
    }
    match fields
        .iter()
        .find(|field| field.required && object.get(field.name).is_none())
    {
        Some(missing) => Err(Failure::usage(
            format!("field {:?} is missing", missing.name),
            expected(info),
        )),
        None => Ok(()),
    }
}

/// Whether the first byte of the JSON is that of the field's kind.
fn fits(field: &FieldInfo, value: &RawValue) -> bool {
    let first = value.get().bytes().next().unwrap_or_default();
    if first == b'n' && !field.required {
        return true;
    }
    match field.kind {
        FieldKind::Text | FieldKind::Bytes | FieldKind::Time => first == b'"',
        FieldKind::Number => first == b'-' || first.is_ascii_digit(),
        FieldKind::Boolean => first == b't' || first == b'f',
        FieldKind::List => first == b'[',
        FieldKind::Map => first == b'{',
        _ => true,
    }
}

fn shape(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Bytes => "base64 text",
        FieldKind::Number => "a number",
        FieldKind::Boolean => "true or false",
        FieldKind::Time => "a time, such as \"2030-12-31T23:59:59Z\"",
        FieldKind::List => "a list",
        FieldKind::Map => "an object",
        _ => "what `ncred types` says",
    }
}

/// The remedy of every flaw of a value.
fn expected(info: &TypeInfo) -> String {
    let name = |field: &FieldInfo| match field.required {
        true => field.name.to_owned(),
        false => format!("[{}]", field.name),
    };
    let names: Vec<String> = info.fields().iter().map(name).collect();
    format!(
        "give a JSON object on standard input; {} has the fields {} (`ncred types {}`)",
        info.name(),
        names.join(", "),
        info.name()
    )
}

/// Asks for each field in turn.
fn prompted(info: &TypeInfo) -> Outcome<Plaintext> {
    use nebula_credential::ExposeSecret as _;

    let mut json = SecretWriter::with_limit(limits::SECRET_BYTES_MAX);
    json.put(b"{")?;
    let mut separator: &[u8] = b"";
    for field in info.fields() {
        let optional = if field.required { "" } else { " (optional)" };
        let question = format!("{}{optional}: ", field.name);
        let answer = if field.secret {
            Some(input::prompt(&question)?)
        } else {
            input::ask(&question)?.map(Into::into)
        };
        let Some(answer) = answer.filter(|answer| !answer.expose_secret().is_empty()) else {
            if field.required {
                return Err(Failure::usage(
                    format!("field {:?} is missing", field.name),
                    expected(info),
                ));
            }
            continue;
        };
        json.put(separator)?;
        separator = b",";
        write_json(&mut json, field.name)?;
        json.put(b":")?;
        let text = answer.expose_secret();
        let is_text = match field.kind {
            FieldKind::Text | FieldKind::Bytes | FieldKind::Time => true,
            FieldKind::Number | FieldKind::Boolean | FieldKind::List | FieldKind::Map => false,
            // A word such as `require`, or JSON.
            _ => serde_json::from_str::<&RawValue>(text).is_err(),
        };
        if is_text {
            write_json(&mut json, text)?;
        } else {
            json.put(text.as_bytes())?;
        }
    }
    json.put(b"}")?;
    Ok(json.finish())
}

fn write_json(out: &mut SecretWriter, text: &str) -> Outcome {
    serde_json::to_writer(&mut *out, text)
        .map_err(|_| Failure::usage("the value is too long", "1 MiB is the most a credential may hold"))
}

/// `object` with the text of `field` replaced, or added.
pub(crate) fn with_text(object: &Object<'_>, field: &str, text: &str) -> Outcome<Plaintext> {
    let added = object.get(field).is_none().then_some((field, RawValue::NULL));
    write_object(object.iter().chain(added), |json, key, value| {
        match key == field {
            true => write_json(json, text),
            false => Ok(json.put(value.get().as_bytes())?),
        }
    })
}

/// `object` without the optional fields that are null: one with a default gets it, as one that may be absent is.
fn without_nulls(info: &TypeInfo, object: &Object<'_>) -> Outcome<Plaintext> {
    let optional = |key: &str| {
        let field = info.fields().iter().find(|field| field.name == key);
        field.is_some_and(|field| !field.required)
    };
    let kept = object
        .iter()
        .filter(|(key, value)| value.get() != "null" || !optional(key));
    write_object(kept, |json, _, value| Ok(json.put(value.get().as_bytes())?))
}

fn write_object<'a>(
    members: impl Iterator<Item = (&'a str, &'a RawValue)>,
    value_of: impl Fn(&mut SecretWriter, &str, &RawValue) -> Outcome,
) -> Outcome<Plaintext> {
    let mut json = SecretWriter::with_limit(limits::SECRET_BYTES_MAX);
    json.put(b"{")?;
    let mut separator: &[u8] = b"";
    for (key, value) in members {
        json.put(separator)?;
        separator = b",";
        write_json(&mut json, key)?;
        json.put(b":")?;
        value_of(&mut json, key, value)?;
    }
    json.put(b"}")?;
    Ok(json.finish())
}
