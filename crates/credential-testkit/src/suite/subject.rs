//! The store under test, asked the way the stack asks it, and what is said about its answers.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use nebula_credential_core::{
    Capability, CredentialError, CredentialName, CredentialRef, Delete, DeleteMode, ENVELOPE_MAGIC, Get,
    List, Op, OpContext, Page, Phase, Precondition, Principal, Put, Record, RecordHead, Request, Response,
    Restore, Rewrite, Scan, Scope, Sealed, Selector, StoreHandle, Tags, TenantId, Update, Version,
    VersionHead, limits,
};
use tower_service::Service as _;

use super::Fixture;
use super::verdict::{Refused as _, about, free_of_payload, lawful, ordered};
use crate::TestClock;

pub(super) type Answer<T> = Result<T, CredentialError>;

/// Begins the body of every payload; in no error may it appear.
pub(super) const MARK: &str = "payload-of-the-suite";

/// A store under test, with a clock of its own. Clones share both.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) store: StoreHandle,
    pub(super) capability: Capability,
    pub(super) clock: TestClock,
}

impl Subject {
    pub(super) fn of(fixture: &Fixture) -> Self {
        Self::on(fixture.store.clone(), TestClock::new())
    }

    pub(super) fn on(store: StoreHandle, clock: TestClock) -> Self {
        let capability = store.capability();
        Self {
            store,
            capability,
            clock,
        }
    }

    pub(super) fn tick(&self) {
        self.clock.advance(Duration::from_micros(1_000_001));
    }

    pub(super) fn ctx(&self) -> OpContext {
        OpContext::new(Principal::Process, std::sync::Arc::new(self.clock.clone()))
    }

    /// Asks as a layer does, and looks at what every answer must be like, whatever the question.
    pub(super) async fn ask(&self, ctx: OpContext, op: Op<Sealed>) -> Answer<Response<Sealed>> {
        let mut store = self.store.clone();
        poll_fn(|cx| store.poll_ready(cx)).await?;
        let asked = op.clone();
        let answer = store.call(Request { ctx, op }).await;
        match (&answer, &asked) {
            (Err(error), _) => free_of_payload(error),
            (Ok(Response::Record(record)), Op::Get(get)) => about(&record.head, &get.id, get.version),
            (Ok(Response::Head(head)), Op::Head(get)) => about(head, &get.id, get.version),
            (Ok(Response::Head(head)), Op::Put(put)) => assert_eq!(head.id, put.id),
            (Ok(Response::Head(head)), Op::Update(Update { id, .. }) | Op::Restore(Restore { id })) => {
                about(head, id, Selector::Latest);
            }
            (Ok(Response::Page(page)), Op::List(list)) => lawful(page, list),
            (Ok(Response::Scanned(page)), Op::Scan(scan)) => ordered(page, scan),
            (Ok(Response::Versions(_)), Op::Versions(_))
            | (Ok(Response::Done), Op::Rewrite(_) | Op::Delete(_)) => {}
            _ => panic!("{} was given the answer to another question", asked.name()),
        }
        answer
    }

    pub(super) async fn call(&self, op: Op<Sealed>) -> Answer<Response<Sealed>> {
        self.ask(self.ctx(), op).await
    }

    pub(super) async fn put(&self, put: Put<Sealed>) -> Answer<RecordHead> {
        self.call(Op::Put(put)).await?.into_head()
    }

    /// Stores versions 1 to `count`.
    pub(super) async fn fill(&self, id: &CredentialRef, count: u32) {
        for number in 1..=count {
            self.put(self.version(id, number)).await.unwrap();
        }
    }

    pub(super) async fn get(&self, id: &CredentialRef) -> Answer<Record<Sealed>> {
        self.select(id, Selector::Latest).await
    }

    pub(super) async fn get_version(&self, id: &CredentialRef, version: u32) -> Answer<Record<Sealed>> {
        self.select(id, Selector::Exact(number(version))).await
    }

    async fn select(&self, id: &CredentialRef, version: Selector) -> Answer<Record<Sealed>> {
        self.call(Op::Get(Get {
            id: id.clone(),
            version,
        }))
        .await?
        .into_record()
    }

    pub(super) async fn head(&self, id: &CredentialRef) -> Answer<RecordHead> {
        self.head_of(id, Selector::Latest).await
    }

    pub(super) async fn head_of(&self, id: &CredentialRef, version: Selector) -> Answer<RecordHead> {
        self.call(Op::Head(Get {
            id: id.clone(),
            version,
        }))
        .await?
        .into_head()
    }

    pub(super) async fn versions(&self, id: &CredentialRef) -> Answer<Vec<VersionHead>> {
        self.call(Op::Versions(id.clone())).await?.into_versions()
    }

    /// The numbers of the kept versions, newest first; of a store that keeps one, found by asking for each.
    pub(super) async fn kept(&self, id: &CredentialRef) -> Vec<u32> {
        if self.capability.versions {
            let versions = self.versions(id).await.unwrap();
            return versions.iter().map(|head| head.version.get()).collect();
        }
        let latest = self.head(id).await.unwrap().latest.get();
        let mut kept = Vec::new();
        for version in (1..=latest).rev() {
            match self.get_version(id, version).await {
                Ok(_) => kept.push(version),
                absent => absent.version_absent(),
            }
        }
        kept
    }

    pub(super) async fn delete(&self, delete: Delete) -> Answer<()> {
        self.call(Op::Delete(delete)).await.map(drop)
    }

    pub(super) async fn soft_delete(&self, id: &CredentialRef) -> Answer<()> {
        self.delete(removal(id, DeleteMode::Soft)).await
    }

    pub(super) async fn purge(&self, id: &CredentialRef) -> Answer<()> {
        self.delete(removal(id, DeleteMode::Purge)).await
    }

    pub(super) async fn restore(&self, id: &CredentialRef) -> Answer<RecordHead> {
        self.call(Op::Restore(Restore { id: id.clone() }))
            .await?
            .into_head()
    }

    pub(super) async fn update(&self, update: Update) -> Answer<RecordHead> {
        self.call(Op::Update(update)).await?.into_head()
    }

    pub(super) async fn rewrite(&self, rewrite: Rewrite<Sealed>) -> Answer<()> {
        self.call(Op::Rewrite(rewrite)).await.map(drop)
    }

    pub(super) async fn list(&self, list: List) -> Answer<Page> {
        self.call(Op::List(list)).await?.into_page()
    }

    /// Every page of `list`, one after another.
    pub(super) async fn list_all(&self, mut list: List) -> Vec<RecordHead> {
        let mut all = Vec::new();
        loop {
            let page = self.list(list.clone()).await.unwrap();
            all.extend(page.items);
            assert!(all.len() < 10_000, "the pages do not end");
            match page.next {
                Some(next) => list.after = Some(next),
                None => return all,
            }
        }
    }

    /// Every kept payload of the store, by pages of `limit`.
    pub(super) async fn scan_all(&self, limit: usize) -> Vec<Record<Sealed>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self
                .call(Op::Scan(Scan { after, limit }))
                .await
                .unwrap()
                .into_scanned()
                .unwrap();
            all.extend(page.items);
            assert!(all.len() < 10_000, "the pages do not end");
            match page.next {
                Some(next) => after = Some(next),
                None => return all,
            }
        }
    }

    /// A change that stores version `version` of `id`, with a payload that says so.
    pub(super) fn version(&self, id: &CredentialRef, version: u32) -> Put<Sealed> {
        Put {
            id: id.clone(),
            version: VersionHead {
                version: number(version),
                credential_type: "suite".into(),
                schema_version: 1,
                created_at: nebula_credential_core::Clock::now(&self.clock),
                expires_at: None,
            },
            phase: Phase::Active,
            tags: None,
            payload: payload(id, version),
            precondition: Precondition::None,
            token: None,
            keep_versions: limits::VERSIONS_DEFAULT,
        }
    }

    /// Everything of `id` a reader can see, to compare before and after.
    pub(super) async fn picture(&self, id: &CredentialRef) -> Picture {
        let mut payloads = Vec::new();
        let head = self.head(id).await;
        if let Ok(head) = &head {
            let mut numbers = vec![head.latest.get()];
            if head.deleted_at.is_none() {
                numbers = self.kept(id).await;
            }
            for version in numbers {
                payloads.push((
                    version,
                    self.get_version(id, version).await.map(|record| bytes(&record)),
                ));
            }
        }
        Picture { head, payloads }
    }
}

/// What a reader can see of one credential.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    head: Answer<RecordHead>,
    payloads: Vec<(u32, Answer<Vec<u8>>)>,
}

pub(super) fn number(version: u32) -> Version {
    Version::new(version).expect("versions begin at 1")
}

/// `name`, `scope:name` or `tenant:scope:name`.
pub(super) fn id(text: &str) -> CredentialRef {
    let mut parts = text.rsplit(':');
    let name = CredentialName::new(parts.next().unwrap_or_default()).unwrap();
    let scope = parts
        .next()
        .map_or_else(Scope::default, |scope| Scope::new(scope).unwrap());
    let tenant = parts
        .next()
        .map_or_else(TenantId::default, |tenant| TenantId::new(tenant).unwrap());
    CredentialRef::new(tenant, scope, name)
}

/// An envelope that says which version it is.
pub(super) fn payload(id: &CredentialRef, version: u32) -> Sealed {
    envelope(format!("{MARK} {id} {version}").as_bytes())
}

/// An envelope with `body` in it. A store does not look further than the magic.
pub(super) fn envelope(body: &[u8]) -> Sealed {
    let mut bytes = ENVELOPE_MAGIC.to_vec();
    bytes.extend_from_slice(body);
    Sealed::envelope(bytes).unwrap()
}

#[track_caller]
pub(super) fn bytes(record: &Record<Sealed>) -> Vec<u8> {
    record
        .payload
        .as_envelope()
        .expect("an envelope was stored")
        .to_vec()
}

/// The payload is the one that was stored with the version the head speaks of.
#[track_caller]
pub(super) fn whole(record: &Record<Sealed>) {
    let expected = payload(&record.head.id, record.head.version.version.get());
    assert_eq!(
        Some(&*bytes(record)),
        expected.as_envelope(),
        "the payload is of another version"
    );
}

pub(super) fn removal(id: &CredentialRef, mode: DeleteMode) -> Delete {
    Delete {
        id: id.clone(),
        mode,
        precondition: Precondition::None,
    }
}

pub(super) fn change(id: &CredentialRef) -> Update {
    Update {
        id: id.clone(),
        tags: None,
        phase: None,
        precondition: Precondition::None,
    }
}

pub(super) fn tags<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tags {
    Tags::from_pairs(pairs).unwrap()
}

pub(super) fn names(heads: &[RecordHead]) -> Vec<&str> {
    heads.iter().map(|head| head.id.name().as_str()).collect()
}

/// Polls `future` at most `times` times and drops it.
pub(super) async fn poll_and_drop<T>(future: impl Future<Output = T>, times: usize) {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}
