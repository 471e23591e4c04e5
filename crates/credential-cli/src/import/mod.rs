//! `import`: credentials from a `.env`, JSON or YAML file.
//!
//! A file becomes [`Entry`]s, a [`mapping`] makes drafts of credentials of them, and a [`plan`] is what a store will
//! be asked to do. Nothing is written before all of it holds. Errors name lines and keys, never values.

pub mod env;
mod fields;
mod json;
mod mapping;
mod plan;
mod yaml;

use std::path::Path;

use clap::ValueEnum;
use nebula_credential::Plaintext;
use nebula_credential::types::TypeInfo;
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome};
use crate::value;

pub(crate) use mapping::{Draft, Drafts, Mapping};
pub(crate) use plan::{Action, Incoming, Item, OnConflict, Plan};

/// Longest file that is read, in bytes: some 10,000 credentials of 1.6 KiB. Also the longest sum of values that
/// `--interpolate` makes.
pub(crate) const INPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `KEY=VALUE` lines, as python-dotenv reads them.
    Env,
    /// `{"NAME": "text"}` or `{"NAME": {"type": "...", "value": {...}}}`.
    Json,
    /// The same in YAML, such as the output of `sops -d`.
    Yaml,
}

impl Format {
    /// What the name of a file tells.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        match name.rsplit_once('.') {
            Some((_, "json")) => Some(Self::Json),
            Some((_, "yaml" | "yml")) => Some(Self::Yaml),
            Some((_, "env")) => Some(Self::Env),
            // `.env.production` and the like.
            _ if name.starts_with(".env") => Some(Self::Env),
            _ => None,
        }
    }

    /// What the content tells: an object is JSON, and the first line that is no comment is `KEY=` or `KEY:`.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with('{') {
            return Some(Self::Json);
        }
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next()?;
        match line
            .find(['=', ':'])
            .and_then(|at| line.get(at..)?.chars().next())
        {
            Some('=') => Some(Self::Env),
            Some(_) => Some(Self::Yaml),
            None if line == "---" => Some(Self::Yaml),
            None => None,
        }
    }
}

/// One key of the file.
pub(crate) struct Entry {
    pub(crate) at: Origin,
    pub(crate) body: Body,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) key: String,
    /// From 1.
    pub(crate) line: usize,
}

/// What stands behind a key.
pub(crate) enum Body {
    /// No value at all.
    Nothing,
    Text(Zeroizing<String>),
    /// The JSON form of a credential whose type the file names.
    Typed(&'static TypeInfo, Plaintext),
}

/// What a file says.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) entries: Vec<Entry>,
    /// Lines of a `.env` file that are no binding.
    pub(crate) unreadable: Vec<usize>,
    /// Things a person should know; no values.
    pub(crate) notes: Vec<String>,
}

/// Reads `text`.
///
/// # Errors
/// [`Failure::usage`] naming the line.
pub(crate) fn read(text: &str, format: Format) -> Outcome<Input> {
    refuse_encrypted(text, format)?;
    match format {
        Format::Env => from_env(env::parse(text)),
        Format::Json => json::parse(text),
        Format::Yaml => yaml::parse(text),
    }
}

/// [`read`] of a `.env` whose `${NAME}`s are replaced.
pub(crate) fn read_interpolated(text: &str) -> Outcome<Input> {
    refuse_encrypted(text, Format::Env)?;
    let mut env = env::parse(text);
    // A variable that is no UTF-8 is one that is not set.
    env.interpolate(INPUT_BYTES_MAX, |name| {
        std::env::var(name).ok().map(Zeroizing::new)
    })
    .map_err(|long| {
        Failure::usage(
            format!(
                "line {}: the values are longer than {INPUT_BYTES_MAX} bytes with what they refer to",
                long.line
            ),
            "write the value out, or leave out --interpolate",
        )
    })?;
    from_env(env)
}

/// Of a key bound twice, the last binding counts.
///
/// # Errors
/// [`Failure::usage`] for a PEM block of which only the first line would be the value, and the others keys.
fn from_env(env: env::Env) -> Outcome<Input> {
    let mut input = Input {
        unreadable: env.unreadable,
        ..Input::default()
    };
    let mut place = std::collections::HashMap::new();
    for env::Variable { key, value, line } in env.variables {
        let body = value.map_or(Body::Nothing, Body::Text);
        let at = Origin { key, line };
        if let Body::Text(text) = &body
            && text.starts_with("-----BEGIN ")
            && !text.contains("-----END ")
        {
            return Err(Failure::usage(
                format!("{at} begins a PEM block that does not end"),
                "put quotes around the whole block",
            ));
        }
        let last = input.entries.len();
        let index = *place.entry(at.key.clone()).or_insert(last);
        match input.entries.get_mut(index) {
            Some(entry) => {
                input
                    .notes
                    .push(format!("{at} replaces the value of line {}", entry.at.line));
                *entry = Entry { at, body };
            }
            None => input.entries.push(Entry { at, body }),
        }
    }
    Ok(input)
}

/// Everything between the text of a file and the store, for fuzzing: the number of credentials, or what a person would
/// be told. `format` is `env`, `json` or `yaml`, and `mapping` the text of a mapping file.
///
/// # Errors
/// The message and the remedy of the refusal.
pub fn rehearse(text: &str, format: &str, mapping: &str) -> Result<usize, String> {
    let format = Format::from_str(format, false)?;
    let rehearsed = read(text, format).and_then(|input| Mapping::parse(mapping)?.apply(input.entries, ""));
    match rehearsed {
        Ok(drafts) => Ok(drafts.drafts.len()),
        Err(failure) => Err(format!(
            "{}; {}",
            failure.message,
            failure.help.unwrap_or_default()
        )),
    }
}

/// How sops marks a value it encrypted.
const SOPS_VALUE: &str = "ENC[AES256_GCM,";

/// The key under which sops keeps its own data; `sops -d` leaves it out.
const SOPS_METADATA: &str = "sops";

fn refuse_encrypted(text: &str, format: Format) -> Outcome {
    let Some((before, _)) = text.split_once(SOPS_VALUE) else {
        return Ok(());
    };
    let format = match format {
        Format::Env => "env",
        Format::Json => "json",
        Format::Yaml => "yaml",
    };
    Err(Failure::usage(
        format!("line {}: the file is still encrypted by sops", line_of(before)),
        format!("run `sops -d FILE | ncred import - --format {format}`"),
    ))
}

/// The note on the key that is left out.
fn sops_note(line: usize) -> String {
    format!("line {line}: left out {SOPS_METADATA:?}, the data sops keeps for itself")
}

/// The line, from 1, on which what follows `before` begins.
fn line_of(before: &str) -> usize {
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// The type that `at` names.
fn find_type(name: &str, at: &Origin) -> Outcome<&'static TypeInfo> {
    value::type_named(name).map_err(|failure| about(at, failure))
}

/// Puts where it is before what is said of it.
fn about(at: &impl std::fmt::Display, failure: Failure) -> Failure {
    Failure {
        message: format!("{at}: {}", failure.message),
        ..failure
    }
}

impl std::fmt::Display for Origin {
    /// The key if it looks like a name, and the line. A key may be a secret that strayed: of a text of several lines
    /// without quotes, every line is read as a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.shown_key() {
            Some(key) => write!(f, "line {} ({key})", self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

impl Origin {
    /// Longest key that is shown, in bytes: base64 lines have 64 or 76.
    const SHOWN_BYTES: usize = 63;

    /// The key, unless it may be something else.
    pub(crate) fn shown_key(&self) -> Option<&str> {
        let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
        let shown = self.key.len() <= Self::SHOWN_BYTES && self.key.bytes().all(ordinary);
        Some(self.key.as_str()).filter(|_| shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn texts(input: &Input) -> Vec<(&str, Option<&str>)> {
        input
            .entries
            .iter()
            .map(|entry| {
                let text = match &entry.body {
                    Body::Nothing => None,
                    Body::Text(text) => Some(text.as_str()),
                    Body::Typed(_, json) => std::str::from_utf8(json.expose()).ok(),
                };
                (entry.at.key.as_str(), text)
            })
            .collect()
    }

    #[test]
    fn a_format_is_told_by_name_and_by_content() {
        for (path, format) in [
            ("a/.env", Some(Format::Env)),
            (".env.production", Some(Format::Env)),
            ("prod.ENV", Some(Format::Env)),
            ("a.json", Some(Format::Json)),
            ("a.yaml", Some(Format::Yaml)),
            ("a.yml", Some(Format::Yaml)),
            ("a.txt", None),
            ("-", None),
        ] {
            assert_eq!(Format::of_path(Path::new(path)), format, "{path}");
        }
        for (text, format) in [
            ("\u{feff} {\"a\": 1}", Some(Format::Json)),
            ("# c\n\nexport A=b:c", Some(Format::Env)),
            ("---\na: b", Some(Format::Yaml)),
            ("a: b=c", Some(Format::Yaml)),
            ("", None),
            ("word", None),
        ] {
            assert_eq!(Format::of_text(text), format, "{text:?}");
        }
    }

    #[test]
    fn the_last_binding_of_a_key_counts_and_keeps_the_first_ones_place() {
        let input = read("A=1\nB=2\nA=3\n", Format::Env).unwrap();
        assert_eq!(texts(&input), [("A", Some("3")), ("B", Some("2"))]);
        assert_eq!(input.notes, ["line 3 (A) replaces the value of line 1"]);
    }

    #[test]
    fn what_sops_encrypted_is_refused_with_the_remedy() {
        for (format, text) in [
            (Format::Env, "A=1\nB=ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]"),
            (Format::Json, "{\"A\": \"1\",\n\"B\": \"ENC[AES256_GCM,data:x]\"}"),
            (Format::Yaml, "A: 1\nB: ENC[AES256_GCM,data:x]"),
        ] {
            let failure = read(text, format).err().unwrap();
            assert!(failure.message.contains("line 2: the file is still encrypted"));
            assert!(
                failure
                    .help
                    .unwrap()
                    .contains("sops -d FILE | ncred import - --format")
            );
        }
    }

    #[test]
    fn a_key_that_may_be_a_secret_is_not_shown() {
        let at = |key: &str| {
            Origin {
                key: key.to_owned(),
                line: 7,
            }
            .to_string()
        };
        assert_eq!(at("PG_HOST"), "line 7 (PG_HOST)");
        assert_eq!(
            at("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDBq1mZk4zJ9k3X"),
            "line 7"
        );
        assert_eq!(at("a+b"), "line 7");
    }
}
