//! Changes of who a credential is shared with, and which of them are lawful.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use nebula_credential_core::{
    CredentialError, Permission, Precondition, Principal, RecordHead, Tags, Update,
};

use crate::permissions::Permissions;
use crate::record::{GRANT_PREFIX, GRANTS_MAX, Grant, OWNER_TAG, granted, grants, is_owner, owner};

/// A change of who a credential is shared with.
///
/// [`apply`](Self::apply) makes a request of it, to be sent with [`Permission::Share`] through an
/// [`AccessLayer`](crate::AccessLayer), which checks it: nobody grants what they lack.
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
    /// Ends everything that is shared with this one, and with it what that one shared in turn, and so on; the owner's
    /// own grants stay. Who has it by a grant without [`Permission::Admin`] ends so what they shared with this one
    /// themselves: what others did is not theirs to end, and stays.
    Revoke {
        /// With whom.
        from: Principal,
    },
    /// Gives an owner to a credential that has none, or none that can be read, which takes [`Permission::Admin`].
    Adopt {
        /// Who shall own it.
        owner: Principal,
    },
}

impl Sharing {
    /// The request that makes this change to the credential of `head`, on behalf of `by` at `now`.
    ///
    /// # Errors
    /// [`CredentialError::Validation`] for a grant of nothing, to oneself, or one that has ended;
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
                if to == by {
                    return Err(CredentialError::validation(
                        "a grant to oneself, which gives nothing; name another principal",
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
                let shared = |grant: &Grant| grant.to == *from;
                let own = |grant: &Grant| shared(grant) && grant.by == *by;
                // Where none is their own, all are asked for, and the refusal says why.
                let ended = if passes_on(&head.tags, by, now) && grants(&head.tags).any(|grant| own(&grant)) {
                    ended_with(&head.tags, own, now)
                } else {
                    ended_with(&head.tags, shared, now)
                };
                kept.retain(|(key, _)| !ended.contains(key));
                if ended.is_empty() {
                    return Err(CredentialError::invalid_state(format!(
                        "nothing is shared with {from}; its tags show with whom the credential is"
                    )));
                }
                Tags::from_pairs(kept)?
            }
            Self::Adopt { owner: adopter } => {
                if owner(&head.tags).is_some() {
                    return Err(CredentialError::invalid_state(
                        "the credential has an owner, for good; store it anew under another name",
                    ));
                }
                let mut tags = Tags::from_pairs(kept)?;
                tags.insert(OWNER_TAG, &adopter.to_string())?;
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

/// What a change of tags from `before` to `after` does to grants and owner, in words: `grant read to user:bob until
/// 2027-01-01T00:00:00Z; end use to user:carol`. Nothing for other tags; by what it is bounded are the tags.
pub fn sharing_difference(before: &Tags, after: &Tags) -> String {
    let grants = |these: &Tags, those: &Tags| -> Vec<Grant> {
        let changed = these
            .iter()
            .filter(|(key, value)| key.starts_with(GRANT_PREFIX) && those.get(key) != Some(value));
        changed.filter_map(|(_, value)| Grant::parse(value)).collect()
    };
    let told = |what: &str, grant: Grant| {
        let until = grant
            .until
            .map(|until| until.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        format!("{what} {} to {}{until}", grant.permissions, grant.to)
    };
    let mut parts = Vec::new();
    parts.extend(
        grants(after, before)
            .into_iter()
            .map(|grant| told("grant", grant)),
    );
    parts.extend(grants(before, after).into_iter().map(|grant| told("end", grant)));
    if let Some(owner) = after
        .get(OWNER_TAG)
        .filter(|owner| before.get(OWNER_TAG) != Some(owner))
    {
        parts.push(format!("owner {owner}"));
    }
    parts.join("; ")
}

fn grant_key(number: usize) -> String {
    format!("{GRANT_PREFIX}{number}")
}

/// Whether `who` has what they share by grants alone, as far as the tags tell: neither as the owner nor as one who was
/// granted [`Permission::Admin`].
fn passes_on(tags: &Tags, who: &Principal, now: DateTime<Utc>) -> bool {
    let granted = granted(tags, who, now);
    !granted.is_empty() && !granted.contains(Permission::Admin) && !is_owner(tags, who)
}

/// The keys of the grants among `tags` that end where those end that `begin` picks: they themselves, and what was granted
/// by someone to whom then nothing is granted any more that holds at `now`, but what hangs on it. The owner needs no grant
/// to share.
fn ended_with(tags: &Tags, begin: impl Fn(&Grant) -> bool, now: DateTime<Utc>) -> BTreeSet<&str> {
    let all: Vec<(&str, Grant)> = tags
        .iter()
        .filter(|(key, _)| key.starts_with(GRANT_PREFIX))
        .filter_map(|(key, value)| Some((key, Grant::parse(value)?)))
        .collect();
    let picked = all.iter().filter(|(_, grant)| begin(grant));
    let begun: BTreeSet<&str> = picked.map(|(key, _)| *key).collect();
    let mut ended = begun.clone();
    let loses = |ended: &BTreeSet<&str>, by: &Principal| {
        all.iter()
            .any(|(key, grant)| grant.to == *by && ended.contains(key))
    };
    // All that may hang on it. Ends: each round but the last adds one of at most [`GRANTS_MAX`].
    loop {
        let next = all.iter().filter(|(key, grant)| {
            !ended.contains(key) && loses(&ended, &grant.by) && !is_owner(tags, &grant.by)
        });
        let next: Vec<&str> = next.map(|(key, _)| *key).collect();
        if next.is_empty() {
            break;
        }
        ended.extend(next);
    }
    // But for what those granted who have it from elsewhere. In this order: two who granted it to each other keep nothing.
    loop {
        let has_another = |to: &Principal| {
            all.iter()
                .any(|(key, grant)| grant.to == *to && !ended.contains(key) && grant.holds(now))
        };
        let stays = all.iter().filter(|(key, grant)| {
            let hangs = ended.contains(key) && !begun.contains(key);
            hangs && (has_another(&grant.by) || !loses(&ended, &grant.by))
        });
        let stays: Vec<&str> = stays.map(|(key, _)| *key).collect();
        if stays.is_empty() {
            return ended;
        }
        ended.retain(|key| !stays.contains(key));
    }
}

/// `tags` without the grants to `who` that end before `until` does: what is left lasts as long.
pub(crate) fn lasting(
    tags: &Tags,
    who: &Principal,
    until: Option<DateTime<Utc>>,
) -> Result<Tags, CredentialError> {
    let ends_before = |end: DateTime<Utc>| until.is_none_or(|until| end < until);
    let kept = tags.iter().filter(|(key, value)| {
        let grant = Grant::parse(value).filter(|grant| key.starts_with(GRANT_PREFIX) && grant.to == *who);
        !grant.and_then(|grant| grant.until).is_some_and(ends_before)
    });
    Tags::from_pairs(kept)
}

/// Checks a change of grants from `current` to `wanted` by `by` at `now`, to whom `has` is permitted under the tags it is
/// given.
pub(crate) fn check_sharing(
    current: &Tags,
    wanted: &Tags,
    by: &Principal,
    has: impl Fn(&Tags) -> Permissions,
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
    let administers = has(current).contains(Permission::Admin);
    let owns = is_owner(current, by);
    let changed = |key: &str| current.get(key) != wanted.get(key);
    // What another shared, only the owner ends, or who administers everything, or who ends what that one had it from.
    let may_end = ended_with(current, |grant| grant.by == *by, now);
    let may_end =
        |key: &str, old: &str| administers || owns || Grant::parse(old).is_none() || may_end.contains(key);
    let may_begin = |key: &str, new: &str| {
        let Some(grant) = Grant::parse(new).filter(|_| is_grant_key(key)) else {
            return Ok(false);
        };
        // What one has for a time is granted for no longer.
        let has = has(&lasting(current, by, grant.until)?);
        Ok::<_, CredentialError>(
            grant.by == *by
                && grant.to != *by
                && grant.at <= now
                && grant.permissions.implied().minus(has).is_empty(),
        )
    };
    let ended = current.iter().filter(|(key, _)| wanted.get(key).is_none());
    let begun = wanted.iter().filter(|(key, _)| changed(key));
    let both = ended
        .map(|(key, _)| (key, None))
        .chain(begun.map(|(key, new)| (key, Some(new))));
    for (key, new) in both {
        let old = current.get(key);
        let lawful = if key == OWNER_TAG {
            // The first owner stays; what names none is repaired.
            owner(current).is_none() && administers && new.is_some_and(|new| new.parse::<Principal>().is_ok())
        } else if old.is_some_and(|old| !may_end(key, old)) {
            return Err(CredentialError::access_denied(
                "nobody ends what others granted on what is not theirs; ask who granted it, or the owner",
            ));
        } else {
            new.map_or(Ok(true), |new| may_begin(key, new))?
        };
        if !lawful {
            return Err(CredentialError::access_denied(
                "nobody grants what they lack, for longer than they have it, or to themselves, or changes the owner; share \
                 less",
            ));
        }
    }
    Ok(())
}

fn is_grant_key(key: &str) -> bool {
    let number = key
        .strip_prefix(GRANT_PREFIX)
        .and_then(|number| number.parse().ok());
    number.is_some_and(|number: usize| (1..=GRANTS_MAX).contains(&number) && key == grant_key(number))
}
