//! A request, and the record it is about.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential_access::Grant;
use nebula_credential_core::{
    Circumstances, Clock as _, CredentialRef, OpContext, Permission, RecordHead, Scope, Tags, TenantId,
};
use nebula_credential_testkit::TestClock;

use super::words::{
    ADDRESSES, ENVIRONMENTS, NAMES, NODES, PRINCIPALS, Random, SCOPES, TEAMS, TENANTS, WORDS,
};
use crate::support::{principal, put};

pub(super) struct Asked {
    pub(super) who: &'static str,
    pub(super) tenant: &'static str,
    pub(super) scope: &'static str,
    pub(super) name: &'static str,
    pub(super) told: bool,
    pub(super) workflow: Option<&'static str>,
    pub(super) node: Option<&'static str>,
    pub(super) user: Option<&'static str>,
    pub(super) environment: Option<&'static str>,
    pub(super) address: Option<&'static str>,
    pub(super) mfa: bool,
    pub(super) purpose: Option<&'static str>,
    pub(super) now: DateTime<Utc>,
}

pub(super) struct Record {
    pub(super) owner: Option<&'static str>,
    /// To whom, what, and whether it has ended.
    pub(super) grants: Vec<(&'static str, Vec<Permission>, bool)>,
    pub(super) team: Option<&'static str>,
}

impl Asked {
    pub(super) fn random(random: &mut Random) -> Self {
        Self {
            who: random.pick(&PRINCIPALS),
            tenant: random.pick(&[TENANTS[0], TENANTS[0], TENANTS[1]]),
            scope: random.pick(&SCOPES),
            name: random.pick(&NAMES),
            told: !random.one_in(5),
            workflow: random.maybe(&WORDS),
            node: random.maybe(&NODES),
            user: random.maybe(&WORDS),
            environment: random.maybe(&ENVIRONMENTS),
            address: random.maybe(&ADDRESSES),
            mfa: random.one_in(2),
            purpose: random.maybe(&["incident 7", "audit", "  ", "\u{200b}"]),
            now: TestClock::new().now() + TimeDelta::hours(i64::try_from(random.below(24 * 8)).unwrap()),
        }
    }

    pub(super) fn context(&self) -> OpContext {
        let mut ctx = OpContext::new(principal(self.who), Arc::new(TestClock::at(self.now)));
        ctx.purpose = self.purpose.map(Into::into);
        if self.told {
            let mut told = Circumstances::default();
            told.workflow = self.workflow.map(|name| name.parse().unwrap());
            told.node = self.node.map(|name| name.parse().unwrap());
            told.user = self.user.map(|name| name.parse().unwrap());
            told.environment = self.environment.map(Into::into);
            told.address = self.address.map(|address| address.parse().unwrap());
            told.mfa = self.mfa;
            ctx.circumstances = Some(Arc::new(told));
        }
        ctx
    }

    pub(super) fn id(&self) -> CredentialRef {
        CredentialRef::new(
            TenantId::new(self.tenant).unwrap(),
            Scope::new(self.scope).unwrap(),
            self.name.parse().unwrap(),
        )
    }
}

impl Record {
    pub(super) fn random(random: &mut Random) -> Self {
        let grants = (0..random.below(3)).map(|_| {
            let mut what = random.some(&Permission::ALL, 2);
            what.push(random.pick(&Permission::ALL));
            (random.pick(&PRINCIPALS), what, random.one_in(3))
        });
        Self {
            grants: grants.collect(),
            owner: random.maybe(&PRINCIPALS),
            team: random.maybe(&TEAMS),
        }
    }

    pub(super) fn head(&self, asked: &Asked) -> RecordHead {
        let mut tags = Tags::new();
        if let Some(owner) = self.owner {
            tags.insert("nebula.access/owner", owner).unwrap();
        }
        if let Some(team) = self.team {
            tags.insert("team", team).unwrap();
        }
        for (index, (to, what, ended)) in self.grants.iter().enumerate() {
            let grant = Grant {
                to: principal(to),
                permissions: what.iter().copied().collect(),
                until: Some(asked.now + TimeDelta::hours(if *ended { 0 } else { 1 })),
                by: principal("user:root"),
                at: asked.now - TimeDelta::hours(1),
            };
            let key = format!("nebula.access/grant-{}", index + 1);
            tags.insert(&key, &grant.to_string()).unwrap();
        }
        let mut head = put(&asked.id(), 1, None).head(None, asked.now);
        head.tags = tags;
        head
    }
}
