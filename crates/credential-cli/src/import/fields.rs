//! From the texts of fields to the credential they are fields of.

use std::collections::BTreeMap;

use nebula_credential::types::TypeInfo;
use nebula_credential::{AnyCredential, FieldInfo, FieldKind, Plaintext};
use zeroize::Zeroizing;

use super::json::{JsonWriter, TooLong, is_number};
use crate::exit::{Failure, Outcome};
use crate::value;

pub(super) fn decode(info: &TypeInfo, json: &Plaintext) -> Outcome<AnyCredential> {
    value::decode(info, json.expose()).map_err(|failure| {
        failure.with_help(format!(
            "correct the value; {} has the fields {} (`ncred types {}`)",
            info.name(),
            field_names(info),
            info.name()
        ))
    })
}

/// A connection string if it is one that drivers agree on, and else a text.
pub(super) fn guess(text: &str) -> Outcome<AnyCredential> {
    if has_scheme(text)
        && let Ok(credential) = one_field("connection_string", "url", text)
    {
        return Ok(credential);
    }
    one_field("secret_text", "text", text)
}

/// Whether `text` begins as a URL does (RFC 3986, section 3.1), with an authority.
fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

fn one_field(type_name: &str, field: &str, text: &str) -> Outcome<AnyCredential> {
    let info = value::type_named(type_name)?;
    let mut out = JsonWriter::new();
    out.raw("{")?;
    out.text(field)?;
    out.raw(":")?;
    out.text(text)?;
    out.raw("}")?;
    decode(info, &out.finish())
}

/// The field a value is meant for when no field is named.
pub(super) fn only_field(info: &TypeInfo) -> Outcome<&'static str> {
    let mut required = info
        .fields()
        .iter()
        .filter(|field| field.required && field.kind != FieldKind::Map);
    match (required.next(), required.next()) {
        (Some(field), None) => Ok(field.name),
        _ => Err(Failure::usage(
            format!("this could be any of the fields of the type {}", info.name()),
            format!("name one with `field` in the mapping file: {}", field_names(info)),
        )),
    }
}

fn field_names(info: &TypeInfo) -> String {
    let names: Vec<&str> = info.fields().iter().map(|field| field.name).collect();
    names.join(", ")
}

/// The credential of `parts` (fields and their texts) and of what the mapping file adds.
pub(super) fn assemble(
    info: &'static TypeInfo,
    parts: &[(String, Zeroizing<String>)],
    values: &BTreeMap<String, toml::Value>,
) -> Outcome<AnyCredential> {
    let unknown = |name: &str| {
        Failure::usage(
            format!("the type {} has no field {name:?}", info.name()),
            format!("its fields are {}", field_names(info)),
        )
    };
    let find = |name: &str| info.fields().iter().find(|field| field.name == name);
    // A member of a field that holds named values is `FIELD.MEMBER`.
    let split = |name: &str| match name.split_once('.') {
        Some((field, member)) => (field.to_owned(), Some(member.to_owned())),
        None => (name.to_owned(), None),
    };
    let mut fields: BTreeMap<String, Vec<(Option<String>, &str)>> = BTreeMap::new();
    for (name, text) in parts {
        let (field, member) = split(name);
        let known = find(&field).ok_or_else(|| unknown(&field))?;
        if member.is_some() != (known.kind == FieldKind::Map) {
            return Err(Failure::usage(
                format!("the field {name:?} of the type {} is not one text", info.name()),
                "write `FIELD.MEMBER` for a field of named values, and FIELD for any other".to_owned(),
            ));
        }
        fields.entry(field).or_default().push((member, text));
    }
    let constants: BTreeMap<&str, &toml::Value> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    for name in constants.keys() {
        let known = find(name).ok_or_else(|| unknown(name))?;
        if known.secret {
            return Err(Failure::usage(
                format!("the mapping file holds the secret field {name:?}"),
                "move it into the imported file and name its key; a mapping file is no place for secrets"
                    .to_owned(),
            ));
        }
        if fields.contains_key(*name) {
            return Err(Failure::usage(
                format!("the field {name:?} is in a key and in the mapping file"),
                "remove one of the two".to_owned(),
            ));
        }
    }
    let given = |field: &FieldInfo| fields.contains_key(field.name) || constants.contains_key(field.name);
    let missing: Vec<&str> = info
        .fields()
        .iter()
        .filter(|field| field.required && !given(field))
        .map(|field| field.name)
        .collect();
    if !missing.is_empty() {
        return Err(Failure::usage(
            format!("the type {} also needs {}", info.name(), missing.join(", ")),
            "name their keys, or write what is no secret into `values` under [credentials.NAME]",
        ));
    }

    let mut out = JsonWriter::new();
    let mut separator = "{";
    for field in info.fields() {
        if let Some(values) = fields.get(field.name) {
            key(&mut out, &mut separator, field.name)?;
            write_field(&mut out, field, values)?;
        } else if let Some(constant) = constants.get(field.name) {
            key(&mut out, &mut separator, field.name)?;
            write_constant(&mut out, field, constant)?;
        }
    }
    out.raw(if separator == "{" { "{}" } else { "}" })?;
    decode(info, &out.finish())
}

fn key(out: &mut JsonWriter, separator: &mut &'static str, name: &str) -> Result<(), TooLong> {
    out.raw(separator)?;
    *separator = ",";
    out.text(name)?;
    out.raw(":")
}

fn write_field(out: &mut JsonWriter, field: &FieldInfo, values: &[(Option<String>, &str)]) -> Outcome {
    if field.kind == FieldKind::Map {
        let mut separator = "{";
        for (member, text) in values {
            key(out, &mut separator, member.as_deref().unwrap_or_default())?;
            out.text(text)?;
        }
        return Ok(out.raw("}")?);
    }
    let text = values.first().map(|(_, text)| *text).unwrap_or_default();
    let lawful = match field.kind {
        FieldKind::Number => is_number(text),
        FieldKind::Boolean => matches!(text, "true" | "false"),
        _ => return Ok(out.text(text)?),
    };
    if !lawful {
        let wanted = if field.kind == FieldKind::Number {
            "a number"
        } else {
            "true or false"
        };
        return Err(Failure::usage(
            format!("the field {:?} is to be {wanted}", field.name),
            "correct the value",
        ));
    }
    Ok(out.raw(text)?)
}

fn write_constant(out: &mut JsonWriter, field: &FieldInfo, value: &toml::Value) -> Outcome {
    match value {
        toml::Value::String(text) => Ok(out.text(text)?),
        toml::Value::Integer(number) => Ok(out.raw(&number.to_string())?),
        toml::Value::Boolean(truth) => Ok(out.raw(if *truth { "true" } else { "false" })?),
        _ => Err(Failure::usage(
            format!(
                "the mapping file gives the field {:?} neither text, a whole number, true nor false",
                field.name
            ),
            "write one of these",
        )),
    }
}
