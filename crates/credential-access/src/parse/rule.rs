//! A rule, key by key.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use nebula_credential_core::{CredentialName, Decision, Tags, TenantId, limits};
use toml::de::DeTable;

use super::{Reader, names};
use crate::condition::Conditions;
use crate::pattern::Pattern;
use crate::permissions::Permissions;
use crate::policy::DEFAULT_DENY;
use crate::principal::Who;
use crate::rule::{Effect, Rule};
use crate::syntax::{Parsed, Value};

/// Most principals the rules may name together, each member of a group counted in each rule.
const PRINCIPALS_MAX: usize = 100_000;

const RULE: &[&str] = &[
    "id",
    "effect",
    "principals",
    "permissions",
    "roles",
    "tenants",
    "scopes",
    "names",
    "tags",
    "when",
    "unless",
    "emergency",
];

impl<'t> Reader<'t> {
    pub(super) fn rule(&mut self, value: &Value<'t>) -> Parsed<Rule> {
        let Some(table) = value.get_ref().as_table() else {
            return Err(self
                .text
                .error(value.span(), "a rule is a table; begin it with [[rules]]"));
        };
        self.text.check_keys(table, RULE, "a rule")?;
        let require = |key: &str, remedy: &str| {
            let missing = || {
                self.text
                    .error(value.span(), format!("a rule without `{key}`; {remedy}"))
            };
            table.get(key).ok_or_else(missing)
        };
        let id = require("id", "give it a name to be known by: id = \"...\"")?;
        let principals = require("principals", "say whom it is about; \"*\" is everyone")?;
        let tenants = require("tenants", "say in which tenants it holds; \"*\" is every tenant")?;
        let effect = require("effect", "write effect = \"allow\" or effect = \"deny\"")?;
        let id = self.id(id)?;
        let effect = match effect.get_ref().as_str() {
            Some("allow") => Effect::Allow,
            Some("deny") => Effect::Deny,
            _ => {
                return Err(self
                    .text
                    .error(effect.span(), "an effect is \"allow\" or \"deny\""));
            }
        };
        let emergency = match table.get("emergency") {
            None => false,
            Some(value) => {
                let emergency = self.text.boolean(value, "emergency")?;
                if emergency && effect == Effect::Deny {
                    return Err(self
                        .text
                        .error(value.span(), "a rule for emergencies allows; remove `emergency`"));
                }
                emergency
            }
        };
        let permissions = self.rule_permissions(table, value.span(), effect)?;
        let mut rule = Rule {
            id,
            effect,
            emergency,
            who: self.who(principals)?,
            permissions,
            tenants: self.tenants(tenants)?,
            scopes: self.patterns(table, "scopes")?,
            names: self.patterns(table, "names")?,
            tags: Vec::new(),
            when: Conditions::default(),
            unless: None,
        };
        if let Some(tags) = table.get("tags") {
            rule.tags = self.tags(tags)?;
        }
        if let Some(when) = table.get("when") {
            rule.when = self.conditions(when, "when")?;
        }
        if let Some(unless) = table.get("unless") {
            rule.unless = Some(self.conditions(unless, "unless")?);
        }
        Ok(rule)
    }

    fn id(&self, value: &Value<'t>) -> Parsed<Arc<str>> {
        let reserved = [DEFAULT_DENY, crate::LIST_FILTER, Decision::ALLOW_LIST];
        let lawful = |id: &&str| CredentialName::new(id).is_ok() && !reserved.contains(id);
        match value.get_ref().as_str().filter(lawful) {
            Some(id) => Ok(id.into()),
            None => Err(self.text.error(
                value.span(),
                format!(
                    "this is no id of a rule; use lower-case letters, digits and `-`, and none of {}",
                    reserved.join(", ")
                ),
            )),
        }
    }

    fn rule_permissions(&self, table: &DeTable<'t>, at: Range<usize>, effect: Effect) -> Parsed<Permissions> {
        let mut permissions = match table.get("permissions") {
            Some(value) => self.permissions(value)?,
            None => Permissions::NONE,
        };
        if let Some(roles) = table.get("roles") {
            for (name, at) in self.text.strings(roles, "`roles`")? {
                let Some(role) = self.roles.get(name) else {
                    let known = names(self.roles.keys());
                    return Err(self
                        .text
                        .error(at, format!("there is no role {name:?}; there {known}")));
                };
                permissions = permissions.union(*role);
            }
        }
        if permissions.is_empty() {
            let message =
                "a rule without `permissions` or `roles`; say what it is about; \"*\" is everything";
            return Err(self.text.error(at, message));
        }
        Ok(match effect {
            Effect::Allow => permissions.implied(),
            Effect::Deny => permissions,
        })
    }

    fn who(&mut self, value: &Value<'t>) -> Parsed<Who> {
        let mut who = Who::default();
        for (text, at) in self.text.strings(value, "`principals`")? {
            match text {
                "owner" => who.owner = true,
                "granted" => who.granted = true,
                _ => match text.strip_prefix("group:") {
                    Some(name) => {
                        let Some(group) = self.groups.get(name) else {
                            let known = names(self.groups.keys());
                            return Err(self
                                .text
                                .error(at, format!("there is no group {name:?}; there {known}")));
                        };
                        who.extend(group);
                    }
                    None => who
                        .add(text)
                        .map_err(|flaw| self.text.error(at, format!("{text:?} {flaw}")))?,
                },
            }
        }
        self.principals += who.len();
        if self.principals > PRINCIPALS_MAX {
            return Err(self.text.error(
                value.span(),
                format!("the rules name more than {PRINCIPALS_MAX} principals; write fewer rules about the same group"),
            ));
        }
        Ok(who)
    }

    fn tenants(&self, value: &Value<'t>) -> Parsed<Option<HashSet<TenantId>>> {
        let mut tenants = HashSet::new();
        let mut every = false;
        for (text, at) in self.text.strings(value, "`tenants`")? {
            if text == "*" {
                every = true;
                continue;
            }
            let tenant = TenantId::new(text).map_err(|_| {
                self.text.error(
                    at,
                    format!("{text:?} is no tenant; write its whole name, or \"*\""),
                )
            })?;
            tenants.insert(tenant);
        }
        Ok((!every).then_some(tenants))
    }

    fn tags(&self, value: &Value<'t>) -> Parsed<Vec<(Box<str>, Pattern)>> {
        let mut tags = Vec::new();
        for (key, value) in self.text.table(value, "tags", "tags = { team = \"payments\" }")? {
            let (name, at) = (key.get_ref(), key.span());
            if Tags::is_reserved(name) {
                let message =
                    "this tag is set by access control; write principals = [\"owner\"] or [\"granted\"]";
                return Err(self.text.error(at, message));
            }
            if CredentialName::new(name).is_err() {
                let message =
                    "this is no key of a tag; use lower-case letters, digits, `.`, `_`, `-` and `/`";
                return Err(self.text.error(at, message));
            }
            let Some(text) = value.get_ref().as_str() else {
                let message = "a tag is text or a pattern; write tags = { team = \"payments\" }";
                return Err(self.text.error(value.span(), message));
            };
            tags.push((
                name.as_ref().into(),
                self.pattern(text, value.span(), limits::TAG_VALUE_BYTES)?,
            ));
        }
        Ok(tags)
    }
}
