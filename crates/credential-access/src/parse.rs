//! The text of a policy.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use nebula_credential_core::{CredentialName, Decision, Tags, TenantId, limits};
use toml::Spanned;
use toml::de::DeTable;

use crate::condition::{Conditions, Days, Hours};
use crate::network::Network;
use crate::pattern::Pattern;
use crate::permissions::Permissions;
use crate::policy::{DEFAULT_DENY, POLICY_BYTES_MAX, RULES_MAX};
use crate::principal::Who;
use crate::rule::{Effect, Rule};
use crate::syntax::{Parsed, Text, Value};

/// The version of the language.
const LANGUAGE: &str = "1";

/// Most principals the rules may name together, each member of a group counted in each rule.
const PRINCIPALS_MAX: usize = 100_000;

const TOP: &[&str] = &["version", "groups", "roles", "rules"];
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
const CONDITIONS: &[&str] = &[
    "environments",
    "networks",
    "mfa",
    "purposes",
    "workflows",
    "nodes",
    "users",
    "hours",
    "days",
    "from",
    "until",
];

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

    fn rule(&mut self, value: &Value<'t>) -> Parsed<Rule> {
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

    fn conditions(&self, value: &Value<'t>, key: &'static str) -> Parsed<Conditions> {
        let Some(table) = value.get_ref().as_table() else {
            let message = format!("`{key}` is a table of conditions; write {key} = {{ mfa = true }}");
            return Err(self.text.error(value.span(), message));
        };
        self.text.check_keys(table, CONDITIONS, "a condition")?;
        let mut conditions = Conditions {
            environments: self.patterns(table, "environments")?,
            purposes: self.patterns(table, "purposes")?,
            workflows: self.patterns(table, "workflows")?,
            nodes: self.patterns(table, "nodes")?,
            users: self.patterns(table, "users")?,
            from: self.text.time(table, "from")?,
            until: self.text.time(table, "until")?,
            ..Conditions::default()
        };
        if let Some(networks) = table.get("networks") {
            for (text, at) in self.text.strings(networks, "`networks`")? {
                let network =
                    Network::parse(text).map_err(|flaw| self.text.error(at, format!("{text:?} {flaw}")))?;
                conditions.networks.push(network);
            }
        }
        if let Some(mfa) = table.get("mfa") {
            conditions.mfa = Some(self.text.boolean(mfa, "mfa")?);
        }
        if let Some(hours) = table.get("hours") {
            let found = hours.get_ref().as_str().and_then(Hours::parse);
            let message = "hours are two times of day in UTC that differ; write hours = \"08:00-18:00\"";
            conditions.hours = Some(found.ok_or_else(|| self.text.error(hours.span(), message))?);
        }
        if let Some(days) = table.get("days") {
            let mut found = Days::default();
            for (text, at) in self.text.strings(days, "`days`")? {
                let message = "there is no such day; write mon, tue, wed, thu, fri, sat or sun";
                found.add(text).ok_or_else(|| self.text.error(at, message))?;
            }
            conditions.days = found;
        }
        if conditions.is_empty() {
            let message = format!("`{key}` holds no condition; remove it, or write {key} = {{ mfa = true }}");
            return Err(self.text.error(value.span(), message));
        }
        if conditions
            .from
            .zip(conditions.until)
            .is_some_and(|(from, until)| until <= from)
        {
            return Err(self.text.error(
                value.span(),
                "`until` is not later than `from`; the rule would never hold",
            ));
        }
        Ok(conditions)
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
