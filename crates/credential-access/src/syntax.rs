//! TOML with lines: the shapes a policy is made of.

use std::fmt;
use std::ops::Range;

use chrono::{DateTime, Utc};
use nebula_credential_core::CredentialError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with the text of a policy.
///
/// Values are quoted only where a policy has names; a file that is none is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    line: usize,
    message: String,
}

impl PolicyError {
    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong there, and what to write.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access policy, line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for PolicyError {}

impl From<PolicyError> for CredentialError {
    fn from(error: PolicyError) -> Self {
        Self::parse_error(error.to_string())
    }
}

pub(crate) type Parsed<T> = Result<T, PolicyError>;
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

#[derive(Clone, Copy)]
pub(crate) struct Text<'t>(pub(crate) &'t str);

impl Text<'_> {
    pub(crate) fn error(self, at: Range<usize>, message: impl Into<String>) -> PolicyError {
        let before = self.0.as_bytes().iter().take(at.start);
        PolicyError {
            line: before.filter(|byte| **byte == b'\n').count() + 1,
            message: message.into(),
        }
    }

    /// The strings of a list that has any.
    pub(crate) fn strings<'v>(
        self,
        value: &'v Value<'_>,
        what: &str,
    ) -> Parsed<Vec<(&'v str, Range<usize>)>> {
        let shape = || {
            self.error(
                value.span(),
                format!("{what} is a list of strings; write [\"...\"]"),
            )
        };
        let list = value.get_ref().as_array().ok_or_else(shape)?;
        if list.is_empty() {
            return Err(self.error(
                value.span(),
                format!("{what} is an empty list; fill it, or leave it out"),
            ));
        }
        list.iter()
            .map(|item| {
                let text = item.get_ref().as_str();
                let shape = || {
                    self.error(
                        item.span(),
                        format!("{what} is a list of strings; write [\"...\"]"),
                    )
                };
                Ok((text.ok_or_else(shape)?, item.span()))
            })
            .collect()
    }

    pub(crate) fn table<'v, 't>(
        self,
        value: &'v Value<'t>,
        key: &str,
        example: &str,
    ) -> Parsed<&'v DeTable<'t>> {
        let shape = || self.error(value.span(), format!("`{key}` is a table; write {example}"));
        value.get_ref().as_table().ok_or_else(shape)
    }

    pub(crate) fn boolean(self, value: &Value<'_>, key: &str) -> Parsed<bool> {
        let shape = || self.error(value.span(), format!("`{key}` is true or false, unquoted"));
        value.get_ref().as_bool().ok_or_else(shape)
    }

    pub(crate) fn time(self, table: &DeTable<'_>, key: &str) -> Parsed<Option<DateTime<Utc>>> {
        let Some(value) = table.get(key) else {
            return Ok(None);
        };
        let time = value.get_ref().as_datetime().and_then(|time| {
            let time = DateTime::parse_from_rfc3339(&time.to_string()).ok()?;
            Some(time.to_utc())
        });
        let message =
            format!("`{key}` is a time with its offset, unquoted; write {key} = 2027-01-01T00:00:00Z");
        time.map(Some).ok_or_else(|| self.error(value.span(), message))
    }

    /// Refuses a key that is not known: a rule that was misspelt must not hold in part.
    pub(crate) fn check_keys(self, table: &DeTable<'_>, known: &[&str], what: &str) -> Parsed<()> {
        let stray = table.keys().find(|key| !known.contains(&key.get_ref().as_ref()));
        match stray {
            None => Ok(()),
            Some(key) => Err(self.error(
                key.span(),
                format!("this is no key of {what}; there are {}", known.join(", ")),
            )),
        }
    }
}
