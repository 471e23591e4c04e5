//! One rule, and whether it applies.

use std::collections::HashSet;
use std::sync::Arc;

use nebula_credential_core::{CredentialRef, OpContext, RecordHead, Tags, TenantId};

use crate::condition::{self, Conditions};
use crate::pattern::{self, Pattern, Truth};
use crate::permissions::Permissions;
use crate::principal::Who;
use crate::record;

/// What is known of the record a decision is about.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    /// Nothing: it was not read.
    Nothing,
    /// There is none, or it is deleted and these tags are to be on a new one.
    New(Option<&'a Tags>),
    /// Its head.
    Head(&'a RecordHead),
}

impl<'a> Known<'a> {
    fn tags(self) -> Option<&'a Tags> {
        match self {
            Self::Nothing => None,
            Self::New(tags) => tags,
            Self::Head(head) => Some(&head.tags),
        }
    }
}

/// What a rule does. What is not known of a request never helps it: a condition nobody can tell the truth of keeps an
/// allowing rule from applying, and does not keep a denying one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

impl Effect {
    pub(crate) fn accepts(self, truth: Truth) -> bool {
        match self {
            Self::Allow => truth == Truth::Yes,
            Self::Deny => truth != Truth::No,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    pub(crate) effect: Effect,
    /// Applies only where a purpose is named, and no other rule allows.
    pub(crate) emergency: bool,
    pub(crate) who: Who,
    pub(crate) permissions: Permissions,
    /// `None` for every tenant.
    pub(crate) tenants: Option<HashSet<TenantId>>,
    pub(crate) scopes: Vec<Pattern>,
    pub(crate) names: Vec<Pattern>,
    pub(crate) tags: Vec<(Box<str>, Pattern)>,
    pub(crate) when: Conditions,
    pub(crate) unless: Option<Conditions>,
}

/// Whether a rule applies, and to which of the permissions in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    No,
    /// That depends on the record.
    Pending(Permissions),
    Yes(Permissions),
}

impl Rule {
    /// Whether it applies to `wanted` permissions on `id`.
    pub(crate) fn applies(
        &self,
        ctx: &OpContext,
        id: &CredentialRef,
        known: Known<'_>,
        wanted: Permissions,
    ) -> Applies {
        let wanted = self.permissions.intersection(wanted);
        if wanted.is_empty()
            || !self.holds_in(ctx, id.tenant())
            || !self.effect.accepts(self.place(ctx, id))
            || !self.effect.accepts(self.circumstances(ctx))
        {
            return Applies::No;
        }
        self.of_record(ctx, known, wanted)
    }

    /// The cheap conditions that no credential of the tenant can change: tenant, principal and emergency.
    fn holds_in(&self, ctx: &OpContext, tenant: &TenantId) -> bool {
        self.tenants
            .as_ref()
            .is_none_or(|tenants| tenants.contains(tenant))
            && self.holds(ctx)
    }

    fn holds(&self, ctx: &OpContext) -> bool {
        (self.who.asks_record() || self.who.is(&ctx.principal))
            && (!self.emergency || condition::purpose(ctx).is_some())
    }

    fn place(&self, ctx: &OpContext, id: &CredentialRef) -> Truth {
        let scope = pattern::any(&self.scopes, id.scope().as_str(), ctx);
        scope.min(pattern::any(&self.names, id.name().as_str(), ctx))
    }

    fn circumstances(&self, ctx: &OpContext) -> Truth {
        let when = self.when.truth(ctx);
        match &self.unless {
            Some(unless) => when.min(unless.truth(ctx).not()),
            None => when,
        }
    }

    /// What is left to ask: the tags, and who owns the credential or shares it.
    fn of_record(&self, ctx: &OpContext, known: Known<'_>, wanted: Permissions) -> Applies {
        let whoever = self.who.is(&ctx.principal);
        if matches!(known, Known::Nothing) {
            return if whoever && self.tags.is_empty() {
                Applies::Yes(wanted)
            } else {
                Applies::Pending(wanted)
            };
        }
        let wanted = if whoever {
            wanted
        } else {
            wanted.intersection(self.by_record(ctx, known))
        };
        if wanted.is_empty() || !self.effect.accepts(self.tagged(ctx, known)) {
            return Applies::No;
        }
        Applies::Yes(wanted)
    }

    fn by_record(&self, ctx: &OpContext, known: Known<'_>) -> Permissions {
        let Known::Head(head) = known else {
            return Permissions::NONE;
        };
        if self.who.owner && record::is_owner(&head.tags, &ctx.principal) {
            return Permissions::ALL;
        }
        if self.who.granted {
            return record::granted(&head.tags, &ctx.principal, ctx.now());
        }
        Permissions::NONE
    }

    fn tagged(&self, ctx: &OpContext, known: Known<'_>) -> Truth {
        let tags = known.tags();
        let each = self.tags.iter().map(|(key, pattern)| {
            let value = tags.and_then(|tags| tags.get(key));
            value.map_or(Truth::No, |value| pattern.matches(value, ctx))
        });
        each.min().unwrap_or(Truth::Yes)
    }

    /// Whether it applies to some credential `tenant` may have.
    pub(crate) fn may_apply(&self, ctx: &OpContext, tenant: &TenantId) -> bool {
        self.holds_in(ctx, tenant) && self.effect.accepts(self.circumstances(ctx))
    }

    /// Whether it applies to every credential `tenant` may have.
    pub(crate) fn applies_to_all(&self, ctx: &OpContext, tenant: &TenantId) -> bool {
        self.may_apply(ctx, tenant) && self.is_about_all(ctx)
    }

    /// Whether it applies to some credential of some tenant.
    pub(crate) fn may_apply_somewhere(&self, ctx: &OpContext) -> bool {
        self.holds(ctx) && self.effect.accepts(self.circumstances(ctx))
    }

    /// Whether it applies to every credential of every tenant.
    pub(crate) fn applies_everywhere(&self, ctx: &OpContext) -> bool {
        self.tenants.is_none() && self.may_apply_somewhere(ctx) && self.is_about_all(ctx)
    }

    /// Whether no credential of its tenants is left out.
    fn is_about_all(&self, ctx: &OpContext) -> bool {
        self.who.is(&ctx.principal) && self.scopes.is_empty() && self.names.is_empty() && self.tags.is_empty()
    }

    /// What keeps it from applying to `wanted`, by the names a policy gives it; empty where it applies. `record` where
    /// nothing is known of it and it matters.
    pub(crate) fn missing(
        &self,
        ctx: &OpContext,
        id: &CredentialRef,
        known: Known<'_>,
        wanted: Permissions,
    ) -> Vec<&'static str> {
        let mut missing = Vec::new();
        let mut need = |name, holds: bool| {
            if !holds {
                missing.push(name);
            }
        };
        let wanted = self.permissions.intersection(wanted);
        need("permissions", !wanted.is_empty());
        need(
            "tenants",
            self.tenants.as_ref().is_none_or(|all| all.contains(id.tenant())),
        );
        need(
            "scopes",
            self.effect
                .accepts(pattern::any(&self.scopes, id.scope().as_str(), ctx)),
        );
        need(
            "names",
            self.effect
                .accepts(pattern::any(&self.names, id.name().as_str(), ctx)),
        );
        self.when
            .each(ctx, |name, truth| need(name, self.effect.accepts(truth)));
        if let Some(unless) = &self.unless {
            need("unless", self.effect.accepts(unless.truth(ctx).not()));
        }
        need("emergency", !self.emergency || condition::purpose(ctx).is_some());
        let whoever = self.who.is(&ctx.principal);
        if matches!(known, Known::Nothing) {
            need("principals", whoever || self.who.asks_record());
            need(
                "record",
                self.tags.is_empty() && (whoever || !self.who.asks_record()),
            );
        } else {
            let granted = self.by_record(ctx, known);
            need(
                "principals",
                whoever
                    || !wanted.intersection(granted).is_empty()
                    || wanted.is_empty() && !granted.is_empty(),
            );
            need("tags", self.effect.accepts(self.tagged(ctx, known)));
        }
        missing
    }
}
