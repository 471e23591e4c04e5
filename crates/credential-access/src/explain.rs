//! Why a policy decides as it does.

use std::fmt;

use nebula_credential_core::Permission;

use crate::permissions::Permissions;
use crate::policy::{AccessPolicy, Inquiry, Verdict};
use crate::rule::Effect;

/// A verdict, and how each rule stands to it. Shown as text of several lines, for whoever keeps the policy: it tells
/// more than the one who asked may know.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What is decided.
    pub verdict: Verdict,
    /// How each rule stands to it, in the order of the policy.
    pub rules: Vec<RuleStanding>,
    subject: String,
}

/// How a rule stands to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStanding {
    /// Its id.
    pub id: String,
    /// Whether it allows, rather than denies.
    pub allows: bool,
    /// What keeps it from applying, by the keys of the policy; `record` where it depends on a record of which nothing is
    /// known. Empty where it applies.
    pub missing: Vec<&'static str>,
}

impl Explanation {
    pub(crate) fn of(policy: &AccessPolicy, inquiry: Inquiry<'_>) -> Self {
        let Inquiry {
            ctx,
            id,
            permission,
            known,
        } = inquiry;
        let wanted = permission.map_or(Permissions::ALL, Permissions::only);
        let standing = policy.rules.iter().map(|rule| RuleStanding {
            id: rule.id.to_string(),
            allows: rule.effect == Effect::Allow,
            missing: rule.missing(ctx, id, known, wanted),
        });
        Self {
            verdict: policy.decide(inquiry),
            rules: standing.collect(),
            subject: format!(
                "{} {} {id}",
                ctx.principal,
                permission.map_or("know", Permission::as_str)
            ),
        }
    }

    /// The allowing rules that come nearest: those that the least keeps from applying.
    pub fn nearest(&self) -> impl Iterator<Item = &RuleStanding> {
        let allowing = || {
            self.rules
                .iter()
                .filter(|rule| rule.allows && !rule.missing.is_empty())
        };
        let least = allowing().map(|rule| rule.missing.len()).min();
        allowing().filter(move |rule| Some(rule.missing.len()) == least)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Allowed {
                rule,
                emergency: false,
            } => {
                write!(f, "allowed: {}, by rule `{rule}`", self.subject)
            }
            Verdict::Allowed { rule, .. } => {
                write!(f, "allowed: {}, by rule `{rule}` for emergencies", self.subject)
            }
            Verdict::DependsOnRecord => write!(
                f,
                "depends: {}, on the tags, the owner or the grants of the credential",
                self.subject
            ),
            Verdict::Denied { rule } if self.rules.iter().any(|known| known.id == **rule) => {
                write!(f, "denied: {}, by rule `{rule}`", self.subject)
            }
            Verdict::Denied { .. } => {
                write!(f, "denied: {}, because no rule allows it", self.subject)?;
                for rule in self.nearest() {
                    write!(
                        f,
                        "\n  rule `{}` does not apply: {}",
                        rule.id,
                        rule.missing.join(", ")
                    )?;
                }
                Ok(())
            }
        }
    }
}
