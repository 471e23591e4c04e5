//! `ncred share` and `ncred sharing`: the grants on one credential.

use chrono::{DateTime, Utc};
use clap::Args;
use nebula_credential::access::{Grant, Permissions, Sharing, grants};
use nebula_credential::{
    Clock as _, CredentialMetadata, CredentialName, Permission, Principal, SystemClock, Tags,
};
use serde::Serialize;

use super::explain;
use super::view::{short, time};
use crate::args::{Named, parse};
use crate::exit::Outcome;
use crate::output::Output;
use crate::unlock::Session;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred share db --with service:web --permission use\n  \
    ncred share db --with user:bob --permission read --until 2030-12-31T23:59:59Z\n  \
    ncred share db --revoke user:bob\n\n\
    A grant holds where a rule of the access policy gives its permission to `granted`.")]
pub(crate) struct Share {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    name: CredentialName,
    /// With whom; replaces what you shared with that one before
    #[arg(long, value_name = "WHO", value_parser = parse::principal,
          required_unless_present = "revoke", requires = "permissions")]
    with: Option<Principal>,
    /// What to share: read, use, write, rotate, delete, share, test or admin; may be repeated
    #[arg(long = "permission", value_name = "WHAT", value_parser = parse::permission, requires = "with")]
    permissions: Vec<Permission>,
    /// Until when; for good unless told
    #[arg(long, value_name = "TIME", value_parser = parse::time, requires = "with")]
    until: Option<DateTime<Utc>>,
    /// End what is shared with this one; what others shared stays where you have it by a grant yourself
    #[arg(long, value_name = "WHO", value_parser = parse::principal, conflicts_with = "with")]
    revoke: Option<Principal>,
}

#[derive(Serialize)]
struct Shared {
    name: String,
    owner: Option<String>,
    grants: Vec<Granted>,
}

#[derive(Serialize)]
struct Granted {
    to: String,
    permissions: Vec<&'static str>,
    until: Option<String>,
    holds: bool,
    by: String,
    at: String,
}

pub(super) async fn share(session: &Session, args: &Share, output: &Output) -> Outcome {
    let change = match (&args.with, &args.revoke) {
        (Some(to), _) => Sharing::Grant {
            to: to.clone(),
            permissions: args.permissions.iter().copied().collect(),
            until: args.until,
        },
        (None, Some(from)) => Sharing::Revoke { from: from.clone() },
        // The parser asks for one of them.
        (None, None) => return Ok(()),
    };
    let changed = match session.manager.share(&args.name, &change).await {
        Ok(changed) => changed,
        Err(error) => return Err(explain(session, &args.name, error).await),
    };
    if output.is_json() {
        return sharing_of(session, &args.name, output).await;
    }
    match change {
        Sharing::Grant { to, .. } => output.line(format!("shared {} with {to}", args.name)),
        Sharing::Revoke { from } => output.line(revoked(&changed, &from)?),
        Sharing::Adopt { .. } => Ok(()),
    }
}

/// What came of ending what was shared with `from`: whoever has a credential by a grant ends nobody else's.
fn revoked(changed: &CredentialMetadata, from: &Principal) -> Outcome<String> {
    let tags = Tags::from_pairs(
        changed
            .tags
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )?;
    let now = SystemClock.now();
    let stays = grants(&tags).filter(|grant| grant.to == *from && grant.holds(now));
    let stays: Vec<String> = stays
        .map(|grant| {
            let until = grant.until.map(|until| format!(" until {}", short(&time(until))));
            format!(
                "{} by {}{}",
                grant.permissions,
                grant.by,
                until.unwrap_or_default()
            )
        })
        .collect();
    let name = &changed.name;
    Ok(match stays.is_empty() {
        true => format!("{name} is no longer shared with {from}"),
        false => format!(
            "ended what you shared of {name} with {from}; still shared with {from}: {}",
            stays.join(", ")
        ),
    })
}

pub(super) async fn sharing(session: &Session, args: &Named, output: &Output) -> Outcome {
    sharing_of(session, &args.name, output).await
}

async fn sharing_of(session: &Session, name: &CredentialName, output: &Output) -> Outcome {
    let (owner, grants) = match session.manager.sharing(name).await {
        Ok(found) => found,
        Err(error) => return Err(explain(session, name, error).await),
    };
    let now = SystemClock.now();
    if output.is_json() {
        return output.value(&Shared {
            name: name.to_string(),
            owner: owner.map(|owner| owner.to_string()),
            grants: grants.iter().map(|grant| granted(grant, now)).collect(),
        });
    }
    match owner {
        Some(owner) => output.line(format!("{} is owned by {owner}", output.strong(name.as_str())))?,
        None => output.line(format!("{} has no owner", output.strong(name.as_str())))?,
    }
    if grants.is_empty() {
        return Ok(());
    }
    let row = |grant: &Grant| {
        let until = match grant.until {
            Some(until) if grant.holds(now) => short(&time(until)),
            Some(_) => "ended".to_owned(),
            None => "-".to_owned(),
        };
        vec![
            grant.to.to_string(),
            grant.permissions.to_string(),
            until,
            grant.by.to_string(),
            short(&time(grant.at)),
        ]
    };
    let rows: Vec<_> = grants.iter().map(row).collect();
    output.table(&["SHARED WITH", "PERMISSIONS", "UNTIL", "BY", "SINCE"], &rows)
}

fn granted(grant: &Grant, now: DateTime<Utc>) -> Granted {
    let names = |permissions: Permissions| permissions.iter().map(Permission::as_str).collect();
    Granted {
        to: grant.to.to_string(),
        permissions: names(grant.permissions),
        until: grant.until.map(time),
        holds: grant.holds(now),
        by: grant.by.to_string(),
        at: time(grant.at),
    }
}
