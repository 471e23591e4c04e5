//! Which credential a key becomes: a rule for every key, and a file that says otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};

use nebula_credential::types::TypeInfo;
use nebula_credential::{CredentialName, Plaintext};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::fields::{assemble, decode, guess, only_field};
use super::{Body, Entry, Incoming, Origin, about, find_type};
use crate::exit::{Failure, Outcome};

/// A mapping file, in TOML. `ncred help import` shows one.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    #[serde(default)]
    others: Others,
    #[serde(default)]
    keys: BTreeMap<String, Rule>,
    #[serde(default)]
    prefixes: Vec<PrefixRule>,
    #[serde(default)]
    credentials: BTreeMap<String, Shape>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Others {
    #[default]
    Import,
    Skip,
}

/// What becomes of a key.
#[derive(Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: Option<String>,
    r#type: Option<String>,
    field: Option<String>,
    #[serde(default)]
    skip: bool,
}

/// What becomes of the keys that begin alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefixRule {
    prefix: String,
    name: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    skip: bool,
}

/// What is known of a credential besides its keys.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    r#type: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, toml::Value>,
}

/// A credential that the file asks for.
pub(crate) struct Draft {
    pub(crate) name: CredentialName,
    pub(crate) credential: Incoming,
    /// The keys it is made of.
    pub(crate) from: Vec<Origin>,
}

/// A key that becomes nothing.
pub(crate) struct Ignored {
    pub(crate) at: Origin,
    pub(crate) why: Why,
}

impl Ignored {
    /// The key, unless it may be something else: what has no value may be a piece of one that lost its quotes.
    pub(crate) fn key(&self) -> Option<&str> {
        self.at.shown_key().filter(|_| self.why != Why::NoValue)
    }
}

impl std::fmt::Display for Ignored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key() {
            Some(_) => write!(f, "{} {}", self.at, self.why.text()),
            None => write!(f, "line {} {}", self.at.line, self.why.text()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    NoValue,
    Empty,
    Mapping,
}

impl Why {
    /// For people.
    fn text(self) -> &'static str {
        match self {
            Self::NoValue => "has no value",
            Self::Empty => "is empty",
            Self::Mapping => "is skipped by the mapping file",
        }
    }

    /// For programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Empty => "empty",
            Self::Mapping => "mapping",
        }
    }
}

/// What the keys become.
pub(crate) struct Drafts {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) ignored: Vec<Ignored>,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// [`Failure::usage`] naming the line.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let mapping: Self = toml::from_str(text).map_err(|flaw| {
            let before = flaw.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            Failure::usage(
                format!("line {} of the mapping file is not understood", super::line_of(before)),
                "it is TOML with `others`, [keys], [[prefixes]] and [credentials.NAME]; see `ncred help import`",
            )
        })?;
        Ok(mapping)
    }

    /// Makes credentials of `entries`, each name behind `prefix`.
    ///
    /// # Errors
    /// [`Failure::usage`] for a name, type or field that cannot be, for two keys that become one name, and for a
    /// value that its type refuses.
    pub(crate) fn apply(&self, entries: Vec<Entry>, prefix: &str) -> Outcome<Drafts> {
        self.check_keys(&entries)?;
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut ignored = Vec::new();
        for Entry { at, body } in entries {
            let rule = self.rule(&at.key);
            let why = match &body {
                Body::Nothing => Some(Why::NoValue),
                _ if rule.skip => Some(Why::Mapping),
                Body::Text(text) if text.is_empty() && rule.field.is_none() => Some(Why::Empty),
                _ => None,
            };
            if let Some(why) = why {
                ignored.push(Ignored { at, why });
                continue;
            }
            let name = rule.name.clone().unwrap_or_else(|| default_name(&at.key));
            let place = *places.entry(name.clone()).or_insert(groups.len());
            if groups.len() == place {
                groups.push(Group {
                    name,
                    rules: Vec::new(),
                    parts: Vec::new(),
                });
            }
            if let Some(group) = groups.get_mut(place) {
                group.add(at, rule, body)?;
            }
        }
        let drafts = groups
            .into_iter()
            .map(|group| self.draft(group, prefix))
            .collect::<Outcome<_>>()?;
        Ok(Drafts { drafts, ignored })
    }

    /// A key of the mapping that is not in the file is a typo, unless it says to skip it.
    fn check_keys(&self, entries: &[Entry]) -> Outcome {
        let there: HashSet<&str> = entries.iter().map(|entry| entry.at.key.as_str()).collect();
        let missing = self
            .keys
            .iter()
            .find(|(key, rule)| !rule.skip && !there.contains(key.as_str()));
        match missing {
            Some((key, _)) => Err(Failure::usage(
                format!("the mapping file names the key {key:?}, which the input does not have"),
                "correct the key, or remove it from the mapping file",
            )),
            None => Ok(()),
        }
    }

    fn rule(&self, key: &str) -> Rule {
        if let Some(rule) = self.keys.get(key) {
            return rule.clone();
        }
        let prefixes = self.prefixes.iter();
        let fitting = prefixes
            .filter_map(|rule| Some((rule, key.strip_prefix(rule.prefix.as_str())?)))
            .next();
        match fitting {
            Some((rule, rest)) => Rule {
                name: rule
                    .name
                    .as_ref()
                    .map(|start| format!("{start}{}", default_name(rest))),
                r#type: rule.r#type.clone(),
                field: None,
                skip: rule.skip,
            },
            None => Rule {
                skip: self.others == Others::Skip,
                ..Rule::default()
            },
        }
    }

    fn draft(&self, group: Group, prefix: &str) -> Outcome<Draft> {
        let from: Vec<Origin> = group.parts.iter().map(|part| part.at.clone()).collect();
        let shown = Shown(&from);
        let name = CredentialName::new(format!("{prefix}{}", group.name)).map_err(|_| {
            Failure::usage(
                format!("{shown} cannot become the name of a credential"),
                "give it a name in a mapping file: at most 128 lower-case letters, digits, '.', '_', '-' and '/', \
                 a letter or digit at both ends",
            )
        })?;
        let shape = self.credentials.get(&group.name);
        let values = shape.map_or(const { &BTreeMap::new() }, |shape| &shape.values);
        let named = shape.and_then(|shape| shape.r#type.as_ref()).into_iter();
        let mut types = named.chain(group.rules.iter().filter_map(|rule| rule.r#type.as_ref()));
        let first = types.next();
        if let (Some(first), Some(other)) = (first, types.find(|other| Some(*other) != first)) {
            return Err(Failure::usage(
                format!(
                    "the mapping file makes {:?} both {first:?} and {other:?}",
                    group.name
                ),
                "name one type, under [credentials.NAME]",
            ));
        }
        let at = from.first().cloned().unwrap_or_else(|| Origin {
            key: String::new(),
            line: 0,
        });
        let info = first.map(|name| find_type(name, &at)).transpose()?;
        let made = match (group.into_content(), info) {
            (Content::Typed(info, json), _) => decode(info, &json),
            (Content::Whole(text), None) => guess(&text),
            (Content::Whole(text), Some(info)) => {
                only_field(info).and_then(|field| assemble(info, &[(field.to_owned(), text)], values))
            }
            (Content::Parts(parts), Some(info)) => assemble(info, &parts, values),
            (Content::Parts(_), None) => {
                return Err(Failure::usage(
                    format!("{shown} are fields of a credential without a type"),
                    format!("write `type = \"…\"` under [credentials.{name}]; `ncred types` lists them"),
                ));
            }
        };
        let credential = made.map_err(|failure| about(&shown, failure))?;
        Ok(Draft {
            name,
            credential: Incoming::Typed(credential),
            from,
        })
    }
}

/// The keys that become one credential.
struct Group {
    name: String,
    rules: Vec<Rule>,
    parts: Vec<Part>,
}

struct Part {
    at: Origin,
    field: Option<String>,
    body: Body,
}

/// What a credential is made of.
enum Content {
    Typed(&'static TypeInfo, Plaintext),
    Whole(Zeroizing<String>),
    Parts(Vec<(String, Zeroizing<String>)>),
}

impl Group {
    fn add(&mut self, at: Origin, rule: Rule, body: Body) -> Outcome {
        if matches!(body, Body::Typed(..)) && (rule.field.is_some() || rule.r#type.is_some()) {
            return Err(Failure::usage(
                format!("{at} says its own type, and the mapping file another"),
                "leave `type` and `field` out of the mapping file for this key",
            ));
        }
        let clash = self
            .parts
            .iter()
            .find(|part| part.field.is_none() || rule.field.is_none() || part.field == rule.field);
        if let Some(other) = clash {
            let what = match &rule.field {
                Some(field) if other.field == rule.field => format!("the field {field:?} of {:?}", self.name),
                _ => format!("{:?}", self.name),
            };
            return Err(Failure::usage(
                format!("{} and {at} both become {what}", other.at),
                "give one of them another name in a mapping file, or a `field` to each",
            ));
        }
        self.parts.push(Part {
            at,
            field: rule.field.clone(),
            body,
        });
        self.rules.push(rule);
        Ok(())
    }

    fn into_content(self) -> Content {
        let mut parts = Vec::new();
        for Part { field, body, .. } in self.parts {
            match (field, body) {
                (None, Body::Typed(info, json)) => return Content::Typed(info, json),
                (None, Body::Text(text)) => return Content::Whole(text),
                (Some(field), Body::Text(text)) => parts.push((field, text)),
                // `add` and `apply` let neither in.
                (_, Body::Nothing) | (Some(_), Body::Typed(..)) => {}
            }
        }
        Content::Parts(parts)
    }
}

/// The keys of a credential, for an error.
struct Shown<'a>(&'a [Origin]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, at) in self.0.iter().enumerate() {
            let between = match i {
                0 => "",
                _ if i + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{between}{at}")?;
        }
        Ok(())
    }
}

/// The name a key gets that no mapping names: in lower case, a run of anything else than letters, digits, `.`, `_`,
/// `-` and `/` as one `_`, a run of `.` or `/` as one, and nothing but a letter or digit at either end.
fn default_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    let mut foreign = false;
    for c in key.chars() {
        let c = c.to_ascii_lowercase();
        let lawful = c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let doubled = matches!(c, '.' | '/') && name.ends_with(c);
        if lawful && !doubled {
            name.push(c);
        } else if !lawful && !foreign {
            name.push('_');
        }
        foreign = !lawful;
    }
    name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
