//! A put: what must hold, what is written, and what is dropped for it.

use std::sync::PoisonError;
use std::time::Duration;

use nebula_credential_core::{
    CredentialError, OpContext, Phase, Precondition, Put, RecordHead, Sealed, Tags,
};

use super::{Answer, Entry, Kept, MOST, Mistake, Model};

impl Model {
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
    pub(super) fn check(&self, op: &Put<Sealed>) -> Answer<Option<RecordHead>> {
        let entries = self.entries();
        let old = entries.get(&self.key(&op.id));
        let live = old.filter(|entry| entry.live()).map(|entry| &entry.head);
        let mut latest = old.map(|entry| entry.head.latest);
        if self.is(Mistake::ReusesNumbersAfterPurge) && old.is_some_and(|entry| entry.kept.is_empty())
            || self.is(Mistake::ReusesNumbersAfterDelete)
                && old.is_some_and(|entry| entry.head.deleted_at.is_some())
        {
            latest = None;
        }
        match self.mistake {
            Mistake::AcceptsAnyVersion => op.precondition.check(&op.id, latest, live.is_some())?,
            Mistake::RevivesRevoked if live.is_some_and(|head| head.phase == Phase::Revoked) => {}
            Mistake::IgnoresIfAbsent if op.precondition == Precondition::IfAbsent => {}
            _ => op.check(latest, live)?,
        }
        Ok(live.cloned())
    }

    pub(super) fn write(&self, ctx: &OpContext, op: &Put<Sealed>, live: Option<&RecordHead>) -> RecordHead {
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
            Mistake::PhaseIsLost => head.phase = Phase::Active,
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
    pub(super) fn store(&self, ctx: &OpContext, op: &Put<Sealed>) -> Answer<RecordHead> {
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
