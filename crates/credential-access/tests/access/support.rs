//! Those who ask, what they ask, and the layer that answers.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use nebula_credential_access::{Access, AccessBuilder, AccessLayer, AccessPolicy, Policies, Sharing};
use nebula_credential_core::{
    Circumstances, Clock as _, CredentialError, CredentialName, CredentialRef, Delete, DeleteMode, Get, List,
    Op, OpContext, Permission, Phase, Plaintext, Precondition, Principal, Put, Report, Request, Response,
    Scope, Selector, Tags, TenantId, Update, Version, VersionHead,
};
use nebula_credential_testkit::TestClock;
use tower::{Layer as _, ServiceExt as _};

use crate::shelf::{Meanwhile, Shelf};

pub(crate) type Answer<T> = Result<T, CredentialError>;

/// A shelf under the layer.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) shelf: Shelf,
    pub(crate) policies: Policies,
    pub(crate) clock: TestClock,
    pub(crate) access: Access<Shelf>,
    layer: AccessLayer,
}

impl World {
    pub(crate) fn new(policy: &str) -> Self {
        Self::with(policy, |builder| builder)
    }

    pub(crate) fn with(policy: &str, set: impl FnOnce(AccessBuilder) -> AccessBuilder) -> Self {
        let policies = Policies::new(policy_of(policy));
        let shelf = Shelf::default();
        let layer = set(AccessLayer::builder(policies.clone())).build();
        Self {
            access: layer.layer(shelf.clone()),
            layer,
            shelf,
            policies,
            clock: TestClock::new(),
        }
    }

    pub(crate) fn ctx(&self, who: &str) -> OpContext {
        OpContext {
            principal: principal(who),
            report: Some(Arc::new(Report::default())),
            ..OpContext::new(Principal::Process, Arc::new(self.clock.clone()))
        }
    }

    pub(crate) async fn ask(&self, ctx: &OpContext, op: Op<Plaintext>) -> Answer<Response<Plaintext>> {
        let request = Request { ctx: ctx.clone(), op };
        self.access.clone().oneshot(request).await
    }

    /// Asks through the layer, and lets something happen after it looked.
    pub(crate) async fn ask_while(
        &self,
        ctx: &OpContext,
        op: Op<Plaintext>,
        happens: impl FnOnce(&Shelf) + Send + 'static,
    ) -> Answer<Response<Plaintext>> {
        let layer = AccessLayer::new(self.policies.clone());
        let request = Request { ctx: ctx.clone(), op };
        let access = layer.layer(Meanwhile::new(&self.shelf, happens));
        access.oneshot(request).await
    }

    /// Asks through the same layer over a store that says it was asked, and never answers.
    pub(crate) async fn ask_hung(
        &self,
        ctx: &OpContext,
        op: Op<Plaintext>,
        told: tokio::sync::oneshot::Sender<()>,
    ) -> Answer<Response<Plaintext>> {
        let told = Arc::new(Mutex::new(Some(told)));
        let hung = tower::service_fn(move |_: Request<Plaintext>| {
            let told = Arc::clone(&told);
            async move {
                told.lock().unwrap().take().map(|told| told.send(()));
                std::future::pending::<Answer<Response<Plaintext>>>().await
            }
        });
        let request = Request { ctx: ctx.clone(), op };
        self.layer.layer(hung).oneshot(request).await
    }

    pub(crate) async fn get(&self, who: &str, id: &CredentialRef) -> Answer<()> {
        self.ask(&self.ctx(who), get(id)).await.map(drop)
    }

    /// Asks for `permission`, and tells the rule that decided.
    pub(crate) async fn get_for(
        &self,
        who: &str,
        permission: Permission,
        id: &CredentialRef,
    ) -> (bool, String) {
        let mut ctx = self.ctx(who);
        ctx.permission = Some(permission);
        let answer = self.ask(&ctx, get(id)).await;
        let decision = ctx.report.unwrap().decision().cloned().unwrap();
        assert_eq!(decision.allowed, answer.is_ok());
        (decision.allowed, decision.rule.to_string())
    }

    pub(crate) async fn share(&self, who: &str, id: &CredentialRef, change: &Sharing) -> Answer<()> {
        let mut ctx = self.ctx(who);
        let head = self.ask(&ctx, head(id)).await?.into_head()?;
        ctx.permission = Some(Permission::Share);
        let update = change.apply(&head, &ctx.principal, ctx.now())?;
        self.ask(&ctx, Op::Update(update)).await.map(drop)
    }
}

pub(crate) fn policy_of(text: &str) -> AccessPolicy {
    AccessPolicy::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A policy of these rules, each written `ID EFFECT WHO PERMISSIONS; more keys`.
pub(crate) fn rules(rules: &[&str]) -> String {
    let mut text = "version = 1\n".to_owned();
    for rule in rules {
        let (head, more) = rule.split_once(';').unwrap_or((rule, ""));
        let [id, effect, who, permissions] = head.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{rule}");
        };
        let list = |text: &str| format!("{:?}", text.split(',').collect::<Vec<_>>());
        text.push_str(&format!(
            "[[rules]]\nid = {id:?}\neffect = {effect:?}\nprincipals = {}\npermissions = {}\ntenants = [\"acme\"]\n{}\n",
            list(who),
            list(permissions),
            more.replace(';', "\n"),
        ));
    }
    text
}

pub(crate) fn principal(text: &str) -> Principal {
    text.parse().unwrap()
}

pub(crate) fn id(name: &str) -> CredentialRef {
    scoped("global", name)
}

pub(crate) fn scoped(scope: &str, name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::new("acme").unwrap(),
        Scope::new(scope).unwrap(),
        CredentialName::new(name).unwrap(),
    )
}

pub(crate) fn circumstances(set: impl FnOnce(&mut Circumstances)) -> Option<Arc<Circumstances>> {
    let mut told = Circumstances::default();
    set(&mut told);
    Some(Arc::new(told))
}

pub(crate) fn get(id: &CredentialRef) -> Op<Plaintext> {
    Op::Get(Get {
        id: id.clone(),
        version: Selector::Latest,
    })
}

pub(crate) fn head(id: &CredentialRef) -> Op<Plaintext> {
    Op::Head(Get {
        id: id.clone(),
        version: Selector::Latest,
    })
}

pub(crate) fn delete(id: &CredentialRef) -> Op<Plaintext> {
    Op::Delete(Delete {
        id: id.clone(),
        mode: DeleteMode::Soft,
        precondition: Precondition::None,
    })
}

pub(crate) fn list() -> List {
    List::of(TenantId::new("acme").unwrap())
}

pub(crate) fn tag(id: &CredentialRef, tags: &[(&str, &str)]) -> Op<Plaintext> {
    Op::Update(Update {
        id: id.clone(),
        tags: Some(Tags::from_pairs(tags.iter().copied()).unwrap()),
        phase: None,
        precondition: Precondition::None,
    })
}

/// The first moment there is in the tests.
pub(crate) fn start() -> DateTime<Utc> {
    TestClock::new().now()
}

pub(crate) fn put(id: &CredentialRef, version: u32, tags: Option<&[(&str, &str)]>) -> Put<Plaintext> {
    Put {
        id: id.clone(),
        version: VersionHead {
            version: Version::new(version).unwrap(),
            credential_type: "test".into(),
            schema_version: 1,
            created_at: start(),
            expires_at: None,
        },
        phase: Phase::Active,
        tags: tags.map(|tags| Tags::from_pairs(tags.iter().copied()).unwrap()),
        payload: Plaintext::new(b"open sesame".to_vec()),
        precondition: Precondition::None,
        token: None,
        keep_versions: 10,
    }
}
