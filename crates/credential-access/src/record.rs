//! What lies on a record for access control: its owner and its grants, as reserved tags.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use nebula_credential_core::{
    CredentialError, Permission, Precondition, Principal, RecordHead, Tags, Update,
};

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
    principal::parse(tags.get(OWNER_TAG)?)
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
        let to = principal::parse(words.next()?)?;
        let permissions = Permissions::parse(words.next()?)?;
        let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
        let mut word = words.next()?;
        let mut until = None;
        if let Some(end) = word.strip_prefix("until=") {
            until = Some(time(end)?);
            word = words.next()?;
        }
        let by = principal::parse(word.strip_prefix("by=")?)?;
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

/// A change of who a credential is shared with.
///
/// [`apply`](Self::apply) makes a request of it, to be sent with [`Permission::Share`] through an
/// [`AccessLayer`](crate::AccessLayer), which checks it: nobody grants what he lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// Shares permissions, in the place of what the same principal shared with that one before.
    Grant {
        /// With whom.
        to: Principal,
        /// Which.
        permissions: Permissions,
        /// Until when, if not for good.
        until: Option<DateTime<Utc>>,
    },
    /// Ends everything that is shared with this one.
    Revoke {
        /// With whom.
        from: Principal,
    },
    /// Gives an owner to a credential that has none, which takes [`Permission::Admin`].
    Adopt {
        /// Who shall own it.
        owner: Principal,
    },
}

impl Sharing {
    /// The request that makes this change to the credential of `head`, on behalf of `by` at `now`.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] for a grant of nothing, or one that has ended;
    /// [`CredentialError::LimitExceeded`] for one too many; [`CredentialError::InvalidState`] where there is an owner,
    /// or nothing to end.
    pub fn apply(
        &self,
        head: &RecordHead,
        by: &Principal,
        now: DateTime<Utc>,
    ) -> Result<Update, CredentialError> {
        let mut kept: Vec<(&str, &str)> = head.tags.iter().collect();
        let parsed = |key: &str, value: &str| {
            key.starts_with(GRANT_PREFIX)
                .then(|| Grant::parse(value))
                .flatten()
        };
        let tags = match self {
            Self::Grant {
                to,
                permissions,
                until,
            } => {
                if permissions.is_empty() {
                    return Err(CredentialError::validation(
                        "a grant of no permission; name what to share",
                    ));
                }
                if until.is_some_and(|until| until <= now) {
                    return Err(CredentialError::validation(
                        "a grant that has ended already; name a later time",
                    ));
                }
                kept.retain(|(key, value)| {
                    parsed(key, value).is_none_or(|old| old.to != *to || old.by != *by)
                });
                let taken = |number: &usize| !kept.iter().any(|(key, _)| *key == grant_key(*number));
                let Some(number) = (1..=GRANTS_MAX).find(taken) else {
                    return Err(CredentialError::limit("grants", GRANTS_MAX, GRANTS_MAX + 1));
                };
                let grant = Grant {
                    to: to.clone(),
                    permissions: *permissions,
                    until: *until,
                    by: by.clone(),
                    at: now,
                };
                let mut tags = Tags::from_pairs(kept)?;
                tags.insert(&grant_key(number), &grant.to_string())?;
                tags
            }
            Self::Revoke { from } => {
                let before = kept.len();
                kept.retain(|(key, value)| parsed(key, value).is_none_or(|old| old.to != *from));
                if kept.len() == before {
                    return Err(CredentialError::invalid_state(format!(
                        "nothing is shared with {from}; its tags show with whom the credential is"
                    )));
                }
                Tags::from_pairs(kept)?
            }
            Self::Adopt { owner } => {
                if head.tags.get(OWNER_TAG).is_some() {
                    return Err(CredentialError::invalid_state(
                        "the credential has an owner, for good; store it anew under another name",
                    ));
                }
                let mut tags = Tags::from_pairs(kept)?;
                tags.insert(OWNER_TAG, &owner.to_string())?;
                tags
            }
        };
        Ok(Update {
            id: head.id.clone(),
            tags: Some(tags),
            phase: None,
            precondition: Precondition::None,
        })
    }
}

fn grant_key(number: usize) -> String {
    format!("{GRANT_PREFIX}{number}")
}

/// Checks a change of grants from `current` to `wanted` by `by`, who is permitted `has` at `now`.
pub(crate) fn check_sharing(
    current: &Tags,
    wanted: &Tags,
    by: &Principal,
    has: Permissions,
    now: DateTime<Utc>,
) -> Result<(), CredentialError> {
    let beside = |tags: &Tags| -> Vec<(String, String)> {
        let pairs = tags.iter().filter(|(key, _)| !Tags::is_reserved(key));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    if beside(current) != beside(wanted) {
        return Err(CredentialError::invalid_state(
            "sharing changes no other tags, or they changed meanwhile; read the credential again and retry",
        ));
    }
    let gone = current
        .iter()
        .filter(|(key, _)| Tags::is_reserved(key) && wanted.get(key).is_none());
    let mut ended = gone.map(|(key, value)| (key, value, None));
    let given = wanted
        .iter()
        .filter(|(key, value)| Tags::is_reserved(key) && current.get(key) != Some(value));
    let mut begun = given.map(|(key, value)| (key, current.get(key).unwrap_or_default(), Some(value)));
    let administers = has.contains(Permission::Admin);
    let owns = is_owner(current, by);
    let lawful = |(key, old, new): (&str, &str, Option<&str>)| {
        if key == OWNER_TAG {
            // The first owner stays.
            return old.is_empty() && administers && new.is_some_and(|new| principal::parse(new).is_some());
        }
        // What another shared, only the owner ends, or who administers everything.
        let may_end =
            old.is_empty() || administers || owns || Grant::parse(old).is_none_or(|old| old.by == *by);
        let may_begin = new.is_none_or(|new| {
            let grant = Grant::parse(new).filter(|_| is_grant_key(key));
            grant.is_some_and(|grant| {
                grant.by == *by && grant.at <= now && grant.permissions.implied().minus(has).is_empty()
            })
        });
        may_end && may_begin
    };
    if ended.all(lawful) && begun.all(lawful) {
        return Ok(());
    }
    Err(CredentialError::access_denied(
        "nobody grants what he lacks, ends what others granted on what is not his, or changes the owner; share less",
    ))
}

fn is_grant_key(key: &str) -> bool {
    let number = key
        .strip_prefix(GRANT_PREFIX)
        .and_then(|number| number.parse().ok());
    number.is_some_and(|number: usize| (1..=GRANTS_MAX).contains(&number) && key == grant_key(number))
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
