//! What a policy is asked: who wants what, and under which circumstances.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use nebula_credential::access::{AccessPolicy, Explanation, Inquiry, Known, OWNER_TAG, Permissions, Sharing};
use nebula_credential::{
    Circumstances, Clock, CredentialError, CredentialName, CredentialRef, OpContext, Permission, Phase,
    Principal, RecordHead, SystemClock, Tags, Version, VersionHead,
};

/// One question to a policy.
pub(super) struct Situation {
    pub(super) principal: Principal,
    /// What for; `None` to know that the credential is there.
    pub(super) permission: Option<Permission>,
    pub(super) id: CredentialRef,
    pub(super) purpose: Option<String>,
    pub(super) circumstances: Circumstances,
    /// When; now unless told.
    pub(super) at: Option<DateTime<Utc>>,
    /// The record, if something is known of it.
    pub(super) head: Option<RecordHead>,
}

impl Situation {
    /// What `policy` says to it.
    pub(super) fn explained(&self, policy: &AccessPolicy) -> Explanation {
        let clock: Arc<dyn Clock> = match self.at {
            Some(at) => Arc::new(At(at)),
            None => Arc::new(SystemClock),
        };
        let ctx = OpContext {
            purpose: self.purpose.as_deref().map(Arc::from),
            circumstances: Some(Arc::new(self.circumstances.clone())),
            ..OpContext::new(self.principal.clone(), clock)
        };
        policy.explain(Inquiry {
            ctx: &ctx,
            id: &self.id,
            permission: self.permission,
            known: self.head.as_ref().map_or(Known::Nothing, Known::Head),
        })
    }
}

/// A time that stands still.
struct At(DateTime<Utc>);

impl Clock for At {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// What a policy may ask of a record.
#[derive(Default)]
pub(super) struct Filed<'a> {
    pub(super) tags: Vec<(&'a str, &'a str)>,
    pub(super) owner: Option<&'a Principal>,
    /// What is granted to the one who asks.
    pub(super) granted: Permissions,
}

impl Filed<'_> {
    /// A record that is filed so, as one would find it in a store.
    pub(super) fn head(&self, id: &CredentialRef, asks: &Principal) -> Result<RecordHead, CredentialError> {
        let now = SystemClock.now();
        let mut tags = Tags::from_pairs(self.tags.iter().copied())?;
        if let Some(owner) = self.owner {
            tags.insert(OWNER_TAG, &owner.to_string())?;
        }
        let mut head = RecordHead {
            id: id.clone(),
            version: VersionHead {
                version: Version::FIRST,
                credential_type: "any".into(),
                schema_version: 1,
                created_at: now,
                expires_at: None,
            },
            latest: Version::FIRST,
            phase: Phase::Active,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            tags,
        };
        if !self.granted.is_empty() {
            let grant = Sharing::Grant {
                to: asks.clone(),
                permissions: self.granted,
                until: None,
            };
            let shared = grant.apply(&head, &Principal::Process, now)?;
            head.tags = shared.tags.unwrap_or(head.tags);
        }
        Ok(head)
    }
}

/// What is told of the circumstances.
#[derive(Default)]
pub(super) struct Told {
    pub(super) workflow: Option<CredentialName>,
    pub(super) node: Option<CredentialName>,
    pub(super) user: Option<CredentialName>,
    pub(super) environment: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) mfa: bool,
}

impl From<Told> for Circumstances {
    fn from(told: Told) -> Self {
        let mut circumstances = Self::default();
        circumstances.workflow = told.workflow;
        circumstances.node = told.node;
        circumstances.user = told.user;
        circumstances.environment = told.environment.map(Arc::from);
        circumstances.address = told.address;
        circumstances.mfa = told.mfa;
        circumstances
    }
}

/// Tags as pairs.
pub(super) fn pairs(tags: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    tags.iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}
