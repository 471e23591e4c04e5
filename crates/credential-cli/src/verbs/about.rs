//! What needs no store: types, completions, manual pages.

use std::io::Write as _;

use clap::CommandFactory as _;
use nebula_credential::types::{CATALOG, TypeInfo};
use nebula_credential::{FieldInfo, FieldKind};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::args::{Cli, Completions, Man, Types};
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::value;

#[derive(Serialize)]
struct Described {
    #[serde(rename = "type")]
    name: &'static str,
    schema_version: u32,
    fields: Vec<DescribedField>,
}

#[derive(Serialize)]
struct DescribedField {
    name: &'static str,
    kind: &'static str,
    secret: bool,
    required: bool,
}

impl From<&TypeInfo> for Described {
    fn from(info: &TypeInfo) -> Self {
        let field = |field: &FieldInfo| DescribedField {
            name: field.name,
            kind: kind(field.kind),
            secret: field.secret,
            required: field.required,
        };
        Self {
            name: info.name(),
            schema_version: info.schema_version(),
            fields: info.fields().iter().map(field).collect(),
        }
    }
}

fn kind(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text => "text",
        FieldKind::Bytes => "bytes",
        FieldKind::Number => "number",
        FieldKind::Boolean => "boolean",
        FieldKind::Time => "time",
        FieldKind::List => "list",
        FieldKind::Map => "map",
        _ => "other",
    }
}

pub(super) fn types(args: &Types, output: &Output) -> Outcome {
    let Some(name) = &args.name else {
        if output.is_json() {
            return output.value(&CATALOG.iter().map(Described::from).collect::<Vec<_>>());
        }
        let names = |info: &TypeInfo| {
            let names: Vec<&str> = info.fields().iter().map(|field| field.name).collect();
            vec![info.name().to_owned(), names.join(", ")]
        };
        let rows: Vec<Vec<String>> = CATALOG.iter().map(names).collect();
        return output.table(&["TYPE", "FIELDS"], &rows);
    };
    let info = value::type_named(name)?;
    if args.schema {
        return output.value(&schema(info));
    }
    if output.is_json() {
        return output.value(&Described::from(info));
    }
    let row = |field: &FieldInfo| {
        vec![
            field.name.to_owned(),
            kind(field.kind).to_owned(),
            if field.secret { "secret" } else { "public" }.to_owned(),
            if field.required { "required" } else { "optional" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = info.fields().iter().map(row).collect();
    output.table(&["FIELD", "KIND", "", ""], &rows)
}

/// JSON Schema (draft 2020-12) of the value of a type. Secrets are `writeOnly`: put in, not shown.
fn schema(info: &TypeInfo) -> Value {
    let property = |field: &FieldInfo| {
        let mut property = Map::new();
        let shape = match field.kind {
            FieldKind::Text | FieldKind::Bytes | FieldKind::Time => Some("string"),
            FieldKind::Number => Some("number"),
            FieldKind::Boolean => Some("boolean"),
            FieldKind::List => Some("array"),
            FieldKind::Map => Some("object"),
            _ => None,
        };
        if let Some(shape) = shape {
            let shape = if field.required {
                json!(shape)
            } else {
                json!([shape, "null"])
            };
            property.insert("type".to_owned(), shape);
        }
        match field.kind {
            FieldKind::Bytes => property.insert("contentEncoding".to_owned(), json!("base64")),
            FieldKind::Time => property.insert("format".to_owned(), json!("date-time")),
            _ => None,
        };
        if field.secret {
            property.insert("writeOnly".to_owned(), json!(true));
        }
        (field.name.to_owned(), Value::Object(property))
    };
    let required: Vec<&str> = info
        .fields()
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": info.name(),
        "type": "object",
        "properties": Map::from_iter(info.fields().iter().map(property)),
        "required": required,
        "additionalProperties": false,
    })
}

pub(super) fn completions(args: &Completions, output: &Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ncred", &mut script);
    output.bytes(&script)
}

pub(super) fn man(args: &Man, output: &Output) -> Outcome {
    let unwritable = |_| {
        Failure::system(
            "the manual pages cannot be written",
            "check the directory and its permissions",
        )
    };
    match &args.directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(unwritable)?;
            clap_mangen::generate_to(Cli::command(), directory).map_err(unwritable)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(unwritable)?;
            page.flush().map_err(unwritable)?;
            output.bytes(&page)
        }
    }
}
