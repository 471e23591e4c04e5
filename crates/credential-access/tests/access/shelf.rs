//! A store in memory that stands where the cache stands.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use nebula_credential_core::{
    CredentialError, CredentialRef, DeleteMode, Op, OpContext, Page, Plaintext, Precondition, Record,
    RecordHead, Request, Response, Tags, Version, whole_micros,
};
use tower::Service;

use crate::support::{Answer, put, start};

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
        let now = whole_micros(start());
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
