//! What lies on a record for access control: its owner and its grants, as reserved tags.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use nebula_credential_core::{Principal, Tags};

use crate::permissions::Permissions;
use crate::principal;

/// What the keys of tags begin with that only access control sets.
pub const RESERVED_PREFIX: &str = Tags::RESERVED_PREFIX;

/// The tag that names the owner of a credential.
pub const OWNER_TAG: &str = "nebula.access/owner";

/// What the key of each grant begins with; a number follows.
pub(crate) const GRANT_PREFIX: &str = "nebula.access/grant-";

/// Most grants on one credential: half of the [tags](nebula_credential_core::limits::TAGS) it may have.
pub const GRANTS_MAX: usize = 32;

/// Who owns the credential these tags are of, if anyone does: a credential that was stored without access control has
/// no owner.
pub fn owner(tags: &Tags) -> Option<Principal> {
    tags.get(OWNER_TAG)?.parse().ok()
}

pub(crate) fn is_owner(tags: &Tags, who: &Principal) -> bool {
    tags.get(OWNER_TAG).is_some_and(|owner| principal::is(who, owner))
}

/// The grants on the credential these tags are of. What is not well formed grants nothing.
pub fn grants(tags: &Tags) -> impl Iterator<Item = Grant> {
    tags.iter()
        .filter(|(key, _)| key.starts_with(GRANT_PREFIX))
        .filter_map(|(_, value)| Grant::parse(value))
}

/// What `who` is granted at `now`. Allocates nothing for the grants of others.
pub(crate) fn granted(tags: &Tags, who: &Principal, now: DateTime<Utc>) -> Permissions {
    let values = tags.iter().filter(|(key, _)| key.starts_with(GRANT_PREFIX));
    let own = values.filter(|(_, value)| {
        let to = value.split(' ').next();
        to.is_some_and(|to| principal::is(who, to))
    });
    own.filter_map(|(_, value)| Grant::parse(value))
        .filter(|grant| grant.holds(now))
        .fold(Permissions::NONE, |all, grant| {
            all.union(grant.permissions.implied())
        })
}

/// Permissions on one credential that someone shares with another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// With whom.
    pub to: Principal,
    /// Which.
    pub permissions: Permissions,
    /// Until when, if not for good.
    pub until: Option<DateTime<Utc>>,
    /// Who shares them.
    pub by: Principal,
    /// Since when.
    pub at: DateTime<Utc>,
}

impl Grant {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let to = words.next()?.parse().ok()?;
        let permissions = Permissions::parse(words.next()?)?;
        let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
        let mut word = words.next()?;
        let mut until = None;
        if let Some(end) = word.strip_prefix("until=") {
            until = Some(time(end)?);
            word = words.next()?;
        }
        let by = word.strip_prefix("by=")?.parse().ok()?;
        let at = time(words.next()?.strip_prefix("at=")?)?;
        let grant = Self {
            to,
            permissions,
            until,
            by,
            at,
        };
        (words.next().is_none() && grant.to_string() == text).then_some(grant)
    }
}

/// As it stands in a tag: `user:bob read+use until=2027-01-01T00:00:00Z by=user:alice at=2026-01-01T00:00:00Z`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        write!(f, "{} {}", self.to, self.permissions)?;
        if let Some(until) = self.until {
            write!(f, " until={}", time(until))?;
        }
        write!(f, " by={} at={}", self.by, time(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in [
            "user:bob read+use until=2027-01-01T00:00:00Z by=user:alice at=2026-01-01T00:00:00Z",
            "service:x/y use by=process at=2026-01-01T00:00:00.000001Z",
        ] {
            assert_eq!(Grant::parse(text).unwrap().to_string(), text);
            let cuts = text.char_indices().map(|(cut, _)| text.get(..cut).unwrap());
            for cut in cuts {
                assert_eq!(Grant::parse(cut), None, "{cut}");
            }
        }
        for text in [
            "user:bob  read by=process at=2026-01-01T00:00:00Z",
            "user:bob use+read by=process at=2026-01-01T00:00:00Z",
            "user:bob read by=process at=2026-01-01T00:00:00+00:00",
            "user:bob read by=process at=2026-01-01T00:00:00Z ",
            "user:bob read by=process until=2027-01-01T00:00:00Z at=2026-01-01T00:00:00Z",
            "group:x read by=process at=2026-01-01T00:00:00Z",
        ] {
            assert_eq!(Grant::parse(text), None, "{text}");
        }
    }
}
