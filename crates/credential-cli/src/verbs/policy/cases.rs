//! `ncred policy test`: a policy beside what it should decide.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use nebula_credential::access::{AccessPolicy, Explanation};
use nebula_credential::{CredentialName, CredentialRef, Scope, TenantId};
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::value::Datetime;

use super::explain::{Decided, wanted};
use super::none_named;
use super::situation::{Filed, Situation, Told, pairs};
use crate::access;
use crate::args::parse;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;

/// Longest file of cases, in bytes.
const CASES_BYTES: u64 = 1024 * 1024;

const AFTER_HELP: &str = "\
The file is TOML. `policy` names the policy, from the directory of the file, unless --policy or NCRED_POLICY does. A case:

  [[cases]]
  expect = \"allow\"                  # or \"deny\"
  rule = \"payments-operate\"         # by which rule; may be left out
  principal = \"user:alice\"
  permission = \"use\"
  name = \"stripe/live\"

and, where they matter, tenant, scope, purpose, environment, address, mfa, workflow, node, user, at (a time), tags (a table), \
owner, and granted (permissions that are shared with the principal). What is left out is not told, and the record has no tags, \
owner or grants.

The exit code is 0 if every case is as expected, and 1 if one is not.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Test {
    /// The cases
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    policy: Option<PathBuf>,
    cases: Vec<Spanned<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    expect: Expected,
    rule: Option<String>,
    principal: String,
    permission: String,
    name: String,
    tenant: Option<String>,
    scope: Option<String>,
    purpose: Option<String>,
    environment: Option<String>,
    address: Option<IpAddr>,
    #[serde(default)]
    mfa: bool,
    workflow: Option<String>,
    node: Option<String>,
    user: Option<String>,
    at: Option<Datetime>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    owner: Option<String>,
    #[serde(default)]
    granted: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Allow,
    Deny,
}

#[derive(Serialize)]
struct Tested {
    cases: usize,
    failed: Vec<Unexpected>,
}

#[derive(Serialize)]
struct Unexpected {
    line: usize,
    expected: String,
    #[serde(flatten)]
    decided: Decided,
    #[serde(skip)]
    why: String,
}

pub(super) fn run(args: &Test, settings: &dyn Fn() -> Outcome<Settings>, output: &Output) -> Outcome {
    let text = read(&args.file)?;
    let suite = Suite::parse(&text, &args.file)?;
    let layer = match (settings()?.access, &suite.policy) {
        (Some(layer), _) => layer,
        (None, Some(policy)) => {
            let beside = args.file.parent().unwrap_or(Path::new(""));
            access::open(&beside.join(policy))?
        }
        (None, None) => return Err(none_named()),
    };
    let policy = layer.policies().current();
    let mut tested = Tested {
        cases: suite.cases.len(),
        failed: Vec::new(),
    };
    for case in &suite.cases {
        let line = line_of(&text, case.span().start);
        let explanation = case.get_ref().explained(&policy).map_err(|refusal| {
            let (what, remedy) = refusal.split_once("; ").unwrap_or((&refusal, "correct it"));
            Failure::usage(
                format!("{}, the case at line {line}: {what}", args.file.display()),
                remedy,
            )
        })?;
        tested
            .failed
            .extend(case.get_ref().unexpected(line, &explanation));
    }
    told(&tested, &args.file, output)
}

fn told(tested: &Tested, file: &Path, output: &Output) -> Outcome {
    if output.is_json() {
        output.value(tested)?;
    } else {
        for failed in &tested.failed {
            output.line(format!(
                "{}:{}: expected {}, but {}",
                file.display(),
                failed.line,
                failed.expected,
                failed.why
            ))?;
        }
    }
    match tested.failed.len() {
        0 if output.is_json() => Ok(()),
        0 => output.line(format!("{} cases, all as expected", tested.cases)),
        count => Err(Failure::state(
            format!("{count} of {} cases are not as expected", tested.cases),
            "change the policy, or what is expected; `ncred policy explain` shows more of a case",
        )),
    }
}

impl Suite {
    fn parse(text: &str, path: &Path) -> Outcome<Self> {
        let malformed = |at: usize| {
            Failure::usage(
                format!(
                    "the cases {} are not well formed at line {}",
                    path.display(),
                    line_of(text, at)
                ),
                "a case is a table [[cases]] with expect, principal, permission and name; `ncred help policy test` shows \
                 the others",
            )
        };
        let suite: Self =
            toml::from_str(text).map_err(|flaw| malformed(flaw.span().map_or(0, |span| span.start)))?;
        match suite.cases.is_empty() {
            true => Err(malformed(0)),
            false => Ok(suite),
        }
    }
}

impl Case {
    /// What `policy` says to it, or `what is wrong with the case; remedy`.
    fn explained(&self, policy: &AccessPolicy) -> Result<Explanation, String> {
        let name = |text: &Option<String>| text.as_deref().map(parse::name).transpose();
        let tenant = self.tenant.as_deref().map(parse::tenant).transpose()?;
        let scope = self.scope.as_deref().map(parse::scope).transpose()?;
        let id = CredentialRef::new(
            tenant.unwrap_or_else(TenantId::default),
            scope.unwrap_or_else(Scope::default),
            parse::name(&self.name)?,
        );
        let principal = parse::principal(&self.principal)?;
        let owner = self.owner.as_deref().map(parse::principal).transpose()?;
        let granted = self.granted.iter().map(|text| parse::permission(text));
        let filed = Filed {
            tags: pairs(&self.tags),
            owner: owner.as_ref(),
            granted: granted.collect::<Result<_, _>>()?,
        };
        let head = filed.head(&id, &principal).map_err(|error| error.to_string())?; // tidy: own error
        let node: Option<CredentialName> = name(&self.node)?;
        let told = Told {
            workflow: name(&self.workflow)?,
            node,
            user: name(&self.user)?,
            environment: self.environment.clone(),
            address: self.address,
            mfa: self.mfa,
        };
        let at = self.at.map(|at| parse::time(&at.to_string())).transpose()?;
        let asked = Situation {
            permission: wanted(&self.permission)?.0,
            principal,
            id,
            purpose: self.purpose.clone(),
            circumstances: told.into(),
            at,
            head: Some(head),
        };
        Ok(asked.explained(policy))
    }

    /// What is not as expected.
    fn unexpected(&self, line: usize, explanation: &Explanation) -> Option<Unexpected> {
        let decided = Decided::from(explanation);
        let is_allowed = explanation.verdict.is_allowed();
        let is_expected = is_allowed == (self.expect == Expected::Allow);
        let by_expected = self.rule.is_none() || self.rule == decided.rule;
        if is_expected && by_expected {
            return None;
        }
        let mut expected = match self.expect {
            Expected::Allow => "allow".to_owned(),
            Expected::Deny => "deny".to_owned(),
        };
        if let Some(rule) = &self.rule {
            expected.push_str(&format!(" by rule `{rule}`"));
        }
        Some(Unexpected {
            line,
            expected,
            decided,
            why: explanation.to_string(),
        })
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn read(path: &Path) -> Outcome<String> {
    let unreadable = || {
        Failure::usage(
            format!("the cases {} cannot be read", path.display()),
            "check the path; the file is UTF-8 text of at most 1 MiB",
        )
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|_| unreadable())?;
    file.take(CASES_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|_| unreadable())?;
    match u64::try_from(text.len()) {
        Ok(length) if length <= CASES_BYTES => Ok(text),
        _ => Err(unreadable()),
    }
}
