//! The key ring, and every version of every credential of every tenant: each is opened.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::ProgressBar;
use nebula_credential::crypto::{Epoch, EpochState, KeyRing, Place, RingStatus, Sealer};
use nebula_credential::{
    CredentialError, CredentialRef, ErrorKind, LocalStorage, OpContext, Plaintext, Principal, Record,
    RecordHead, Scan, ScanCursor, Sealed, SecretStore as _, SystemClock, limits,
};

use super::{Counts, Findings, Severity};
use crate::exit::{Exit, Failure};
use crate::output::Output;
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

/// Looks at every version. Without the ring at what its head tells.
pub(super) async fn check(
    storage: &LocalStorage,
    ring: Option<&KeyRing>,
    findings: &mut Findings,
    checked: &mut Counts,
    output: &Output,
) {
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    let mut examiner = Examiner {
        sealer: ring.map(|ring| Sealer::new(ring.clone())),
        now: ctx.now(),
        uses: BTreeMap::new(),
        credentials: 0,
        opened: 0,
        current: None,
        damaged: 0,
        ahead: 0,
    };
    let is_watched = !output.is_json() && io::stderr().is_terminal();
    let bar = if is_watched {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let mut after = None;
    loop {
        let page = match storage.scan(&ctx, Scan { after, limit: PAGE }).await {
            Ok(page) => page,
            Err(error) => {
                findings.failed("store.read", storage.path().display(), error);
                break;
            }
        };
        for record in &page.items {
            checked.versions += 1;
            examiner.examine(record, findings);
        }
        for at in &page.damaged {
            checked.versions += 1;
            examiner.unreadable(at, findings);
        }
        bar.set_position(checked.versions);
        bar.set_message(format!("{} versions", checked.versions));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    bar.finish_and_clear();
    examiner.close(findings);
    checked.credentials = examiner.credentials;
    checked.opened = examiner.opened;
    examiner.conclude(ring.map(KeyRing::status).as_ref(), findings);
}

struct Examiner {
    sealer: Option<Sealer>,
    now: DateTime<Utc>,
    /// Versions by the key that wraps them.
    uses: BTreeMap<Epoch, u64>,
    credentials: u64,
    opened: u64,
    /// The credential at hand, and how many versions of it there were.
    current: Option<(CredentialRef, u32)>,
    damaged: u64,
    /// Records written later than now.
    ahead: u64,
}

impl Examiner {
    fn examine(&mut self, record: &Record<Sealed>, findings: &mut Findings) {
        let head = &record.head;
        match &mut self.current {
            Some((id, count)) if *id == head.id => *count += 1,
            _ => {
                self.close(findings);
                self.credentials += 1;
                self.current = Some((head.id.clone(), 1));
            }
        }
        self.open(record, findings);
        let is_ahead = head.version.created_at > self.now + AHEAD || head.updated_at > self.now + AHEAD;
        self.ahead += u64::from(is_ahead);
        if head.version.version == head.latest {
            self.age(head, findings);
        }
    }

    fn open(&mut self, record: &Record<Sealed>, findings: &mut Findings) {
        let Some(sealer) = &self.sealer else { return };
        let head = &record.head;
        if let Ok(Some(epoch)) = sealer.epoch_of(&record.payload) {
            *self.uses.entry(epoch).or_default() += 1;
        }
        let place = Place {
            id: &head.id,
            version: &head.version,
        };
        match sealer.open(place, &record.payload) {
            Ok(value) => {
                self.opened += 1;
                shape(head, &value, findings);
            }
            Err(error) => self.damage(head, error, findings),
        }
    }

    /// Ends the credential at hand.
    fn close(&mut self, findings: &mut Findings) {
        if let Some((id, count)) = self.current.take()
            && count > limits::VERSIONS_DEFAULT
        {
            findings.add(
                Severity::Info,
                "record.versions",
                id,
                format!("{count} versions of it are kept, and each can be read"),
                "nothing, if a program is to keep so many; `ncred rotate` keeps ten",
            );
        }
    }

    /// A version whose row is not one that this program writes.
    fn unreadable(&mut self, at: &ScanCursor, findings: &mut Findings) {
        self.damaged += 1;
        if self.damaged <= LISTED {
            findings.error(
                Exit::Damaged,
                "record.integrity",
                format!("{} version {}", at.id, at.version),
                "its row in the database is damaged",
                "restore it from a backup, or purge it and store it anew",
            );
        }
    }

    fn damage(&mut self, head: &RecordHead, error: CredentialError, findings: &mut Findings) {
        self.damaged += 1;
        if self.damaged > LISTED {
            return;
        }
        // The key's number lies in the clear beside the value: that the ring lacks it may be the fault of either.
        let (check, remedy) = match error.kind() {
            ErrorKind::Key => (
                "record.key",
                "put the newest copy of the key ring back; if it is the newest, restore the credential from a backup",
            ),
            ErrorKind::UnsupportedFormat => ("record.integrity", "upgrade ncred"),
            _ => (
                "record.integrity",
                "find out who can write to the store; restore it from a backup, or purge it and store it anew",
            ),
        };
        let failure = Failure {
            exit: Exit::Damaged,
            ..Failure::from(error).with_help(remedy)
        };
        let subject = format!("{} version {}", head.id, head.version.version);
        findings.failed(check, subject, failure);
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
    fn conclude(&self, status: Option<&RingStatus>, findings: &mut Findings) {
        if self.damaged > LISTED {
            findings.error(
                Exit::Damaged,
                "record.integrity",
                "the store",
                format!("{} more versions cannot be read or opened", self.damaged - LISTED),
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
        if let Some(status) = status {
            self.retired(status, findings);
        }
    }

    /// Old keys, needed or not.
    fn retired(&self, status: &RingStatus, findings: &mut Findings) {
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
        let failure = Failure::from(error);
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
