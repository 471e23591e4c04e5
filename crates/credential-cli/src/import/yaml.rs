//! YAML: one mapping of the shapes that the JSON form has, such as the output of `sops -d`.
//!
//! Read from the parser's events, and not through a data model of YAML: a bare scalar is what the type of its
//! credential expects there (a password of digits stays a text, `no` stays `no`), and an alias is refused rather than
//! expanded. What the parser itself buffers on the way is freed, not wiped.

use std::borrow::Cow;
use std::collections::HashSet;
use std::iter;

use nebula_credential::types::TypeInfo;
use nebula_credential::{FieldKind, Plaintext};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use zeroize::Zeroizing;

use super::json::{JsonWriter, TooLong, is_number};
use super::{Body, Entry, Input, Origin, SOPS_METADATA, about, find_type, sops_note};
use crate::exit::{Failure, Outcome};

/// Deepest nesting that is read. The types of this library need four levels.
const DEPTH: usize = 32;

const SHAPE: &str = "write `NAME: text`, or under NAME a `type:` and a `value:` with the fields of that type";

pub(super) fn parse(text: &str) -> Outcome<Input> {
    let mut events = Events {
        parser: Parser::new_from_str(text),
        line: 1,
    };
    let mut input = Input::default();
    let root = events.document()?;
    let root = match root {
        None => return Ok(input),
        Some(Node {
            value: Value::Map(members),
            ..
        }) => members,
        Some(Node {
            value: Value::Scalar { text, bare: true },
            ..
        }) if is_null(&text) => return Ok(input),
        Some(node) => {
            return Err(Failure::usage(
                format!("line {}: this is not a mapping", node.line),
                SHAPE,
            ));
        }
    };
    for (at, node) in root {
        let line = at.line;
        match body(node, &at)? {
            Some(body) => input.entries.push(Entry { at, body }),
            None => input.notes.push(sops_note(line)),
        }
    }
    Ok(input)
}

/// `None` for what sops keeps for itself.
fn body(node: Node, at: &Origin) -> Outcome<Option<Body>> {
    let members = match node.value {
        Value::Scalar { text, bare } if bare && is_null(&text) => return Ok(Some(Body::Nothing)),
        Value::Scalar { text, .. } => return Ok(Some(Body::Text(text))),
        Value::Map(members) => members,
        Value::List(_) => return Err(nested(at)),
    };
    let named = |name: &str| {
        members
            .iter()
            .find(|(at, _)| at.key == name)
            .map(|(_, node)| &node.value)
    };
    match (named("type"), named("value"), members.len()) {
        (Some(Value::Scalar { text, .. }), Some(Value::Map(fields)), 2) => {
            let info = find_type(text, at)?;
            Ok(Some(Body::Typed(info, typed(info, fields, at)?)))
        }
        _ if at.key == SOPS_METADATA => Ok(None),
        _ => Err(nested(at)),
    }
}

fn nested(at: &Origin) -> Failure {
    Failure::usage(
        format!("{at} is neither text nor a type and a value"),
        format!("{SHAPE}; give what is nested a name of its own"),
    )
}

/// The JSON form of a credential.
fn typed(info: &TypeInfo, fields: &[(Origin, Node)], at: &Origin) -> Outcome<Plaintext> {
    let mut out = JsonWriter::new();
    let kind_of = |name: &str| {
        info.fields()
            .iter()
            .find(|field| field.name == name)
            .map(|field| field.kind)
    };
    write_map(fields, kind_of, &mut out).map_err(|long| about(at, long.into()))?;
    Ok(out.finish())
}

struct Node {
    line: usize,
    value: Value,
}

enum Value {
    /// Bare is what has neither quotes nor a tag, nor is a block.
    Scalar {
        text: Zeroizing<String>,
        bare: bool,
    },
    Map(Vec<(Origin, Node)>),
    List(Vec<Node>),
}

struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Where the last event was.
    line: usize,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Outcome<Event<'a>> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.line = line(span);
                Ok(event)
            }
            // The parser's own words may quote the input.
            Some(Err(flaw)) => Err(Failure::usage(
                format!("line {}: this is not YAML", flaw.marker().line()),
                "check the indentation and the quotes there and above",
            )),
            None => Ok(Event::StreamEnd),
        }
    }

    /// The only document; `None` if there is none.
    fn document(&mut self) -> Outcome<Option<Node>> {
        let mut root = None;
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    return Err(self.refuse("a second document begins", "import one document at a time"));
                }
                Event::DocumentStart(_) => {
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?);
                }
                _ => {}
            }
        }
    }

    /// The node that begins with `first`.
    fn node(&mut self, first: Event<'a>, depth: usize) -> Outcome<Node> {
        if depth > DEPTH {
            return Err(self.refuse("this is nested too deeply", SHAPE));
        }
        let line = self.line;
        let value = match first {
            Event::Scalar(text, style, _, tag) => {
                let text = Zeroizing::new(text.into_owned());
                let bare = match tag.as_deref() {
                    None => style == ScalarStyle::Plain,
                    Some(tag) if is_string(tag) => false,
                    Some(_) => return Err(self.tagged()),
                };
                Value::Scalar { text, bare }
            }
            Event::MappingStart(_, tag) => {
                self.untagged(tag.as_ref(), "map")?;
                Value::Map(self.members(depth)?)
            }
            Event::SequenceStart(_, tag) => {
                self.untagged(tag.as_ref(), "seq")?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                Value::List(items)
            }
            Event::Alias(_) => {
                return Err(self.refuse("there is an alias", "write the value out instead of *NAME"));
            }
            _ => return Err(self.refuse("this is not YAML", SHAPE)),
        };
        Ok(Node { line, value })
    }

    fn members(&mut self, depth: usize) -> Outcome<Vec<(Origin, Node)>> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(members),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return Err(self.refuse("a key is not text", SHAPE)),
            };
            let at = Origin { key, line: self.line };
            if !seen.insert(at.key.clone()) {
                return Err(Failure::usage(
                    format!("{at} stands there twice"),
                    "remove one of the two",
                ));
            }
            let event = self.next()?;
            members.push((at, self.node(event, depth + 1)?));
        }
    }

    fn untagged(&self, tag: Option<&Cow<'_, Tag>>, kind: &str) -> Outcome {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == kind) => Err(self.tagged()),
            _ => Ok(()),
        }
    }

    fn tagged(&self) -> Failure {
        self.refuse("there is a tag other than !!str", "remove the tag")
    }

    fn refuse(&self, what: &str, help: &str) -> Failure {
        Failure::usage(format!("line {}: {what}", self.line), help)
    }
}

fn line(span: Span) -> usize {
    span.start.line()
}

/// `!!str`, or the bare `!` that says the same.
fn is_string(tag: &Tag) -> bool {
    (tag.is_yaml_core_schema() && tag.suffix == "str") || (tag.handle.is_empty() && tag.suffix == "!")
}

/// The spellings of the core schema.
fn is_null(bare: &str) -> bool {
    matches!(bare, "" | "~" | "null" | "Null" | "NULL")
}

fn write_map(
    members: &[(Origin, Node)],
    kind_of: impl Fn(&str) -> Option<FieldKind>,
    out: &mut JsonWriter,
) -> Result<(), TooLong> {
    for (separator, (at, node)) in iter::once("{").chain(iter::repeat(",")).zip(members) {
        out.raw(separator)?;
        out.text(&at.key)?;
        out.raw(":")?;
        write_node(node, kind_of(&at.key), out)?;
    }
    out.raw(if members.is_empty() { "{}" } else { "}" })
}

fn write_node(node: &Node, kind: Option<FieldKind>, out: &mut JsonWriter) -> Result<(), TooLong> {
    // Named texts are texts; what is nested deeper has a type of its own.
    let inner = kind
        .filter(|kind| matches!(kind, FieldKind::Map | FieldKind::List))
        .map(|_| FieldKind::Text);
    match &node.value {
        Value::Scalar { text, bare: true } if is_null(text) => out.raw("null"),
        Value::Scalar { text, bare } => match bare_json(text).filter(|_| *bare && !is_text(kind)) {
            Some(json) => out.raw(json),
            None => out.text(text),
        },
        Value::Map(members) => write_map(members, |_| inner, out),
        Value::List(items) => {
            for (separator, item) in iter::once("[").chain(iter::repeat(",")).zip(items) {
                out.raw(separator)?;
                write_node(item, inner, out)?;
            }
            out.raw(if items.is_empty() { "[]" } else { "]" })
        }
    }
}

fn is_text(kind: Option<FieldKind>) -> bool {
    matches!(kind, Some(FieldKind::Text | FieldKind::Bytes | FieldKind::Time))
}

/// The JSON of a bare scalar that is a truth value or a number in the core schema and in JSON.
fn bare_json(text: &str) -> Option<&str> {
    match text {
        "true" | "True" | "TRUE" => Some("true"),
        "false" | "False" | "FALSE" => Some("false"),
        _ => is_number(text).then_some(text),
    }
}
