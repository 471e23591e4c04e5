use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nebula_credential_core::{
    Capability, ChangeCounters, CredentialError, CredentialRef, Delete, Get, List, Op, OpContext, Page, Put,
    Record, RecordHead, Request, Response, Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, Selector,
    StoreHandle, Update, VersionHead,
};
use tokio::sync::Semaphore;
use tower_service::Service as _;

type Answer<T> = Result<T, CredentialError>;
type Alteration = Arc<dyn Fn(Response<Sealed>) -> Response<Sealed> + Send + Sync>;

/// What goes wrong with one call.
#[non_exhaustive]
#[derive(Clone)]
pub enum Fault {
    /// The store is not asked; the answer is this error.
    Refuse(CredentialError),
    /// The store is asked, and its answer is lost: [`OutcomeUnknown`](CredentialError::OutcomeUnknown) for a write,
    /// whether it was done or refused, and [`Unavailable`](CredentialError::Unavailable) for a read.
    LoseAnswer,
    /// The store is asked after this time of tokio's clock, which a test may pause.
    Delay(Duration),
    /// The store is asked when the gate lets the call through.
    HoldBefore(Gate),
    /// The store is asked, and its answer waits at the gate.
    HoldAfter(Gate),
    /// The store is not asked, and there is no answer, ever.
    Hang,
    /// A `get` or `head` of the current version is answered as before the last write to that credential that came
    /// through here.
    Stale,
    /// One bit of the payload is flipped: bit 0 is the lowest of its first byte; counted from the start again beyond
    /// its end.
    FlipBit(usize),
    /// The payload is cut to this many bytes.
    Truncate(usize),
    /// The payload is that of another credential or version, under the head that was asked for.
    PayloadOf(CredentialRef, Selector),
    /// The whole record, head and all, is that of another credential or version.
    RecordOf(CredentialRef, Selector),
    /// The answer is whatever this makes of the true one: a list that lies, a head that is wrong.
    Alter(Alteration),
}

impl Fault {
    /// [`Alter`](Self::Alter).
    pub fn alter(alteration: impl Fn(Response<Sealed>) -> Response<Sealed> + Send + Sync + 'static) -> Self {
        Self::Alter(Arc::new(alteration))
    }

    /// A list without the credential `id`.
    pub fn omit(id: CredentialRef) -> Self {
        Self::alter(move |response| match response {
            Response::Page(mut page) => {
                page.items.retain(|head| head.id != id);
                Response::Page(page)
            }
            other => other,
        })
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(error) => f.debug_tuple("Refuse").field(error).finish(),
            Self::LoseAnswer => f.write_str("LoseAnswer"),
            Self::Delay(time) => f.debug_tuple("Delay").field(time).finish(),
            Self::HoldBefore(_) => f.write_str("HoldBefore"),
            Self::HoldAfter(_) => f.write_str("HoldAfter"),
            Self::Hang => f.write_str("Hang"),
            Self::Stale => f.write_str("Stale"),
            Self::FlipBit(bit) => f.debug_tuple("FlipBit").field(bit).finish(),
            Self::Truncate(length) => f.debug_tuple("Truncate").field(length).finish(),
            Self::PayloadOf(id, version) => f.debug_tuple("PayloadOf").field(id).field(version).finish(),
            Self::RecordOf(id, version) => f.debug_tuple("RecordOf").field(id).field(version).finish(),
            Self::Alter(_) => f.write_str("Alter"),
        }
    }
}

/// Holds calls until they are let through. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    /// A gate that lets nothing through.
    pub fn new() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits until one more call has come to the gate.
    pub async fn arrival(&self) {
        if let Ok(one) = self.arrived.acquire().await {
            one.forget();
        }
    }

    /// Lets `calls` through, now or when they come.
    pub fn release(&self, calls: usize) {
        self.open.add_permits(calls);
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(one) = self.open.acquire().await {
            one.forget();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// [`Op::name`].
    pub op: &'static str,
    /// The credential it was about; a list and a scan are about none.
    pub id: Option<CredentialRef>,
    /// Whether a fault met it.
    pub faulted: bool,
}

/// A store that goes wrong as scripted, around one that does not. Clones share the script and the record of calls.
///
/// A fault is scripted for an operation by [its name](Op::name). Each call takes the first fault that is left for it.
/// The inner store is read before each write, for [`Fault::Stale`] to remember.
#[derive(Clone)]
pub struct FaultStore {
    inner: StoreHandle,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    script: Vec<Rule>,
    calls: Vec<Call>,
    before_last_write: BTreeMap<CredentialRef, Answer<Record<Sealed>>>,
}

struct Rule {
    op: &'static str,
    pass: usize,
    left: usize,
    fault: Fault,
}

impl FaultStore {
    /// `inner`, with nothing going wrong yet.
    pub fn new(inner: StoreHandle) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// This store, as the stack holds it.
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::new(self.clone())
    }

    /// The next call of `op` meets `fault`.
    pub fn once(&self, op: &'static str, fault: Fault) {
        self.script(op, 0, 1, fault);
    }

    /// Every call of `op` from now on meets `fault`.
    pub fn always(&self, op: &'static str, fault: Fault) {
        self.script(op, 0, usize::MAX, fault);
    }

    /// After `pass` more calls of `op` that go well, the next `times` meet `fault`.
    pub fn script(&self, op: &'static str, pass: usize, times: usize, fault: Fault) {
        self.state().script.push(Rule {
            op,
            pass,
            left: times,
            fault,
        });
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.state().script.clear();
    }

    /// Every call there was, the first one first.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How many calls of `op` there were.
    pub fn count(&self, op: &str) -> usize {
        self.state().calls.iter().filter(|call| call.op == op).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call, and takes what goes wrong with it.
    fn meet(&self, op: &Op<Sealed>) -> Option<Fault> {
        let mut state = self.state();
        let fault = state.take(op.name());
        let call = Call {
            op: op.name(),
            id: subject(op).cloned(),
            faulted: fault.is_some(),
        };
        state.calls.push(call);
        fault
    }

    async fn ask(&self, ctx: &OpContext, op: Op<Sealed>) -> Answer<Response<Sealed>> {
        self.inner.clone().call(Request { ctx: ctx.clone(), op }).await
    }

    async fn record(&self, ctx: &OpContext, id: &CredentialRef, version: Selector) -> Answer<Record<Sealed>> {
        self.ask(
            ctx,
            Op::Get(Get {
                id: id.clone(),
                version,
            }),
        )
        .await?
        .into_record()
    }

    async fn run(&self, ctx: &OpContext, op: Op<Sealed>) -> Answer<Response<Sealed>> {
        let fault = self.meet(&op);
        match &fault {
            Some(Fault::Refuse(error)) => return Err(error.clone()),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
            Some(Fault::HoldBefore(gate)) => gate.pass().await,
            Some(Fault::Stale) => {
                if let Some(answer) = self.stale(&op) {
                    return answer;
                }
            }
            _ => {}
        }
        let writes = writes(&op);
        if let (true, Some(id)) = (writes, subject(&op)) {
            let before = self.record(ctx, id, Selector::Latest).await;
            self.state().before_last_write.insert(id.clone(), before);
        }
        let answer = self.ask(ctx, op).await;
        match fault {
            Some(Fault::LoseAnswer) if writes => Err(CredentialError::outcome_unknown("the answer was lost")),
            Some(Fault::LoseAnswer) => Err(CredentialError::unavailable("the answer was lost; ask again")),
            Some(Fault::HoldAfter(gate)) => {
                gate.pass().await;
                answer
            }
            Some(Fault::FlipBit(bit)) => payload(answer?, |bytes| {
                let at = bit / 8 % bytes.len().max(1);
                bytes
                    .get_mut(at)
                    .into_iter()
                    .for_each(|byte| *byte ^= 1 << (bit % 8));
            }),
            Some(Fault::Truncate(length)) => payload(answer?, |bytes| bytes.truncate(length)),
            Some(Fault::PayloadOf(id, version)) => match answer? {
                Response::Record(Record { head, .. }) => {
                    let payload = self.record(ctx, &id, version).await?.payload;
                    Ok(Response::Record(Record { head, payload }))
                }
                other => Ok(other),
            },
            Some(Fault::RecordOf(id, version)) => match answer? {
                Response::Record(_) => Ok(Response::Record(self.record(ctx, &id, version).await?)),
                Response::Head(_) => Ok(Response::Head(self.record(ctx, &id, version).await?.head)),
                other => Ok(other),
            },
            Some(Fault::Alter(alteration)) => answer.map(|response| alteration(response)),
            _ => answer,
        }
    }

    /// The answer from before the last write; `None` where there was none.
    fn stale(&self, op: &Op<Sealed>) -> Option<Answer<Response<Sealed>>> {
        let before = self.state().before_last_write.get(subject(op)?).cloned()?;
        match op {
            Op::Get(get) if get.version == Selector::Latest => Some(before.map(Response::Record)),
            Op::Head(get) if get.version == Selector::Latest => {
                Some(before.map(|record| Response::Head(record.head)))
            }
            _ => None,
        }
    }
}

impl State {
    fn take(&mut self, op: &str) -> Option<Fault> {
        let rule = self
            .script
            .iter_mut()
            .find(|rule| rule.op == op && rule.left > 0)?;
        if rule.pass > 0 {
            rule.pass -= 1;
            return None;
        }
        rule.left = rule.left.saturating_sub(1);
        Some(rule.fault.clone())
    }
}

fn subject<P>(op: &Op<P>) -> Option<&CredentialRef> {
    match op {
        Op::Get(Get { id, .. })
        | Op::Head(Get { id, .. })
        | Op::Put(Put { id, .. })
        | Op::Rewrite(Rewrite { id, .. })
        | Op::Update(Update { id, .. })
        | Op::Delete(Delete { id, .. })
        | Op::Restore(Restore { id })
        | Op::Versions(id) => Some(id),
        _ => None,
    }
}

fn writes<P>(op: &Op<P>) -> bool {
    matches!(
        op,
        Op::Put(_) | Op::Rewrite(_) | Op::Update(_) | Op::Delete(_) | Op::Restore(_)
    )
}

/// The answer with another payload. What no longer begins as an envelope is refused, as a store's own reader would.
fn payload(answer: Response<Sealed>, damage: impl FnOnce(&mut Vec<u8>)) -> Answer<Response<Sealed>> {
    let Response::Record(Record { head, payload }) = answer else {
        return Ok(answer);
    };
    let mut bytes = payload.require_envelope()?.to_vec();
    damage(&mut bytes);
    Ok(Response::Record(Record {
        head,
        payload: Sealed::envelope(bytes)?,
    }))
}

impl SecretStore for FaultStore {
    fn capability(&self) -> Capability {
        self.inner.capability()
    }

    fn home(&self) -> Option<PathBuf> {
        self.inner.home()
    }

    fn changes(&self) -> Option<Arc<dyn ChangeCounters>> {
        self.inner.changes()
    }

    async fn get(&self, ctx: &OpContext, op: Get) -> Answer<Record<Sealed>> {
        self.run(ctx, Op::Get(op)).await?.into_record()
    }

    async fn head(&self, ctx: &OpContext, op: Get) -> Answer<RecordHead> {
        self.run(ctx, Op::Head(op)).await?.into_head()
    }

    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Answer<RecordHead> {
        self.run(ctx, Op::Put(op)).await?.into_head()
    }

    async fn rewrite(&self, ctx: &OpContext, op: Rewrite<Sealed>) -> Answer<()> {
        self.run(ctx, Op::Rewrite(op)).await.map(drop)
    }

    async fn update(&self, ctx: &OpContext, op: Update) -> Answer<RecordHead> {
        self.run(ctx, Op::Update(op)).await?.into_head()
    }

    async fn delete(&self, ctx: &OpContext, op: Delete) -> Answer<()> {
        self.run(ctx, Op::Delete(op)).await.map(drop)
    }

    async fn restore(&self, ctx: &OpContext, op: Restore) -> Answer<RecordHead> {
        self.run(ctx, Op::Restore(op)).await?.into_head()
    }

    async fn list(&self, ctx: &OpContext, op: List) -> Answer<Page> {
        self.run(ctx, Op::List(op)).await?.into_page()
    }

    async fn versions(&self, ctx: &OpContext, id: CredentialRef) -> Answer<Vec<VersionHead>> {
        self.run(ctx, Op::Versions(id)).await?.into_versions()
    }

    async fn scan(&self, ctx: &OpContext, op: Scan) -> Answer<ScanPage<Sealed>> {
        self.run(ctx, Op::Scan(op)).await?.into_scanned()
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore")
            .field("inner", &self.inner)
            .field("calls", &self.state().calls.len())
            .finish()
    }
}
