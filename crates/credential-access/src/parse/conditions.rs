//! The conditions of a rule, key by key.

use crate::condition::{Conditions, Days, Hours};
use crate::network::Network;
use crate::syntax::{Parsed, Value};

use super::Reader;

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

impl<'t> Reader<'t> {
    /// What a rule says under `when` or `unless`.
    pub(super) fn conditions(&self, value: &Value<'t>, key: &'static str) -> Parsed<Conditions> {
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
}
