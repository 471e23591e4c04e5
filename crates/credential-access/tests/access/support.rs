//! A store in memory that stands where the cache stands, and those who ask.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use nebula_credential_access::{Access, AccessBuilder, AccessLayer, AccessPolicy, Policies, Sharing};
use nebula_credential_core::{
    Circumstances, CredentialError, CredentialName, CredentialRef, Delete, DeleteMode, Get, List, Op,
    OpContext, Page, Permission, Phase, Plaintext, Precondition, Principal, Put, Record, RecordHead, Report,
    Request, Response, Scope, Selector, Tags, TenantId, Update, Version, VersionHead, whole_micros,
};
use nebula_credential_testkit::TestClock;
use tower::{Layer as _, Service, ServiceExt as _};

pub(crate) type Answer<T> = Result<T, CredentialError>;

/// Keeps values as they are, and counts what is asked, by operation.
#[derive(Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: BTreeMap<CredentialRef, (RecordHead, Vec<u8>)>,
    asked: Vec<&'static str>,
    /// How much longer it takes over what is there.
    lag: Duration,
    /// Whether it refuses every precondition.
    blunt: bool,
}

impl Shelf {
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    pub(crate) fn tags(&self, id: &CredentialRef) -> Tags {
        self.0.lock().unwrap().records.get(id).unwrap().0.tags.clone()
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.0.lock().unwrap().lag = lag;
    }

    /// Can compare and set no longer.
    pub(crate) fn blunt(&self) {
        self.0.lock().unwrap().blunt = true;
    }

    /// Does `op` without anybody's leave, at once.
    pub(crate) fn apply(&self, ctx: &OpContext, op: Op<Plaintext>) -> Answer<Response<Plaintext>> {
        self.answer(ctx, op).0
    }

    /// Puts a record on the shelf without anybody's leave.
    pub(crate) fn place(&self, id: &CredentialRef, tags: &[(&str, &str)]) {
        let put = put(id, 1, Some(tags));
        let now = whole_micros(TestClock::new_time());
        let mut state = self.0.lock().unwrap();
        let head = put.head(None, now);
        state
            .records
            .insert(id.clone(), (head, put.payload.expose().to_vec()));
    }

    fn answer(&self, ctx: &OpContext, op: Op<Plaintext>) -> (Answer<Response<Plaintext>>, Duration) {
        let mut state = self.0.lock().unwrap();
        state.asked.push(op.name());
        let found = op.subject().and_then(|id| state.records.get(id)).is_some();
        let lag = if found { state.lag } else { Duration::ZERO };
        (state.apply(ctx, op), lag)
    }
}

trait Start {
    fn new_time() -> chrono::DateTime<chrono::Utc>;
}

impl Start for TestClock {
    fn new_time() -> chrono::DateTime<chrono::Utc> {
        use nebula_credential_core::Clock as _;
        Self::new().now()
    }
}

impl State {
    fn live(&mut self, id: &CredentialRef) -> Answer<&mut (RecordHead, Vec<u8>)> {
        let entry = self
            .records
            .get_mut(id)
            .filter(|(head, _)| head.deleted_at.is_none());
        entry.ok_or_else(|| CredentialError::not_found(id.to_string()))
    }

    fn apply(&mut self, ctx: &OpContext, op: Op<Plaintext>) -> Answer<Response<Plaintext>> {
        let precondition = match &op {
            Op::Put(put) => put.precondition,
            Op::Update(update) => update.precondition,
            Op::Delete(delete) => delete.precondition,
            _ => Precondition::None,
        };
        if self.blunt && precondition != Precondition::None {
            return Err(CredentialError::unsupported("no preconditions here"));
        }
        Ok(match op {
            Op::Get(get) => {
                let (head, value) = self.live(&get.id)?;
                if get.version.resolve(head.latest) != head.latest {
                    return Err(CredentialError::version_not_found(&get.id, head.latest));
                }
                Response::Record(Record {
                    head: head.clone(),
                    payload: Plaintext::new(value.clone()),
                })
            }
            Op::Head(get) => {
                let entry = self.records.get(&get.id);
                let (head, _) = entry.ok_or_else(|| CredentialError::not_found(get.id.to_string()))?;
                if get.version.resolve(head.latest) != head.latest {
                    return Err(CredentialError::version_not_found(
                        &get.id,
                        Version::new(99).unwrap(),
                    ));
                }
                Response::Head(head.clone())
            }
            Op::Versions(id) => Response::Versions(vec![self.live(&id)?.0.version.clone()]),
            Op::Put(put) => {
                let latest = self.records.get(&put.id).map(|(head, _)| head.latest);
                let live = self.live(&put.id).ok().map(|(head, _)| head.clone());
                put.check(latest, live.as_ref())?;
                let head = put.head(live.as_ref(), ctx.now());
                let value = put.payload.expose().to_vec();
                self.records.insert(put.id, (head.clone(), value));
                Response::Head(head)
            }
            Op::Update(update) => {
                let (head, _) = self.live(&update.id)?;
                update.precondition.check(&update.id, Some(head.latest), true)?;
                if let Some(tags) = update.tags {
                    head.tags = tags;
                }
                Response::Head(head.clone())
            }
            Op::Delete(delete) => {
                let entry = self.records.get_mut(&delete.id);
                let (head, value) = entry.ok_or_else(|| CredentialError::not_found(delete.id.to_string()))?;
                let live = head.deleted_at.is_none();
                precondition.check(&delete.id, Some(head.latest), live)?;
                match delete.mode {
                    DeleteMode::Soft if !live => {
                        return Err(CredentialError::not_found(delete.id.to_string()));
                    }
                    DeleteMode::Soft => {}
                    DeleteMode::Purge => value.clear(),
                }
                head.deleted_at = Some(ctx.now());
                Response::Done
            }
            Op::Restore(restore) => {
                let (head, _) = self.records.get_mut(&restore.id).unwrap();
                head.deleted_at = None;
                Response::Head(head.clone())
            }
            Op::List(list) => {
                let heads = self.records.values().map(|(head, _)| head.clone());
                Response::Page(Page::select(&list, heads))
            }
            other => panic!("no test asks for {}", other.name()),
        })
    }
}

impl Service<Request<Plaintext>> for Shelf {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = Pin<Box<dyn Future<Output = Answer<Response<Plaintext>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Request { ctx, op }: Request<Plaintext>) -> Self::Future {
        let shelf = self.clone();
        Box::pin(async move {
            let (answer, lag) = shelf.answer(&ctx, op);
            // Busy rather than asleep: a timer is too coarse for what a store takes.
            let since = std::time::Instant::now();
            while since.elapsed() < lag {
                std::hint::spin_loop();
            }
            answer
        })
    }
}

type Between = Box<dyn FnOnce(&Shelf) + Send>;

/// A shelf on which something happens right after the first look at a head: what another process does meanwhile.
#[derive(Clone)]
pub(crate) struct Meanwhile {
    shelf: Shelf,
    happens: Arc<Mutex<Option<Between>>>,
}

impl Meanwhile {
    pub(crate) fn new(shelf: &Shelf, happens: impl FnOnce(&Shelf) + Send + 'static) -> Self {
        Self {
            shelf: shelf.clone(),
            happens: Arc::new(Mutex::new(Some(Box::new(happens)))),
        }
    }
}

impl Service<Request<Plaintext>> for Meanwhile {
    type Response = Response<Plaintext>;
    type Error = CredentialError;
    type Future = Pin<Box<dyn Future<Output = Answer<Response<Plaintext>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Answer<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Plaintext>) -> Self::Future {
        let looks = matches!(request.op, Op::Head(_));
        let Self { shelf, happens } = self.clone();
        let answer = shelf.clone().call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(happens) = happens.lock().unwrap().take_if(|_| looks) {
                happens(&shelf);
            }
            answer
        })
    }
}

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

pub(crate) fn put(id: &CredentialRef, version: u32, tags: Option<&[(&str, &str)]>) -> Put<Plaintext> {
    Put {
        id: id.clone(),
        version: VersionHead {
            version: Version::new(version).unwrap(),
            credential_type: "test".into(),
            schema_version: 1,
            created_at: TestClock::new_time(),
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
