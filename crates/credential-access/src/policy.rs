//! A policy, and what it decides.

use std::sync::Arc;

use nebula_credential_core::{CredentialRef, Decision, OpContext, Permission, TenantId};

use crate::explain::Explanation;
use crate::parse;
use crate::permissions::Permissions;
use crate::rule::{Applies, Effect, Known, Rule};
use crate::syntax::PolicyError;

/// The rule of a denial for want of any rule that allows.
pub const DEFAULT_DENY: &str = "default-deny";

/// Longest text of a policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// Most rules of a policy.
pub const RULES_MAX: usize = 1000;

/// Who may do what with which credential: rules, read from one text and never changed.
///
/// Nothing is allowed that no rule allows, and what a rule denies no other can allow. The README describes the text.
#[derive(Debug, Clone)]
pub struct AccessPolicy {
    pub(crate) rules: Vec<Rule>,
    default: Arc<str>,
}

/// What is asked of a policy.
#[derive(Debug, Clone, Copy)]
pub struct Inquiry<'a> {
    /// Who asks, what for, and under which circumstances.
    pub ctx: &'a OpContext,
    /// The credential.
    pub id: &'a CredentialRef,
    /// What for; `None` to know that the credential is there, which everyone may who may do anything with it.
    pub permission: Option<Permission>,
    /// What is known of its record.
    pub known: Known<'a>,
}

/// What a policy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed {
        /// The rule that says so.
        rule: Arc<str>,
        /// Whether it is one for emergencies.
        emergency: bool,
    },
    /// No.
    Denied {
        /// The rule that says so, or [`DEFAULT_DENY`].
        rule: Arc<str>,
    },
    /// That depends on the record, of which [`Known::Nothing`] was told. Never the answer where something was.
    DependsOnRecord,
}

impl Verdict {
    /// Whether it is allowed.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// What is reported to outer layers, once it is decided. A rule for emergencies is reported as `emergency:` and its id.
    pub fn decision(&self) -> Option<Decision> {
        let (allowed, rule) = match self {
            Self::Allowed {
                rule,
                emergency: true,
            } => (true, format!("{}{rule}", Decision::EMERGENCY).into()),
            Self::Allowed { rule, .. } => (true, Arc::clone(rule)),
            Self::Denied { rule } => (false, Arc::clone(rule)),
            Self::DependsOnRecord => return None,
        };
        Some(Decision { allowed, rule })
    }
}

impl AccessPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first thing that is wrong with it, where, and what to write. Nothing is taken for what it may have meant.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Ok(Self {
            rules: parse::rules(text)?,
            default: DEFAULT_DENY.into(),
        })
    }

    /// The ids of its rules, in the order of the text.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.id)
    }

    /// Decides. Allocates nothing; takes time linear in the number of rules.
    pub fn decide(&self, inquiry: Inquiry<'_>) -> Verdict {
        let Inquiry {
            ctx,
            id,
            permission,
            known,
        } = inquiry;
        let wanted = permission.map_or(Permissions::ALL, Permissions::only);
        let mut found = Findings::default();
        for rule in &self.rules {
            let applies = rule.applies(ctx, id, known, wanted);
            match (rule.effect, applies) {
                (_, Applies::No) => {}
                (Effect::Deny, Applies::Yes(bits)) => {
                    found.denied = found.denied.union(bits);
                    found.deny.get_or_insert(rule);
                    if found.denied == wanted {
                        break;
                    }
                }
                (Effect::Deny, Applies::Pending(bits)) => {
                    found.perhaps_denied = found.perhaps_denied.union(bits);
                }
                (Effect::Allow, Applies::Pending(bits)) => found.perhaps = found.perhaps.union(bits),
                (Effect::Allow, Applies::Yes(bits)) => {
                    let (sum, first) = if rule.emergency {
                        (&mut found.emergency, &mut found.in_emergency)
                    } else {
                        (&mut found.allowed, &mut found.allow)
                    };
                    *sum = sum.union(bits);
                    first.get_or_insert(rule);
                }
            }
        }
        self.conclude(inquiry, &found)
    }

    fn conclude(&self, inquiry: Inquiry<'_>, found: &Findings<'_>) -> Verdict {
        let open = Permissions::ALL.minus(found.denied);
        let all = found.allowed.union(found.emergency);
        let sure = all.intersection(open).minus(found.perhaps_denied);
        if !sure.is_empty() {
            // What an ordinary rule may allow yet is no emergency.
            if found.allowed.intersects(sure) {
                return self.allowed_by(inquiry, found.allowed.intersection(sure), found.allow, false);
            }
            if !found.perhaps.intersects(open) {
                return self.allowed_by(inquiry, sure, found.in_emergency, true);
            }
            return Verdict::DependsOnRecord;
        }
        if all.union(found.perhaps).intersects(open) {
            return Verdict::DependsOnRecord;
        }
        Verdict::Denied {
            rule: Arc::clone(found.deny.map_or(&self.default, |rule| &rule.id)),
        }
    }

    /// Names the first rule that allows one of `bits`; `first` is the first that allows anything.
    fn allowed_by(
        &self,
        inquiry: Inquiry<'_>,
        bits: Permissions,
        first: Option<&Rule>,
        emergency: bool,
    ) -> Verdict {
        let Inquiry { ctx, id, known, .. } = inquiry;
        let allows = |rule: &&Rule| {
            rule.effect == Effect::Allow
                && rule.emergency == emergency
                && matches!(rule.applies(ctx, id, known, bits), Applies::Yes(_))
        };
        // Only of several permissions may some be denied again.
        let rule = match inquiry.permission {
            Some(_) => first,
            None => self.rules.iter().find(allows),
        };
        Verdict::Allowed {
            rule: Arc::clone(rule.map_or(&self.default, |rule| &rule.id)),
            emergency,
        }
    }

    /// Everything that is permitted with what is known; none that depends on a record that is not.
    pub fn permitted(&self, ctx: &OpContext, id: &CredentialRef, known: Known<'_>) -> Permissions {
        let may = |permission: &Permission| {
            let permission = Some(*permission);
            self.decide(Inquiry {
                ctx,
                id,
                permission,
                known,
            })
            .is_allowed()
        };
        Permission::ALL.into_iter().filter(may).collect()
    }

    /// Decides on `permission` for work on the whole store, every credential of every tenant. Only a rule without limits on
    /// tenants, scopes, names and tags allows it, and each rule denies it that denies `permission` on any credential.
    pub fn decide_everywhere(&self, ctx: &OpContext, permission: Permission) -> Verdict {
        let rules = |effect| {
            self.rules
                .iter()
                .filter(move |rule| rule.effect == effect && rule.permissions.contains(permission))
        };
        let denies = |rule: &&Rule| rule.may_apply_somewhere(ctx);
        if let Some(rule) = rules(Effect::Deny).find(denies) {
            let rule = Arc::clone(&rule.id);
            return Verdict::Denied { rule };
        }
        let allowing = || rules(Effect::Allow).filter(|rule| rule.applies_everywhere(ctx));
        match allowing()
            .find(|rule| !rule.emergency)
            .or_else(|| allowing().next())
        {
            Some(rule) => Verdict::Allowed {
                rule: Arc::clone(&rule.id),
                emergency: rule.emergency,
            },
            None => Verdict::Denied {
                rule: Arc::clone(&self.default),
            },
        }
    }

    /// Says why.
    pub fn explain(&self, inquiry: Inquiry<'_>) -> Explanation {
        Explanation::of(self, inquiry)
    }

    /// What of `tenant` may be listed.
    pub(crate) fn visible(&self, ctx: &OpContext, tenant: &TenantId) -> Visible {
        let may = |effect| {
            self.rules
                .iter()
                .filter(move |rule| rule.effect == effect && rule.may_apply(ctx, tenant))
        };
        if may(Effect::Allow).next().is_none() {
            return Visible::Nothing;
        }
        let everything = may(Effect::Allow).any(|rule| rule.applies_to_all(ctx, tenant));
        if everything && may(Effect::Deny).next().is_none() {
            return Visible::Everything;
        }
        Visible::Some
    }
}

/// What of a tenant may be listed.
pub(crate) enum Visible {
    Nothing,
    Some,
    Everything,
}

/// What the rules come to: for each permission, whether one allows or denies it, or may yet.
#[derive(Default)]
struct Findings<'a> {
    allowed: Permissions,
    emergency: Permissions,
    denied: Permissions,
    perhaps: Permissions,
    perhaps_denied: Permissions,
    /// The first that allows, and likewise below.
    allow: Option<&'a Rule>,
    in_emergency: Option<&'a Rule>,
    deny: Option<&'a Rule>,
}
