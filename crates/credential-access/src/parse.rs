//! The text of a policy: its groups and roles here, a rule and its conditions each in a room of their own.

mod conditions;
mod rule;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use nebula_credential_core::{CredentialName, limits};
use toml::Spanned;
use toml::de::DeTable;

use crate::pattern::Pattern;
use crate::permissions::Permissions;
use crate::policy::{POLICY_BYTES_MAX, RULES_MAX};
use crate::principal::Who;
use crate::rule::Rule;
use crate::syntax::{Parsed, Text, Value};

/// The version of the language.
const LANGUAGE: &str = "1";

const TOP: &[&str] = &["version", "groups", "roles", "rules"];

/// The rules of a policy.
pub(crate) fn rules(text: &str) -> Parsed<Vec<Rule>> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(Text(text).error(
            0..0,
            format!(
                "the policy has {} bytes of at most {POLICY_BYTES_MAX}; put principals into groups, and use patterns",
                text.len()
            ),
        ));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0..0, |span| span);
        Text(text).error(
            at,
            "this is not TOML; check quotes, brackets and commas, and that no key or table stands twice",
        )
    })?;
    Reader {
        text: Text(text),
        groups: BTreeMap::new(),
        roles: BTreeMap::new(),
        principals: 0,
    }
    .read(&document)
}

struct Reader<'t> {
    text: Text<'t>,
    groups: BTreeMap<String, Who>,
    roles: BTreeMap<String, Permissions>,
    /// How many were named so far.
    principals: usize,
}

impl<'t> Reader<'t> {
    fn read(mut self, document: &Spanned<DeTable<'t>>) -> Parsed<Vec<Rule>> {
        let top = document.get_ref();
        self.text.check_keys(top, TOP, "a policy")?;
        let Some(version) = top.get("version") else {
            return Err(self
                .text
                .error(0..0, "there is no `version`; begin with: version = 1"));
        };
        let number = version.get_ref().as_integer();
        if number.is_none_or(|number| number.radix() != 10 || number.as_str() != LANGUAGE) {
            return Err(self.text.error(
                version.span(),
                "this version of the language is not known; write version = 1",
            ));
        }
        if let Some(groups) = top.get("groups") {
            for (name, members) in self.text.table(groups, "groups", "name = [\"user:alice\"]")? {
                self.name(name.get_ref(), name.span())?;
                let mut who = Who::default();
                for (member, at) in self.text.strings(members, "a group")? {
                    if member == "*" || who.add(member).is_err() {
                        return Err(self.text.error(
                            at,
                            format!(
                                "{member:?} is no member of a group; write user:NAME, service:NAME, workflow:NAME, \
                                 action:NAME (a `*` may end the name) or process"
                            ),
                        ));
                    }
                }
                self.groups.insert(name.get_ref().to_string(), who);
            }
        }
        if let Some(roles) = top.get("roles") {
            for (name, permissions) in self.text.table(roles, "roles", "name = [\"read\", \"use\"]")? {
                self.name(name.get_ref(), name.span())?;
                let permissions = self.permissions(permissions)?;
                self.roles.insert(name.get_ref().to_string(), permissions);
            }
        }
        let Some(rules) = top.get("rules") else {
            return Ok(Vec::new());
        };
        let Some(tables) = rules.get_ref().as_array() else {
            return Err(self.text.error(
                rules.span(),
                "`rules` is a list of tables; begin each with [[rules]]",
            ));
        };
        if tables.len() > RULES_MAX {
            return Err(self.text.error(
                rules.span(),
                format!(
                    "there are {} rules of at most {RULES_MAX}; use groups and patterns",
                    tables.len()
                ),
            ));
        }
        let mut ids = HashSet::new();
        let mut rules = Vec::with_capacity(tables.len());
        for table in tables.iter() {
            let rule = self.rule(table)?;
            if !ids.insert(Arc::clone(&rule.id)) {
                return Err(self.text.error(
                    table.span(),
                    format!(
                        "there is a rule {:?} already; give each an id of its own",
                        rule.id
                    ),
                ));
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    fn permissions(&self, value: &Value<'t>) -> Parsed<Permissions> {
        let mut permissions = Permissions::NONE;
        for (name, at) in self.text.strings(value, "a list of permissions")? {
            let one = match name {
                "*" => Some(Permissions::ALL),
                name => Permissions::named(name),
            };
            let Some(one) = one else {
                let known: Vec<&str> = Permissions::ALL.iter().map(|known| known.as_str()).collect();
                return Err(self.text.error(
                    at,
                    format!(
                        "{name:?} is no permission; there are {} and \"*\"",
                        known.join(", ")
                    ),
                ));
            };
            permissions = permissions.union(one);
        }
        Ok(permissions)
    }

    fn patterns(&self, table: &DeTable<'t>, key: &str) -> Parsed<Vec<Pattern>> {
        let Some(value) = table.get(key) else {
            return Ok(Vec::new());
        };
        let each = self.text.strings(value, &format!("`{key}`"))?;
        let patterns: Vec<Pattern> = each
            .into_iter()
            .map(|(text, at)| self.pattern(text, at, limits::NAME_BYTES))
            .collect::<Parsed<_>>()?;
        // No condition and one that is always met differ where the value may be unknown; a place is always known.
        let is_place = matches!(key, "scopes" | "names");
        if is_place && patterns.iter().any(Pattern::is_anything) {
            return Ok(Vec::new());
        }
        Ok(patterns)
    }

    fn pattern(&self, text: &str, at: Range<usize>, longest: usize) -> Parsed<Pattern> {
        if text.len() > longest {
            let message = format!(
                "this has {} bytes of at most {longest}; nothing it could match is longer",
                text.len()
            );
            return Err(self.text.error(at, message));
        }
        Pattern::parse(text).map_err(|flaw| self.text.error(at, format!("{text:?} {flaw}")))
    }

    fn name(&self, name: &str, at: Range<usize>) -> Parsed<()> {
        if CredentialName::new(name).is_ok() {
            return Ok(());
        }
        let message = "this is no name of a group or role; use lower-case letters, digits, `.`, `_` and `-`";
        Err(self.text.error(at, message))
    }
}

fn names<'n>(known: impl Iterator<Item = &'n String>) -> String {
    const SHOWN: usize = 20;
    let known: Vec<&str> = known.map(String::as_str).take(SHOWN + 1).collect();
    match known.len() {
        0 => "are none".to_owned(),
        count if count > SHOWN => "are many".to_owned(),
        _ => format!("are {}", known.join(", ")),
    }
}
