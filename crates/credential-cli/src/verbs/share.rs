//! `ncred share` and `ncred sharing`: the grants on one credential.

use chrono::{DateTime, Utc};
use clap::Args;
use nebula_credential::access::{Grant, Permissions, Sharing};
use nebula_credential::{Clock as _, CredentialName, Permission, Principal, SystemClock};
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
    /// End everything that is shared with this one
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
    let (change, done) = match (&args.with, &args.revoke) {
        (Some(to), _) => {
            let change = Sharing::Grant {
                to: to.clone(),
                permissions: args.permissions.iter().copied().collect(),
                until: args.until,
            };
            (change, format!("shared {} with {to}", args.name))
        }
        (None, Some(from)) => {
            let change = Sharing::Revoke { from: from.clone() };
            (change, format!("{} is no longer shared with {from}", args.name))
        }
        // The parser asks for one of them.
        (None, None) => return Ok(()),
    };
    if let Err(error) = session.manager.share(&args.name, &change).await {
        return Err(explain(session, &args.name, error).await);
    }
    if output.is_json() {
        return sharing_of(session, &args.name, output).await;
    }
    output.line(done)
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
