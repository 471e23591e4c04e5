//! `ncred policy explain`.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use clap::Args;
use nebula_credential::access::{Explanation, RuleStanding, Verdict};
use nebula_credential::{CredentialName, CredentialRef, ErrorKind, Permission, Principal};
use serde::Serialize;

use super::none_named;
use super::situation::{Filed, Situation, Told};
use crate::args::parse;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock::Register;

const AFTER_HELP: &str = "\
Examples:
  ncred policy explain --policy policy.toml --principal user:alice --permission use --name stripe/live
  ncred policy explain --principal user:alice --permission read --name db --stored

Who asks, what for, the tenant, the scope and the policy are those that hold for every command. Of the record nothing is known \
unless --stored, --owner, --tag or --granted says it.

The exit code is 0 if it is allowed and 4 if it is not, or if that depends on what is not known.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Explain {
    /// The name of the credential
    #[arg(long, value_name = "NAME", value_parser = parse::name)]
    name: CredentialName,
    /// What for: read, use, write, rotate, delete, share, test, admin, or know
    #[arg(long, value_name = "WHAT", value_parser = wanted)]
    permission: Wanted,
    /// Take owner, tags and grants from the store
    #[arg(long, conflicts_with_all = ["owner", "tags", "granted"])]
    stored: bool,
    /// Who owns it
    #[arg(long, value_name = "WHO", value_parser = parse::principal)]
    owner: Option<Principal>,
    /// It is filed under KEY=VALUE; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse::tag)]
    tags: Vec<(String, String)>,
    /// This permission is shared with who asks; may be repeated
    #[arg(long, value_name = "WHAT", value_parser = parse::permission)]
    granted: Vec<Permission>,
    /// Where it runs, such as production
    #[arg(long, value_name = "TEXT")]
    environment: Option<String>,
    /// The network address the request came from
    #[arg(long, value_name = "IP", value_parser = address)]
    address: Option<IpAddr>,
    /// Who asks proved it by more than one factor
    #[arg(long)]
    mfa: bool,
    /// The workflow that runs
    #[arg(long, value_name = "NAME", value_parser = parse::name)]
    workflow: Option<CredentialName>,
    /// The node of the workflow
    #[arg(long, value_name = "NAME", value_parser = parse::name)]
    node: Option<CredentialName>,
    /// The user on whose behalf it runs
    #[arg(long, value_name = "NAME", value_parser = parse::name)]
    user: Option<CredentialName>,
    /// When, instead of now
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    at: Option<DateTime<Utc>>,
}

/// What is wanted; `None` to know that there is such a credential.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted(pub(super) Option<Permission>);

/// Reads a permission, or `know`.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "know" => Ok(Wanted(None)),
        _ => parse::permission(text).map(|permission| Wanted(Some(permission))),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| "this is no address; write it like 10.0.0.7 or 2001:db8::7".to_owned())
}

/// What is decided, and why.
#[derive(Serialize)]
pub(super) struct Decided {
    pub(super) decision: &'static str,
    /// The rule that decides, or `default-deny`.
    pub(super) rule: Option<String>,
    emergency: bool,
    rules: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    rule: String,
    effect: &'static str,
    applies: bool,
    missing: Vec<&'static str>,
}

impl From<&Explanation> for Decided {
    fn from(explanation: &Explanation) -> Self {
        let (decision, rule, emergency) = match &explanation.verdict {
            Verdict::Allowed { rule, emergency } => ("allowed", Some(rule.to_string()), *emergency),
            Verdict::Denied { rule } => ("denied", Some(rule.to_string()), false),
            Verdict::DependsOnRecord => ("depends", None, false),
        };
        let standing = |rule: &RuleStanding| Standing {
            rule: rule.id.clone(),
            effect: if rule.allows { "allow" } else { "deny" },
            applies: rule.missing.is_empty(),
            missing: rule.missing.clone(),
        };
        Self {
            decision,
            rule,
            emergency,
            rules: explanation.rules.iter().map(standing).collect(),
        }
    }
}

pub(super) async fn run(args: &Explain, settings: &Settings, output: &Output) -> Outcome {
    let access = settings.access.as_ref().ok_or_else(none_named)?;
    let id = CredentialRef::new(settings.tenant.clone(), settings.scope.clone(), args.name.clone());
    let nothing_is_known = args.owner.is_none() && args.tags.is_empty() && args.granted.is_empty();
    let head = if args.stored {
        Some(Register::unguarded(settings).await?.head(&args.name).await?)
    } else if nothing_is_known {
        None
    } else {
        let tags = args.tags.iter();
        let filed = Filed {
            tags: tags.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            owner: args.owner.as_ref(),
            granted: args.granted.iter().copied().collect(),
        };
        Some(filed.head(&id, &settings.principal)?)
    };
    let told = Told {
        workflow: args.workflow.clone(),
        node: args.node.clone(),
        user: args.user.clone(),
        environment: args.environment.clone(),
        address: args.address,
        mfa: args.mfa,
    };
    let asked = Situation {
        principal: settings.principal.clone(),
        permission: args.permission.0,
        id,
        purpose: settings.purpose.clone(),
        circumstances: told.into(),
        at: args.at,
        head,
    };
    let explanation = asked.explained(&access.policies().current());
    if output.is_json() {
        output.value(&Decided::from(&explanation))?;
    } else {
        print(&explanation, output)?;
    }
    if explanation.verdict.is_allowed() {
        return Ok(());
    }
    Err(Failure::answered(ErrorKind::AccessDenied))
}

fn print(explanation: &Explanation, output: &Output) -> Outcome {
    output.line(explanation.to_string())?;
    // Who is denied by a rule is allowed by others all the same, or would be.
    let by_rule = match &explanation.verdict {
        Verdict::Denied { rule } => explanation.rules.iter().any(|known| known.id == **rule),
        Verdict::DependsOnRecord => true,
        Verdict::Allowed { .. } => false,
    };
    let others = explanation.rules.iter().filter(|rule| by_rule && rule.allows);
    for rule in others {
        match rule.missing.as_slice() {
            [] => output.line(format!("  rule `{}` allows it", rule.id))?,
            ["record"] => output.line(format!("  rule `{}` may allow it", rule.id))?,
            _ => {}
        }
    }
    Ok(())
}
