//! No foreign error's text in our errors.
//!
//! serde_json prints the value it could not decode, an HTTP error prints the URL with its query: a
//! library that puts such text into its own errors leaks secrets. This rule looks for the three ways
//! it happens:
//!
//! 1. a closure or match arm that binds an error (`map_err(|e| …)`, `Err(e) => …`, `if let Err(e)`)
//!    and formats it, for an error or for a log (`format!("… {e}")`, `e.to_string()`, `warn!(%e)`);
//! 2. an argument of a `CredentialError` constructor that formats something called `e`, `err`,
//!    `error`, `source` or `cause`;
//! 3. `#[from]`, `#[source]` and `#[error(transparent)]` on a type that is not ours.
//!
//! What is bound is taken for a foreign error by its name: one letter, `source`, `cause`, or anything
//! with `err` in it. A text of our own that travels as an `Err` is called what it is (`flaw`), and a
//! line that formats one of our own errors says so: `// tidy: own error` on it or above it.

use std::collections::HashSet;
use std::ops::Range;

use super::{Library, Violation};
use crate::source::{Source, is_word, slice};

/// Crates that hold no secret at run time: the derive runs in the compiler, the testkit in tests,
/// the command line prints our own errors to a person.
const EXEMPT: &[&str] = &[
    "nebula-credential-derive",
    "nebula-credential-testkit",
    "nebula-credential-cli",
];

const CONSTRUCTOR: &str = "CredentialError::";
const NAMES: &[&str] = &["e", "err", "error", "source", "cause"];
const FORMATTERS: &[&str] = &[
    "format",
    "format_args",
    "write",
    "writeln",
    "panic",
    "print",
    "println",
    "eprint",
    "eprintln",
    "event",
    "trace",
    "debug",
    "info",
    "warn",
    "error",
];
const OWN: &str = "// tidy: own error";

const REMEDY: &str = "classify the error and say it in our own words; never its text (it may hold a secret)";

pub(super) fn check(libraries: &[Library]) -> Vec<Violation> {
    let own: HashSet<&str> = libraries
        .iter()
        .flat_map(|library| &library.sources)
        .flat_map(defined_types)
        .collect();
    libraries
        .iter()
        .filter(|library| !EXEMPT.contains(&library.package.as_str()))
        .flat_map(|library| &library.sources)
        .flat_map(|source| violations(source, &own))
        .collect()
}

fn violations(source: &Source, own: &HashSet<&str>) -> Vec<Violation> {
    let mut offsets: Vec<(usize, &str)> = Vec::new();
    for (name, scope) in bound_errors(source) {
        let name = slice(&source.code, name);
        let names = [name];
        let used = formatted(source, scope, &names);
        offsets.extend(used.map(|offset| (offset, "the text of a foreign error is formatted")));
    }
    for (start, _) in source.code.match_indices(CONSTRUCTOR) {
        let name = start + CONSTRUCTOR.len();
        let open = name + word_at(&source.code, name).len();
        if let Some(arguments) = source.group(open) {
            let used = formatted(source, arguments, NAMES);
            offsets.extend(used.map(|offset| (offset, "an error's text goes into a CredentialError")));
        }
    }
    for (attribute, field) in [
        ("#[from]", true),
        ("#[source]", true),
        ("#[error(transparent)]", false),
    ] {
        for (start, _) in source.code.match_indices(attribute) {
            let end = start + attribute.len();
            let ty = if field {
                field_type(source, end)
            } else {
                transparent_type(source, end)
            };
            if !ty.is_some_and(|ty| is_own(ty, own)) {
                offsets.push((start, "a foreign error becomes the source of ours"));
            }
        }
    }
    let mut found: Vec<Violation> = offsets
        .into_iter()
        .map(|(offset, what)| (source.line(offset), what))
        .filter(|(line, _)| !is_declared_own(source, *line))
        .map(|(line, what)| Violation::new(&source.path, line, what, REMEDY))
        .collect();
    found.sort();
    // One line is one mistake, whichever of the patterns saw it.
    found.dedup_by(|a, b| a.line == b.line);
    found
}

/// Every name bound to an error, with the code in which it is bound.
fn bound_errors(source: &Source) -> Vec<(Range<usize>, Range<usize>)> {
    let code = &source.code;
    let mut found = Vec::new();
    for method in [".map_err(", ".or_else(", ".unwrap_or_else(", ".inspect_err("] {
        for (start, _) in code.match_indices(method) {
            let Some(arguments) = source.group(start + method.len() - 1) else {
                continue;
            };
            let inside = slice(code, arguments.clone());
            let lead = inside.len() - inside.trim_start().len();
            let bar = arguments.start + lead;
            let bar = bar
                + if slice(code, bar..code.len()).starts_with("move ") {
                    5
                } else {
                    0
                };
            if !slice(code, bar..code.len()).starts_with('|') {
                continue;
            }
            let name = word_at(code, bar + 1);
            if !is_foreign(name) {
                continue;
            }
            found.push((bar + 1..bar + 1 + name.len(), arguments));
        }
    }
    for start in source.words("Err") {
        let open = start + "Err".len();
        let Some(inside) = source.group(open) else {
            continue;
        };
        let name = word_at(code, inside.start);
        if !is_foreign(name) || inside.len() != name.len() {
            continue;
        }
        let after = slice(code, inside.end + 1..code.len());
        let skipped = after.len() - after.trim_start().len();
        let body = inside.end + 1 + skipped;
        let rest = after.trim_start();
        let scope = if rest.starts_with("=>") || rest.starts_with("if ") {
            arm(source, body)
        } else if rest.starts_with('=') && !rest.starts_with("==") {
            // `if let Err(e) = call() { … }`: up to the end of the block that follows.
            block(source, body)
        } else {
            // An expression `Err(e)`, not a pattern.
            continue;
        };
        found.push((inside.start..inside.start + name.len(), scope));
    }
    found
}

/// Whether a binding is named as one names an error of others. `_` and patterns are not.
fn is_foreign(name: &str) -> bool {
    let is_letter = name.len() == 1 && name.starts_with(char::is_alphabetic);
    is_letter || NAMES.contains(&name) || name.contains("err")
}

/// From a match arm's `=>` (or guard) to its end: a comma outside brackets, or the match's brace.
fn arm(source: &Source, from: usize) -> Range<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in source.code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth -= 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return from..offset + 1;
                }
            }
            b',' if depth == 0 => return from..offset,
            _ => {}
        }
        if depth < 0 {
            return from..offset;
        }
    }
    from..source.code.len()
}

/// From a `let` pattern's `=` to the end of the first block outside brackets (or the statement).
fn block(source: &Source, from: usize) -> Range<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in source.code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => {
                return from..source.group(offset).map_or(source.code.len(), |block| block.end);
            }
            b';' if depth == 0 => return from..offset,
            _ => {}
        }
        if depth < 0 {
            return from..offset;
        }
    }
    from..source.code.len()
}

/// Where `scope` formats one of `names`: `name.to_string()`, or a formatting macro with `{name}` in
/// its string or `name` among its arguments.
fn formatted<'a>(
    source: &'a Source,
    scope: Range<usize>,
    names: &'a [&'a str],
) -> impl Iterator<Item = usize> + 'a {
    let calls = names.iter().flat_map({
        let scope = scope.clone();
        move |name| {
            let scope = scope.clone();
            source.words(name).filter(move |offset| {
                let after = slice(&source.code, offset + name.len()..source.code.len());
                // `self.source.to_string()` is a field of ours, not a bound error.
                let is_field = slice(&source.code, 0..*offset).ends_with('.');
                scope.contains(offset) && !is_field && after.starts_with(".to_string()")
            })
        }
    });
    let macros = FORMATTERS.iter().flat_map(move |formatter| {
        let scope = scope.clone();
        source.words(formatter).filter(move |offset| {
            let bang = offset + formatter.len();
            scope.contains(offset)
                && slice(&source.code, bang..bang + 1) == "!"
                && source
                    .group(bang + 1)
                    .is_some_and(|inside| mentions(source, inside, names))
        })
    });
    calls.chain(macros)
}

/// Whether the inside of a formatting macro prints one of `names`.
fn mentions(source: &Source, inside: Range<usize>, names: &[&str]) -> bool {
    let text = slice(&source.text, inside.clone());
    let code = slice(&source.code, inside);
    names.iter().any(|name| {
        let in_string = text.match_indices('{').any(|(open, _)| {
            let placeholder = slice(text, open + 1..text.len());
            placeholder
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['}', ':']))
        });
        // A bare argument: `, name` or `= name` up to the next comma or the end.
        let as_argument = code.split(',').any(|argument| {
            let value = argument.rsplit_once('=').map_or(argument, |(_, value)| value);
            // `%name` and `?name` are how tracing is told to format a value.
            value.trim().trim_start_matches(['&', '%', '?']) == *name
        });
        in_string || as_argument
    })
}

/// The type of the field or tuple element that follows an attribute.
fn field_type(source: &Source, from: usize) -> Option<&str> {
    let rest = slice(&source.code, from..source.code.len());
    let end = rest.find([',', '}', ')', '\n'].as_slice()).unwrap_or(rest.len());
    let field = match rest.trim_start() {
        // The field is on the next line.
        trimmed
            if rest
                .find('\n')
                .is_some_and(|line| slice(rest, 0..line).trim().is_empty()) =>
        {
            let end = trimmed.find([',', '}', ')'].as_slice()).unwrap_or(trimmed.len());
            slice(trimmed, 0..end)
        }
        _ => slice(rest, 0..end),
    };
    // `name: Type`, but not the `::` of a path.
    let ty = match field.find(": ") {
        Some(colon) => slice(field, colon + 1..field.len()),
        None => field,
    };
    Some(ty.trim())
}

/// The type inside the variant or struct that follows `#[error(transparent)]`.
fn transparent_type(source: &Source, from: usize) -> Option<&str> {
    let rest = slice(&source.code, from..source.code.len());
    let open = from + rest.find(['(', '{'].as_slice())?;
    let inside = slice(&source.code, source.group(open)?);
    let ty = inside.rsplit([']', ' ']).next()?;
    Some(ty.trim().trim_end_matches(','))
}

fn is_own(ty: &str, own: &HashSet<&str>) -> bool {
    let ty = ["Box<", "Arc<"]
        .iter()
        .find_map(|pointer| ty.strip_prefix(pointer))
        .unwrap_or(ty);
    let path = ty.split(['<', '>']).next().unwrap_or(ty).trim();
    let (first, name) = match (path.split_once("::"), path.rsplit_once("::")) {
        (Some((first, _)), Some((_, name))) => (first, name),
        _ => ("self", path),
    };
    let is_local = matches!(first, "crate" | "self" | "super") || first.starts_with("nebula_credential");
    is_local && own.contains(name)
}

/// The names of the structs and enums that `source` defines.
fn defined_types(source: &Source) -> impl Iterator<Item = &str> {
    ["struct", "enum"].into_iter().flat_map(move |keyword| {
        source
            .words(keyword)
            .map(move |offset| word_at(&source.code, offset + keyword.len() + 1))
    })
}

/// The identifier that begins at `from`.
fn word_at(code: &str, from: usize) -> &str {
    let rest = slice(code, from..code.len());
    let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
    slice(rest, 0..end)
}

fn is_declared_own(source: &Source, line: usize) -> bool {
    let mut lines = source
        .raw
        .lines()
        .skip(line.saturating_sub(2))
        .take(if line > 1 { 2 } else { 1 });
    lines.any(|line| line.contains(OWN))
}

#[cfg(test)]
mod tests;
