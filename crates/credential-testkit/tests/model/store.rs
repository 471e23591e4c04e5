//! Every operation of a store, each with the mistakes that are made in it.

use std::time::Duration;

use nebula_credential_core::{
    Capability, CredentialError, CredentialRef, Delete, DeleteMode, ENVELOPE_MAGIC, Get, List, OpContext,
    Page, Put, Record, RecordHead, Restore, Rewrite, Scan, ScanPage, Sealed, SecretStore, Selector, Tags,
    Update, VersionHead,
};

use super::{Answer, MOST, Mistake, Model, absent};

impl Model {
    /// Purges the oldest version alone; was it the last?
    fn purges_one(&self, id: &CredentialRef) -> Answer<bool> {
        let mut entries = self.entries();
        let found = entries.get_mut(id).filter(|entry| !entry.kept.is_empty());
        let entry = found.ok_or_else(|| absent(id))?;
        entry.kept.pop_first();
        Ok(entry.kept.is_empty())
    }
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
        if !self.is(Mistake::IgnoresOtherPreconditions) && !self.is(Mistake::UpdateRevives) {
            op.check(&entry.head)?;
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

    async fn list(&self, _: &OpContext, op: List) -> Answer<Page> {
        Ok(self.page(op))
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
