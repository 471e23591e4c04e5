//! `ncred policy`: checks an access policy, asks it why, and tests it. Nothing here changes anything.

mod cases;
mod explain;
mod situation;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use nebula_credential::access::AccessPolicy;
use serde::Serialize;

use crate::access;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Find out whether a policy is well formed
    Check(Check),
    /// Show what the policy decides, by which rule, and what kept the others
    Explain(explain::Explain),
    /// Compare what a policy decides with what it should
    Test(cases::Test),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The policy [default: that of --policy]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Checked {
    rules: Vec<String>,
}

pub(super) async fn run(verb: &Policy, settings: &dyn Fn() -> Outcome<Settings>, output: &Output) -> Outcome {
    match verb {
        Policy::Check(args) => {
            let layer = match &args.file {
                Some(file) => access::open(file)?,
                None => settings()?.access.ok_or_else(none_named)?,
            };
            let policy = layer.policies().current();
            checked(&policy, output)
        }
        Policy::Explain(args) => explain::run(args, &settings()?, output).await,
        Policy::Test(args) => cases::run(args, settings, output),
    }
}

fn checked(policy: &AccessPolicy, output: &Output) -> Outcome {
    let rules: Vec<String> = policy.rules().map(str::to_owned).collect();
    if output.is_json() {
        return output.value(&Checked { rules });
    }
    output.line(format!(
        "well formed, with {} rules: {}",
        rules.len(),
        rules.join(", ")
    ))
}

fn none_named() -> Failure {
    Failure::usage(
        "no access policy is named",
        "name its file with --policy, NCRED_POLICY or a profile",
    )
}
