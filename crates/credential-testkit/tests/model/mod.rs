//! A store that can do everything, written for plainness, and the mistakes stores make.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    Capability, CredentialError, CredentialRef, Delete, DeleteMode, ENVELOPE_MAGIC, Get, IdempotencyToken,
    List, OpContext, Page, Precondition, Put, Record, RecordHead, Restore, Rewrite, Scan, ScanPage, Sealed,
    SecretStore, Selector, Tags, Update, Version, VersionHead,
};

type Answer<T> = Result<T, CredentialError>;

const MOST: u32 = 20;

/// A mistake. `None` is a correct store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    None,
    AcceptsAnyVersion,
    ReusesNumbersAfterPurge,
    ReusesNumbersAfterDelete,
    DropsTheNewest,
    NeverDrops,
    KeepsZero,
    IgnoresIfAbsent,
    ChecksThenWrites,
    WritesThenChecks,
    ForgetsTokens,
    TokenIsGlobal,
    TokenOfRefusedIsUsed,
    TagsAreLost,
    TagsSurviveDeletion,
    OldVersionsSurviveDeletion,
    DeletesTwice,
    RestoresLive,
    RestoreForgetsTags,
    HeadHidesDeleted,
    LikePrefix,
    CaseFoldedPrefix,
    ExpiryIsInclusive,
    TenantBlind,
    TenantTold,
    ScopeIsPrefix,
    JoinedAddress,
    PathOrder,
    CursorNeedsEntry,
    NextOnLastPage,
    RewriteBlind,
    RewriteDates,
    RewriteSkipsDeleted,
    ScanHidesDeleted,
    MillisecondTimes,
    NanosecondTimes,
    TrimsTags,
    ServerClock,
    CreatedMoves,
    LatestPayloadForAll,
    MissingVersionIsNotFound,
    ShowsPayload,
    TornReads,
    Volatile,
    StaleSecondHandle,
    HalfDropped,
    HalfDeleted,
    PurgeIsSoft,
    AnyTagMatches,
    ListsDeleted,
    FiltersAfterPaging,
    WritesInTwoSteps,
    UpdateClearsTags,
    IgnoresOtherPreconditions,
    PhaseIsLost,
    CutsNames,
    TrimsPayloads,
    CutsPayloads,
    AbsentIsUnavailable,
    ListForgetsTags,
    VersionsOldestFirst,
    OneDescriptionForAll,
    CapabilityWanders,
    ScopeBlind,
    RewriteChecksThenWrites,
    BusyIsAnError,
    PlainIsRefused,
}

struct Kept {
    head: VersionHead,
    payload: Sealed,
    token: Option<IdempotencyToken>,
}

struct Entry {
    head: RecordHead,
    kept: BTreeMap<Version, Kept>,
}

impl Entry {
    fn live(&self) -> bool {
        !self.kept.is_empty() && self.head.deleted_at.is_none()
    }
}

#[derive(Default)]
pub struct Disk {
    entries: Mutex<BTreeMap<CredentialRef, Entry>>,
    writing: Mutex<()>,
}

#[derive(Clone)]
pub struct Model {
    disk: Arc<Disk>,
    mistake: Mistake,
    encrypts: bool,
    /// The disk as a handle that caches for ever saw it.
    frozen: Arc<Mutex<BTreeMap<CredentialRef, Record<Sealed>>>>,
}

impl Model {
    pub fn new(disk: Arc<Disk>, mistake: Mistake) -> Self {
        Self {
            disk,
            mistake,
            encrypts: false,
            frozen: Arc::default(),
        }
    }

    pub fn encrypting(self) -> Self {
        Self {
            encrypts: true,
            ..self
        }
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<CredentialRef, Entry>> {
        self.disk.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address things are kept under.
    fn key(&self, id: &CredentialRef) -> CredentialRef {
        let part = |tenant: &str, scope: &str, name: &str| {
            CredentialRef::new(
                tenant.parse().unwrap(),
                scope.parse().unwrap(),
                name.parse().unwrap(),
            )
        };
        match self.mistake {
            Mistake::TenantBlind => part("any", id.scope().as_str(), id.name().as_str()),
            Mistake::JoinedAddress => {
                let joined = format!("{}/{}", id.scope(), id.name());
                let joined = if joined.len() > 128 {
                    id.name().to_string()
                } else {
                    joined
                };
                part(id.tenant().as_str(), "any", &joined)
            }
            Mistake::ScopeBlind => part(id.tenant().as_str(), "any", id.name().as_str()),
            Mistake::CutsNames => part(
                id.tenant().as_str(),
                id.scope().as_str(),
                id.name().as_str().get(..127).unwrap_or(id.name().as_str()),
            ),
            _ => id.clone(),
        }
    }

    fn time(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let nanos = |time: DateTime<Utc>| {
            time.timestamp_nanos_opt()
                .map_or(DateTime::<Utc>::UNIX_EPOCH, DateTime::from_timestamp_nanos)
        };
        match self.mistake {
            Mistake::MillisecondTimes => DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap(),
            Mistake::NanosecondTimes => nanos(time),
            _ => time,
        }
    }

    fn read(&self, op: &Get, deleted_too: bool) -> Answer<Record<Sealed>> {
        let key = self.key(&op.id);
        let entries = self.entries();
        let found = entries
            .get(&key)
            .filter(|entry| entry.live() || deleted_too && !entry.kept.is_empty());
        let entry = found.ok_or_else(|| {
            if self.is(Mistake::AbsentIsUnavailable) {
                return CredentialError::unavailable("nothing came back");
            }
            absent(&op.id)
        })?;
        let wanted = op.version.resolve(entry.head.latest);
        let newest = entry.kept.values().next_back();
        let kept = entry.kept.get(&wanted).ok_or_else(|| {
            if self.is(Mistake::MissingVersionIsNotFound) {
                return absent(&op.id);
            }
            CredentialError::version_not_found(&op.id, wanted)
        })?;
        let payload = match newest {
            Some(newest) if self.is(Mistake::LatestPayloadForAll) => newest.payload.clone(),
            _ => kept.payload.clone(),
        };
        let head = RecordHead {
            id: op.id.clone(),
            version: match newest {
                Some(newest) if self.is(Mistake::OneDescriptionForAll) => VersionHead {
                    version: wanted,
                    ..newest.head.clone()
                },
                _ => kept.head.clone(),
            },
            ..entry.head.clone()
        };
        Ok(Record { head, payload })
    }

    /// Purges the oldest version alone; was it the last?
    fn purges_one(&self, id: &CredentialRef) -> Answer<bool> {
        let mut entries = self.entries();
        let found = entries.get_mut(id).filter(|entry| !entry.kept.is_empty());
        let entry = found.ok_or_else(|| absent(id))?;
        entry.kept.pop_first();
        Ok(entry.kept.is_empty())
    }

    fn payload(&self, payload: &Sealed) -> Sealed {
        let Some(bytes) = payload.as_envelope() else {
            return payload.clone();
        };
        let bytes = match self.mistake {
            Mistake::TrimsPayloads => bytes.trim_ascii_end(),
            Mistake::CutsPayloads => bytes.get(..65_536).unwrap_or(bytes),
            _ => bytes,
        };
        Sealed::envelope(bytes).unwrap_or_else(|_| payload.clone())
    }

    /// What must hold, and the head before, if the credential is live.
    fn check(&self, op: &Put<Sealed>) -> Answer<Option<RecordHead>> {
        let entries = self.entries();
        let old = entries.get(&self.key(&op.id));
        let live = old.is_some_and(Entry::live);
        let mut latest = old.map(|entry| entry.head.latest);
        if self.is(Mistake::ReusesNumbersAfterPurge) && old.is_some_and(|entry| entry.kept.is_empty())
            || self.is(Mistake::ReusesNumbersAfterDelete)
                && old.is_some_and(|entry| entry.head.deleted_at.is_some())
        {
            latest = None;
        }
        match self.mistake {
            Mistake::AcceptsAnyVersion => op.precondition.check(&op.id, latest, live)?,
            Mistake::IgnoresIfAbsent if op.precondition == Precondition::IfAbsent => {}
            _ => op.check(latest, live)?,
        }
        Ok(old.filter(|_| live).map(|entry| entry.head.clone()))
    }

    fn write(&self, ctx: &OpContext, op: &Put<Sealed>, live: Option<&RecordHead>) -> RecordHead {
        let mut head = op.head(live, ctx.now());
        head.version.created_at = self.time(head.version.created_at);
        head.version.expires_at = head.version.expires_at.map(|time| self.time(time));
        head.created_at = self.time(head.created_at);
        let mut entries = self.entries();
        let old = entries.remove(&self.key(&op.id));
        if self.is(Mistake::WritesInTwoSteps) {
            drop(entries);
            std::thread::sleep(Duration::from_micros(300));
            entries = self.entries();
        }
        let old_tags = old
            .as_ref()
            .map(|entry| entry.head.tags.clone())
            .unwrap_or_default();
        match self.mistake {
            Mistake::TagsAreLost if op.tags.is_none() => head.tags = Tags::new(),
            Mistake::TagsSurviveDeletion if op.tags.is_none() => head.tags = old_tags,
            Mistake::ServerClock => head.updated_at += Duration::from_secs(3),
            Mistake::PhaseIsLost => head.phase = nebula_credential_core::Phase::Active,
            Mistake::CreatedMoves => head.created_at = head.version.created_at,
            Mistake::TrimsTags => {
                let trimmed: Vec<_> = head.tags.iter().map(|(key, value)| (key, value.trim())).collect();
                head.tags = Tags::from_pairs(trimmed).unwrap();
            }
            _ => {}
        }
        let survives = live.is_some() || self.is(Mistake::OldVersionsSurviveDeletion);
        let mut kept = old
            .filter(|_| survives)
            .map(|entry| entry.kept)
            .unwrap_or_default();
        let (number, token) = (op.version.version, op.token);
        kept.insert(
            number,
            Kept {
                head: head.version.clone(),
                payload: self.payload(&op.payload),
                token,
            },
        );
        let most = match self.mistake {
            Mistake::NeverDrops => usize::MAX,
            Mistake::KeepsZero => op.keep_versions as usize,
            _ => op.keep_versions.clamp(1, MOST) as usize,
        };
        while kept.len() > most {
            if self.is(Mistake::DropsTheNewest) && kept.len() > 2 {
                let second = *kept.keys().rev().nth(1).unwrap();
                kept.remove(&second);
            } else {
                kept.pop_first();
            }
        }
        entries.insert(
            self.key(&op.id),
            Entry {
                head: head.clone(),
                kept,
            },
        );
        head
    }

    /// The whole of a put, as one step.
    fn store(&self, ctx: &OpContext, op: &Put<Sealed>) -> Answer<RecordHead> {
        if self.is(Mistake::PlainIsRefused) {
            op.payload.require_envelope()?;
        }
        if self.is(Mistake::BusyIsAnError) {
            let busy = |_| CredentialError::unavailable("somebody else writes");
            let _one_step = self.disk.writing.try_lock().map_err(busy)?;
            std::thread::sleep(Duration::from_millis(1));
            let live = self.check(op)?;
            return Ok(self.write(ctx, op, live.as_ref()));
        }
        let _one_step = self.disk.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = self.repeated(op) {
            return Ok(head);
        }
        let checked = self.check(op);
        match (self.mistake, &checked) {
            (Mistake::WritesThenChecks, Err(_)) => {
                self.write(ctx, op, None);
            }
            (Mistake::ShowsPayload, Err(_)) => {
                let payload = String::from_utf8_lossy(op.payload.require_envelope()?).into_owned();
                return Err(CredentialError::storage(payload));
            }
            (Mistake::TokenOfRefusedIsUsed, Err(_)) if op.token.is_some() => {
                self.write(ctx, op, None);
                self.entries()
                    .get_mut(&op.id)
                    .into_iter()
                    .for_each(|entry| entry.head.deleted_at = Some(ctx.now()));
            }
            _ => {}
        }
        Ok(self.write(ctx, op, checked?.as_ref()))
    }

    fn repeated(&self, op: &Put<Sealed>) -> Option<RecordHead> {
        op.token.filter(|_| !self.is(Mistake::ForgetsTokens))?;
        let entries = self.entries();
        let own = self.key(&op.id);
        let of_token = |entry: &Entry| {
            entry
                .kept
                .values()
                .find(|kept| kept.token == op.token)
                .map(|kept| kept.head.clone())
        };
        let mut candidates = entries
            .iter()
            .filter(|(key, _)| **key == own || self.is(Mistake::TokenIsGlobal));
        candidates.find_map(|(_, entry)| {
            let version = of_token(entry)?;
            Some(RecordHead {
                version,
                ..entry.head.clone()
            })
        })
    }
}

fn absent(id: &CredentialRef) -> CredentialError {
    CredentialError::not_found(id.to_string())
}

impl SecretStore for Model {
    fn capability(&self) -> Capability {
        Capability {
            max_sealed_bytes: 70_000,
            max_versions: if self.is(Mistake::CapabilityWanders) && !self.entries().is_empty() {
                21
            } else {
                MOST
            },
            encrypts_at_rest: self.encrypts || self.is(Mistake::PlainIsRefused),
            ..Capability::ALL
        }
    }

    async fn get(&self, _: &OpContext, op: Get) -> Answer<Record<Sealed>> {
        let fresh = self.read(&op, false);
        match self.mistake {
            Mistake::StaleSecondHandle => {
                let mut frozen = self.frozen.lock().unwrap();
                let fresh = fresh?;
                Ok(frozen.entry(op.id).or_insert(fresh).clone())
            }
            Mistake::TornReads => {
                let mut record = fresh?;
                tokio::task::yield_now().await;
                std::thread::sleep(Duration::from_micros(200));
                record.payload = self.read(&op, false)?.payload;
                Ok(record)
            }
            Mistake::TenantTold if fresh.is_err() => {
                let entries = self.entries();
                let elsewhere = entries
                    .keys()
                    .any(|key| key.name() == op.id.name() && key.tenant() != op.id.tenant());
                if elsewhere {
                    Err(CredentialError::access_denied("it belongs to another tenant"))
                } else {
                    fresh
                }
            }
            _ => fresh,
        }
    }

    async fn head(&self, _: &OpContext, op: Get) -> Answer<RecordHead> {
        Ok(self.read(&op, !self.is(Mistake::HeadHidesDeleted))?.head)
    }

    async fn put(&self, ctx: &OpContext, op: Put<Sealed>) -> Answer<RecordHead> {
        match self.mistake {
            Mistake::HalfDropped => {
                let live = self.check(&op)?;
                let half = Sealed::envelope([&ENVELOPE_MAGIC[..], b"half"].concat())?;
                self.write(
                    ctx,
                    &Put {
                        payload: half,
                        ..op.clone()
                    },
                    live.as_ref(),
                );
                tokio::task::yield_now().await;
                Ok(self.write(ctx, &op, live.as_ref()))
            }
            Mistake::ChecksThenWrites => {
                let live = self.check(&op)?;
                std::thread::sleep(Duration::from_millis(2));
                Ok(self.write(ctx, &op, live.as_ref()))
            }
            _ => self.store(ctx, &op),
        }
    }

    async fn rewrite(&self, ctx: &OpContext, op: Rewrite<Sealed>) -> Answer<()> {
        let mut entries = self.entries();
        let found = entries
            .get_mut(&op.id)
            .filter(|entry| entry.live() || !self.is(Mistake::RewriteSkipsDeleted));
        let entry = found
            .filter(|entry| !entry.kept.is_empty())
            .ok_or_else(|| absent(&op.id))?;
        let (latest, number) = (entry.head.latest, op.version);
        let kept = entry
            .kept
            .get_mut(&number)
            .ok_or_else(|| CredentialError::version_not_found(&op.id, number))?;
        if kept.payload.as_envelope() != op.expected.as_envelope() && !self.is(Mistake::RewriteBlind) {
            let (name, expected, found) = (op.id.to_string(), Some(number), Some(latest));
            return Err(CredentialError::VersionConflict {
                name,
                expected,
                found,
            });
        }
        if self.is(Mistake::RewriteChecksThenWrites) {
            drop(entries);
            std::thread::sleep(Duration::from_millis(2));
            let mut entries = self.entries();
            let kept = entries
                .get_mut(&op.id)
                .and_then(|entry| entry.kept.get_mut(&number));
            kept.into_iter()
                .for_each(|kept| kept.payload = op.payload.clone());
            return Ok(());
        }
        kept.payload = op.payload;
        if self.is(Mistake::RewriteDates) {
            entry.head.updated_at = ctx.now();
        }
        Ok(())
    }

    async fn update(&self, ctx: &OpContext, op: Update) -> Answer<RecordHead> {
        let mut entries = self.entries();
        let entry = entries
            .get_mut(&self.key(&op.id))
            .filter(|entry| entry.live())
            .ok_or_else(|| absent(&op.id))?;
        if !self.is(Mistake::IgnoresOtherPreconditions) {
            op.precondition.check(&op.id, Some(entry.head.latest), true)?;
        }
        let old_tags = if self.is(Mistake::UpdateClearsTags) {
            Tags::new()
        } else {
            entry.head.tags.clone()
        };
        entry.head.tags = op.tags.unwrap_or(old_tags);
        entry.head.phase = op.phase.unwrap_or(entry.head.phase);
        entry.head.updated_at = ctx.now();
        Ok(RecordHead {
            id: op.id,
            ..entry.head.clone()
        })
    }

    async fn delete(&self, ctx: &OpContext, op: Delete) -> Answer<()> {
        while self.is(Mistake::HalfDeleted) && op.mode == DeleteMode::Purge {
            if self.purges_one(&op.id)? {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        let mut entries = self.entries();
        let found = entries
            .get_mut(&self.key(&op.id))
            .filter(|entry| !entry.kept.is_empty());
        let entry = found.ok_or_else(|| absent(&op.id))?;
        if !self.is(Mistake::IgnoresOtherPreconditions) {
            op.precondition
                .check(&op.id, Some(entry.head.latest), entry.live())?;
        }
        match op.mode {
            DeleteMode::Purge if self.is(Mistake::PurgeIsSoft) => entry.head.deleted_at = Some(ctx.now()),
            DeleteMode::Purge => entry.kept.clear(),
            DeleteMode::Soft if !entry.live() && !self.is(Mistake::DeletesTwice) => {
                return Err(absent(&op.id));
            }
            DeleteMode::Soft => entry.head.deleted_at = Some(ctx.now()),
        }
        entry.head.updated_at = ctx.now();
        Ok(())
    }

    async fn restore(&self, ctx: &OpContext, op: Restore) -> Answer<RecordHead> {
        let mut entries = self.entries();
        let found = entries
            .get_mut(&self.key(&op.id))
            .filter(|entry| !entry.kept.is_empty());
        let entry = found.ok_or_else(|| absent(&op.id))?;
        if entry.live() && !self.is(Mistake::RestoresLive) {
            return Err(CredentialError::invalid_state("it is not deleted"));
        }
        if self.is(Mistake::RestoreForgetsTags) {
            entry.head.tags = Tags::new();
        }
        entry.head.deleted_at = None;
        entry.head.updated_at = ctx.now();
        Ok(RecordHead {
            id: op.id,
            ..entry.head.clone()
        })
    }

    async fn list(&self, _: &OpContext, mut op: List) -> Answer<Page> {
        let entries = self.entries();
        let kept = entries
            .values()
            .filter(|entry| !entry.kept.is_empty())
            .map(|entry| entry.head.clone());
        let mut heads: Vec<_> = kept.collect();
        heads.sort_by(|a, b| a.id.cmp(&b.id));
        let asked = op.clone();
        match self.mistake {
            Mistake::LikePrefix | Mistake::CaseFoldedPrefix => {
                let prefix = op.prefix.take().unwrap_or_default();
                let like = |name: &str| {
                    let one = |(p, c): (char, char)| {
                        p == c
                            || (p == '_' && self.is(Mistake::LikePrefix))
                            || (p.eq_ignore_ascii_case(&c) && self.is(Mistake::CaseFoldedPrefix))
                    };
                    name.len() >= prefix.len() && prefix.chars().zip(name.chars()).all(one)
                };
                heads.retain(|head| like(head.id.name().as_str()));
            }
            Mistake::ExpiryIsInclusive => {
                op.expires_before = op.expires_before.map(|end| end + Duration::from_micros(1));
            }
            Mistake::ScopeIsPrefix => {
                let scope = op.scope.take().map(|scope| scope.to_string()).unwrap_or_default();
                heads.retain(|head| head.id.scope().as_str().starts_with(&scope));
            }
            Mistake::PathOrder => {
                heads.sort_by_key(|head| format!("{}/{}", head.id.scope(), head.id.name()));
                let all = List {
                    limit: usize::MAX,
                    after: None,
                    ..op
                };
                return Ok(Page::select(&all, heads.into_iter()));
            }
            Mistake::CursorNeedsEntry => {
                let here = |after: &nebula_credential_core::Cursor| {
                    heads
                        .iter()
                        .any(|head| (head.id.scope(), head.id.name()) == (&after.scope, &after.name))
                };
                if op.after.as_ref().is_some_and(|after| !here(after)) {
                    return Ok(Page::default());
                }
            }
            Mistake::AnyTagMatches => {
                let wanted = std::mem::take(&mut op.tags);
                let any = |tags: &Tags| wanted.iter().any(|(key, value)| tags.get(key) == Some(value));
                heads.retain(|head| wanted.is_empty() || any(&head.tags));
            }
            Mistake::ListsDeleted => op.include_deleted = true,
            Mistake::ListForgetsTags => heads.iter_mut().for_each(|head| head.tags = Tags::new()),
            Mistake::FiltersAfterPaging => {
                let plain = List {
                    limit: op.limit,
                    after: op.after.clone(),
                    ..List::of(op.tenant.clone())
                };
                let mut page = Page::select(&plain, heads.into_iter());
                page.items.retain(|head| op.matches(head));
                return Ok(page);
            }
            _ => {}
        }
        let mut page = Page::select(&op, heads.into_iter());
        if self.is(Mistake::NextOnLastPage) && page.items.len() == asked.page_size() {
            page.next = page.items.last().map(|head| nebula_credential_core::Cursor {
                scope: head.id.scope().clone(),
                name: head.id.name().clone(),
            });
        }
        Ok(page)
    }

    async fn versions(&self, _: &OpContext, id: CredentialRef) -> Answer<Vec<VersionHead>> {
        let entries = self.entries();
        let entry = entries
            .get(&self.key(&id))
            .filter(|entry| entry.live())
            .ok_or_else(|| absent(&id))?;
        let newest_first = entry.kept.values().rev().map(|kept| kept.head.clone());
        let mut versions: Vec<_> = newest_first.collect();
        if self.is(Mistake::VersionsOldestFirst) {
            versions.reverse();
        }
        Ok(versions)
    }

    async fn scan(&self, _: &OpContext, op: Scan) -> Answer<ScanPage<Sealed>> {
        let ids: Vec<_> = self
            .entries()
            .iter()
            .map(|(id, entry)| (id.clone(), entry.kept.keys().copied().collect::<Vec<_>>()))
            .collect();
        let records = ids
            .into_iter()
            .flat_map(|(id, kept)| kept.into_iter().map(move |version| (id.clone(), version)));
        let records = records.filter_map(|(id, version)| {
            self.read(
                &Get {
                    id,
                    version: Selector::Exact(version),
                },
                !self.is(Mistake::ScanHidesDeleted),
            )
            .ok()
        });
        Ok(ScanPage::select(&op, records))
    }
}
