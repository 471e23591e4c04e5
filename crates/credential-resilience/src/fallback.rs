//! Stores behind one another.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nebula_credential_core::{
    Capability, ChangeCounters, CredentialError, CredentialRef, Delete, ErrorKind, Get, List, Op, OpContext,
    Page, Put, Record, RecordHead, Request, Response, Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore,
    Selector, Source, StoreHandle, Update, VersionHead,
};
use tower_service::Service as _;

use counters::ChainCounters;

mod counters;

/// Several stores as one: a credential is where the first of them has it.
///
/// Only what a store says is *absent* is looked for in the next. What is deleted there is deleted, though a later store may
/// have an older copy; what is denied is denied; and a store that cannot be reached ends the search, for it may have
/// what the next has only an old copy of. [`past_unreachable`](Self::past_unreachable) lets reads go on all the same.
///
/// New credentials go into the first store. A change of a credential goes to the store that has it. A purge is final only
/// in the store it was made in. Key rotation is for each store by itself.
///
/// The answer to a read names its store in the [`Report`](nebula_credential_core::Report) of its request, as
/// [`Source::Link`].
#[derive(Clone)]
pub struct FallbackStore {
    links: Vec<Link>,
    past_unreachable: bool,
}

#[derive(Clone)]
struct Link {
    name: Arc<str>,
    store: StoreHandle,
    /// Whether any clone of the chain ever asked it: what was read before cannot depend on it.
    asked: Arc<AtomicBool>,
}

impl FallbackStore {
    /// A chain of one store. `name` is how reports call it.
    pub fn new(name: &str, store: StoreHandle) -> Self {
        let links = vec![Link::new(name, store)];
        Self {
            links,
            past_unreachable: false,
        }
    }

    /// Adds a store behind the others.
    #[must_use]
    pub fn then(mut self, name: &str, store: StoreHandle) -> Self {
        self.links.push(Link::new(name, store));
        self
    }

    /// Lets reads of values and heads go past stores that cannot be reached. They may find an old value, or one that was
    /// deleted: the [report](nebula_credential_core::Report::has_passed_over) of the request tells, and a cache does not keep
    /// it. Changes, lists and versions never go past them.
    #[must_use]
    pub fn past_unreachable(mut self) -> Self {
        self.past_unreachable = true;
        self
    }

    /// Asks one store after the other until one has what is asked for.
    async fn first<T, F>(
        &self,
        ctx: &OpContext,
        id: &CredentialRef,
        past_unreachable: bool,
        mut ask: impl FnMut(StoreHandle) -> F,
    ) -> Result<T, CredentialError>
    where
        F: Future<Output = Result<T, CredentialError>>,
    {
        let mut unreachable = None;
        for link in &self.links {
            match ask(link.store()).await {
                Ok(answer) => {
                    if let Some(report) = &ctx.report {
                        if unreachable.is_some() {
                            report.passed_over();
                        }
                        report.served_by(Source::Link(Arc::clone(&link.name)));
                    }
                    return Ok(answer);
                }
                Err(CredentialError::NotFound(_)) => match link.has(ctx, id).await {
                    Ok(true) => return Err(CredentialError::not_found(id.to_string())),
                    Ok(false) => {}
                    Err(error) if past_unreachable && error.kind() == ErrorKind::Unavailable => {
                        unreachable = Some(error);
                    }
                    Err(error) => return Err(error),
                },
                Err(error) if past_unreachable && error.kind() == ErrorKind::Unavailable => {
                    unreachable = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        // Absent from those that answered is not absent.
        Err(unreachable.unwrap_or_else(|| CredentialError::not_found(id.to_string())))
    }

    /// The store that has a credential, deleted or not; the first if none has.
    async fn home_of(&self, ctx: &OpContext, id: &CredentialRef) -> Result<StoreHandle, CredentialError> {
        for link in &self.links {
            if link.has(ctx, id).await? {
                return Ok(link.store());
            }
        }
        self.links
            .first()
            .map(Link::store)
            .ok_or_else(|| CredentialError::internal("a chain of stores has no store"))
    }
}

impl Link {
    fn new(name: &str, store: StoreHandle) -> Self {
        Self {
            name: name.into(),
            store,
            asked: Arc::default(),
        }
    }

    /// The store, to be asked something.
    fn store(&self) -> StoreHandle {
        self.asked.store(true, Ordering::SeqCst);
        self.store.clone()
    }

    async fn has(&self, ctx: &OpContext, id: &CredentialRef) -> Result<bool, CredentialError> {
        let op = Op::Head(Get {
            id: id.clone(),
            version: Selector::Latest,
        });
        match ask(self.store(), ctx, op).await {
            Ok(_) => Ok(true),
            Err(CredentialError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

async fn ask(
    mut store: StoreHandle,
    ctx: &OpContext,
    op: Op<Sealed>,
) -> Result<Response<Sealed>, CredentialError> {
    // A handle is always ready.
    store.call(Request { ctx: ctx.clone(), op }).await
}

impl fmt::Debug for FallbackStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackStore")
            .field(
                "links",
                &self.links.iter().map(|link| &link.name).collect::<Vec<_>>(),
            )
            .field("past_unreachable", &self.past_unreachable)
            .finish()
    }
}

impl SecretStore for FallbackStore {
    /// What all of them can do, but for what must see every record.
    fn capability(&self) -> Capability {
        let all = Capability {
            rewrite: false,
            ..Capability::ALL
        };
        self.links
            .iter()
            .map(|link| link.store.capability())
            .fold(all, |all, one| Capability {
                versions: all.versions && one.versions,
                compare_and_set: all.compare_and_set && one.compare_and_set,
                idempotency: all.idempotency && one.idempotency,
                soft_delete: all.soft_delete && one.soft_delete,
                update: all.update && one.update,
                rewrite: false,
                durable: all.durable && one.durable,
                multi_process: all.multi_process && one.multi_process,
                encrypts_at_rest: all.encrypts_at_rest && one.encrypts_at_rest,
                max_sealed_bytes: all.max_sealed_bytes.min(one.max_sealed_bytes),
                max_versions: all.max_versions.min(one.max_versions),
            })
    }

    /// Counters that move when those of any store do, if every store has some.
    fn changes(&self) -> Option<Arc<dyn ChangeCounters>> {
        let store = |link: &Link| Some((link.store.changes()?, Arc::clone(&link.asked)));
        ChainCounters::of(self.links.iter().map(store))
    }

    async fn get(&self, ctx: &OpContext, op: Get) -> Result<Record<Sealed>, CredentialError> {
        self.first(ctx, &op.id, self.past_unreachable, |store| async {
            ask(store, ctx, Op::Get(op.clone())).await?.into_record()
        })
        .await
    }

    async fn head(&self, ctx: &OpContext, op: Get) -> Result<RecordHead, CredentialError> {
        self.first(ctx, &op.id, self.past_unreachable, |store| async {
            ask(store, ctx, Op::Head(op.clone())).await?.into_head()
        })
        .await
    }

    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Result<RecordHead, CredentialError> {
        let store = self.home_of(ctx, &op.id).await?;
        ask(store, ctx, Op::Put(op)).await?.into_head()
    }

    async fn rewrite(&self, _: &OpContext, _: Rewrite<Sealed>) -> Result<(), CredentialError> {
        Err(each_by_itself())
    }

    async fn update(&self, ctx: &OpContext, op: Update) -> Result<RecordHead, CredentialError> {
        let store = self.home_of(ctx, &op.id).await?;
        ask(store, ctx, Op::Update(op)).await?.into_head()
    }

    async fn delete(&self, ctx: &OpContext, op: Delete) -> Result<(), CredentialError> {
        let store = self.home_of(ctx, &op.id).await?;
        ask(store, ctx, Op::Delete(op)).await.map(drop)
    }

    async fn restore(&self, ctx: &OpContext, op: Restore) -> Result<RecordHead, CredentialError> {
        let store = self.home_of(ctx, &op.id).await?;
        ask(store, ctx, Op::Restore(op)).await?.into_head()
    }

    /// A page of each store, merged: an entry of an earlier store hides one of the same name in a later.
    async fn list(&self, ctx: &OpContext, op: List) -> Result<Page, CredentialError> {
        let mut heads: Vec<RecordHead> = Vec::new();
        // Beyond the end of the shortest page that has a successor, entries of that store may be missing.
        let mut known_to = None;
        for (earlier, link) in self.links.iter().enumerate() {
            let page = ask(link.store(), ctx, Op::List(op.clone())).await?.into_page()?;
            if let Some(next) = page.next {
                known_to = Some(match known_to {
                    Some(other) if other < next => other,
                    _ => next,
                });
            }
            for head in page.items {
                if !self.hides(earlier, ctx, &head.id).await? {
                    heads.push(head);
                }
            }
        }
        heads.sort_by(|a, b| (a.id.scope(), a.id.name()).cmp(&(b.id.scope(), b.id.name())));
        let within = |head: &RecordHead| {
            known_to
                .as_ref()
                .is_none_or(|end| (head.id.scope(), head.id.name()) <= (&end.scope, &end.name))
        };
        heads.retain(within);
        let mut page = Page::select(&op, heads.into_iter());
        if page.next.is_none() {
            page.next = known_to;
        }
        Ok(page)
    }

    async fn versions(
        &self,
        ctx: &OpContext,
        id: CredentialRef,
    ) -> Result<Vec<VersionHead>, CredentialError> {
        self.first(ctx, &id, false, |store| async {
            ask(store, ctx, Op::Versions(id.clone())).await?.into_versions()
        })
        .await
    }

    async fn scan(&self, _: &OpContext, _: Scan) -> Result<ScanPage<Sealed>, CredentialError> {
        Err(each_by_itself())
    }
}

impl FallbackStore {
    /// Whether one of the first `earlier` stores has a credential of that address, deleted or not, and with whatever tags.
    async fn hides(
        &self,
        earlier: usize,
        ctx: &OpContext,
        id: &CredentialRef,
    ) -> Result<bool, CredentialError> {
        for link in self.links.iter().take(earlier) {
            if link.has(ctx, id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn each_by_itself() -> CredentialError {
    CredentialError::unsupported(
        "a chain of stores does not rotate keys; rotate those of each store by itself",
    )
}
