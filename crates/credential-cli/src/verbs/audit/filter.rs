//! Which records are wanted.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, ValueHint};
use nebula_credential::audit::{AuditSeed, Entry};
use nebula_credential::{CredentialName, CredentialRef, Permission, Principal};

use super::read_small;
use crate::args::parse;
use crate::exit::Outcome;
use crate::settings::Settings;

/// The stable names of events.
const EVENTS: [&str; 22] = [
    "accessed",
    "inspected",
    "created",
    "updated",
    "shared",
    "revoked",
    "rotated",
    "deleted",
    "purged",
    "restored",
    "permission_denied",
    "scope_violation",
    "emergency_access",
    "decryption_failed",
    "key_rotated",
    "policy_changed",
    "custom",
    "log_opened",
    "log_rotated",
    "log_recovered",
    "log_retired",
    "records_lost",
];

/// Any outcome but `ok`.
const FAILED: &str = "failed";

#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct Filter {
    /// Only of this principal, as in user:alice
    #[arg(long, value_name = "WHO", value_parser = parse::principal)]
    principal: Option<Principal>,
    /// Only of the credential of this name, in the tenant and scope that hold
    #[arg(long, value_name = "NAME", value_parser = parse::name)]
    name: Option<CredentialName>,
    /// The seed of the log, by which --name finds the records of a log that holds tags instead of names
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "name")]
    seed: Option<PathBuf>,
    /// Only with this tag, in a log that holds tags instead of names
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Option<String>,
    /// Only of this kind
    #[arg(long, value_name = "EVENT", value_parser = EVENTS)]
    event: Option<String>,
    /// Only that asked for this permission, such as read or admin
    #[arg(long, value_name = "PERMISSION", value_parser = parse::permission)]
    permission: Option<Permission>,
    /// Only that this rule of the policy decided, such as default-deny; with a `*` at the end, all that begin so: emergency:*
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only that ended so: ok, failed, or a kind of failure such as not_found
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Only since then: a time, or how long ago it was, such as 24h or 7d
    #[arg(long, value_name = "WHEN", value_parser = parse::moment)]
    since: Option<DateTime<Utc>>,
    /// Only until then
    #[arg(long, value_name = "WHEN", value_parser = parse::moment)]
    until: Option<DateTime<Utc>>,
}

fn tag(text: &str) -> Result<String, String> {
    let is_tag = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match is_tag {
        true => Ok(text.to_owned()),
        false => Err("a tag is 32 hexadecimal digits; copy it from a record".to_owned()),
    }
}

/// A filter, settled.
pub(super) struct Wanted {
    principal: Option<String>,
    id: Option<CredentialRef>,
    id_tag: Option<String>,
    tag: Option<String>,
    event: Option<String>,
    permission: Option<&'static str>,
    rule: Option<String>,
    outcome: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl Filter {
    pub(super) fn settle(&self, settings: &Settings) -> Outcome<Wanted> {
        let id = self
            .name
            .clone()
            .map(|name| CredentialRef::new(settings.tenant.clone(), settings.scope.clone(), name));
        let id_tag = match (&self.seed, &id) {
            (Some(path), Some(id)) => Some(AuditSeed::parse(&read_small(path, "seed")?)?.tag(id)),
            _ => None,
        };
        Ok(Wanted {
            principal: self.principal.as_ref().map(ToString::to_string),
            id,
            id_tag,
            tag: self.tag.clone(),
            event: self.event.clone(),
            permission: self.permission.map(Permission::as_str),
            rule: self.rule.clone(),
            outcome: self.outcome.clone(),
            since: self.since,
            until: self.until,
        })
    }
}

impl Wanted {
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&self.principal, &entry.principal)
            && self.is_of(entry)
            && is(&self.tag, &entry.tag)
            && self.event.as_ref().is_none_or(|event| *event == entry.event)
            && self
                .permission
                .is_none_or(|wanted| entry.permission.as_deref() == Some(wanted))
            && self.is_by(entry)
            && match self.outcome.as_deref() {
                Some(FAILED) => entry.outcome.as_deref().is_some_and(|outcome| outcome != "ok"),
                _ => is(&self.outcome, &entry.outcome),
            }
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
    }

    fn is_by(&self, entry: &Entry) -> bool {
        let Some(wanted) = &self.rule else {
            return true;
        };
        let found = entry.rule.as_deref();
        match wanted.strip_suffix('*') {
            Some(beginning) => found.is_some_and(|rule| rule.starts_with(beginning)),
            None => found == Some(wanted),
        }
    }

    fn is_of(&self, entry: &Entry) -> bool {
        let Some(id) = &self.id else {
            return true;
        };
        let is_named = entry.name.as_deref() == Some(id.name().as_str())
            && entry.tenant.as_deref() == Some(id.tenant().as_str())
            && entry.scope.as_deref() == Some(id.scope().as_str());
        is_named || (self.id_tag.is_some() && self.id_tag == entry.tag)
    }
}
