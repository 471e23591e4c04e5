//! The key ring, and every version of every credential of every tenant: each is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::ProgressBar;
use nebula_credential::crypto::{Epoch, EpochState, Place, RingStatus, Sealer};
use nebula_credential::{
    CredentialError, CredentialRef, OpContext, Plaintext, Principal, Record, RecordHead, Scan, Sealed,
    SecretStore as _, SystemClock, Version,
};

use super::{Counts, Findings, Severity};
use crate::exit::{Exit, Outcome};
use crate::output::Output;
use crate::unlock::Session;
use crate::value;

/// Versions read at once: what is in memory is at most this many payloads.
const PAGE: usize = 64;
/// Damaged versions listed one by one; beyond, they are counted.
const LISTED: u64 = 20;
/// How far ahead to look for credentials that expire, in days.
const SOON: TimeDelta = TimeDelta::days(30);
/// How far a record may be ahead of the clock: another machine's clock, or a leap.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// How long deleted credentials lie about before they are mentioned.
const KEPT_DELETED: TimeDelta = TimeDelta::days(30);

pub(super) async fn check(
    session: &Session,
    now: DateTime<Utc>,
    findings: &mut Findings,
    checked: &mut Counts,
    output: &Output,
) -> Outcome {
    let ring = session.manager.key_ring().await?.ring().clone();
    let mut examiner = Examiner {
        sealer: Sealer::new(ring.clone()),
        now,
        uses: BTreeMap::new(),
        names: BTreeSet::new(),
        damaged: 0,
        ahead: 0,
    };
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    let is_watched = !output.is_json() && io::stderr().is_terminal();
    let bar = if is_watched {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let mut after = None;
    loop {
        let page = session.storage.scan(&ctx, Scan { after, limit: PAGE }).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                unreadable(session, error, findings);
                break;
            }
        };
        for record in &page.items {
            checked.versions += 1;
            examiner.examine(record, findings);
        }
        for at in &page.damaged {
            checked.versions += 1;
            examiner.damage(&at.id, at.version, CredentialError::Tampered, findings);
        }
        bar.set_position(checked.versions);
        bar.set_message(format!("{} versions", checked.versions));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    bar.finish_and_clear();
    checked.credentials = u64::try_from(examiner.names.len()).unwrap_or(u64::MAX);
    examiner.conclude(&ring.status(), findings);
    Ok(())
}

fn unreadable(session: &Session, error: CredentialError, findings: &mut Findings) {
    let failure = crate::exit::Failure::from(error);
    findings.error(
        failure.exit,
        "store.read",
        session.storage.path().display(),
        failure.message,
        failure
            .help
            .unwrap_or_else(|| "restore the store from a backup".to_owned()),
    );
}

struct Examiner {
    sealer: Sealer,
    now: DateTime<Utc>,
    /// Versions by the key that wraps them.
    uses: BTreeMap<Epoch, u64>,
    names: BTreeSet<String>,
    damaged: u64,
    /// Records written later than now.
    ahead: u64,
}

impl Examiner {
    fn examine(&mut self, record: &Record<Sealed>, findings: &mut Findings) {
        let head = &record.head;
        if let Ok(Some(epoch)) = self.sealer.epoch_of(&record.payload) {
            *self.uses.entry(epoch).or_default() += 1;
        }
        let place = Place {
            id: &head.id,
            version: &head.version,
        };
        match self.sealer.open(place, &record.payload) {
            Ok(value) => shape(head, &value, findings),
            Err(error) => self.damage(&head.id, head.version.version, error, findings),
        }
        let is_ahead = head.version.created_at > self.now + AHEAD || head.updated_at > self.now + AHEAD;
        self.ahead += u64::from(is_ahead);
        if head.version.version == head.latest {
            self.names.insert(head.id.to_string());
            self.age(head, findings);
        }
    }

    fn damage(
        &mut self,
        id: &CredentialRef,
        version: Version,
        error: CredentialError,
        findings: &mut Findings,
    ) {
        self.damaged += 1;
        if self.damaged <= LISTED {
            let failure = crate::exit::Failure::from(error);
            findings.error(
                Exit::Damaged,
                "record.integrity",
                format!("{id} version {version}"),
                failure.message,
                failure
                    .help
                    .unwrap_or_else(|| "restore it from a backup".to_owned()),
            );
        }
    }

    /// Expiry and retention of a credential, told once.
    fn age(&self, head: &RecordHead, findings: &mut Findings) {
        let id = &head.id;
        if let Some(deleted_at) = head.deleted_at {
            if self.now - deleted_at > KEPT_DELETED {
                let remedy = format!("ncred purge {}, or `ncred restore` it", id.name());
                let message = format!(
                    "deleted since {}, its value is still kept",
                    deleted_at.date_naive()
                );
                findings.add(Severity::Info, "record.retention", id, message, remedy);
            }
            return;
        }
        let Some(end) = head.version.expires_at else {
            return;
        };
        let remedy = format!("ncred rotate {}", id.name());
        if end <= self.now {
            let message = format!("expired {}", end.date_naive());
            findings.add(Severity::Warning, "record.expired", id, message, remedy);
        } else if end - self.now <= SOON {
            let message = format!("expires {}", end.date_naive());
            findings.add(Severity::Warning, "record.expiring", id, message, remedy);
        }
    }

    /// What only the whole shows.
    fn conclude(&self, status: &RingStatus, findings: &mut Findings) {
        if self.damaged > LISTED {
            findings.error(
                Exit::Damaged,
                "record.integrity",
                "the store",
                format!("{} more versions cannot be opened", self.damaged - LISTED),
                "restore the store from a backup",
            );
        }
        if self.ahead > 0 {
            findings.add(
                Severity::Warning,
                "system.clock",
                self.now.to_rfc3339(),
                format!(
                    "{} versions are from the future: the clock was set back",
                    self.ahead
                ),
                "set the clock, or let it be set with NTP",
            );
        }
        if status.rotation_due(self.now) {
            findings.add(
                Severity::Warning,
                "key.age",
                format!("key ring {}", status.id),
                "its key is a year old or has wrapped nearly as much as it may",
                "ncred key rotate, then ncred key rewrap",
            );
        }
        for key in &status.epochs {
            let used = self.uses.get(&key.epoch).copied().unwrap_or(0);
            let subject = format!("key {}", key.epoch);
            match key.state {
                EpochState::DecryptOnly if used > 0 => findings.add(
                    Severity::Warning,
                    "key.rewrap",
                    subject,
                    format!("{used} versions still need this retired key"),
                    "ncred key rewrap",
                ),
                EpochState::DecryptOnly | EpochState::Disabled if used == 0 => findings.add(
                    Severity::Info,
                    "key.unused",
                    subject,
                    "nothing needs this retired key any more",
                    "ncred key rewrap --destroy-unused, five minutes after the rotation",
                ),
                _ => {}
            }
        }
    }
}

/// Whether this program's type reads what is stored.
fn shape(head: &RecordHead, bytes: &Plaintext, findings: &mut Findings) {
    let version = &head.version;
    let Some(info) = value::find(&version.credential_type) else {
        return;
    };
    if let Err(error) = info.decode(bytes, version.schema_version) {
        let failure = crate::exit::Failure::from(error);
        findings.add(
            Severity::Warning,
            "record.schema",
            format!("{} version {}", head.id, version.version),
            format!(
                "its value is sound, but is no {} that this program reads",
                info.name()
            ),
            failure
                .help
                .unwrap_or_else(|| "upgrade ncred, or store the value anew".to_owned()),
        );
    }
}
