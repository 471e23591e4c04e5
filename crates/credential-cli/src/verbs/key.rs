use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use nebula_credential::crypto::{Epoch, EpochState, EpochUse, JobReport, KeyRingFile, RingStatus, SlotId};
use nebula_credential::{
    Clock as _, CredentialError, CredentialRef, OpContext, Principal, StoreHandle, SystemClock, Version,
};
use serde::Serialize;

use super::view::{code, short, time};
use crate::args::{Key, KeyAdd, KeyRewrap};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::recording;
use crate::settings::{PassphraseFrom, Settings, Unlock};
use crate::unlock::{self, Session};

#[derive(Serialize)]
pub(super) struct Ring {
    key_ring: String,
    generation: u64,
    rotation_due: bool,
    slots: Vec<Slot>,
    pub(super) keys: Vec<RingKey>,
}

#[derive(Serialize)]
struct Slot {
    slot: u8,
    #[serde(serialize_with = "code")]
    kind: &'static str,
    created_at: String,
}

#[derive(Serialize)]
pub(super) struct RingKey {
    pub(super) key: u32,
    pub(super) state: &'static str,
    #[serde(skip)]
    pub(super) made: DateTime<Utc>,
    created_at: String,
    rotate_before: String,
    retired_at: Option<String>,
    pub(super) wraps: u64,
}

impl From<RingStatus> for Ring {
    fn from(status: RingStatus) -> Self {
        Self {
            key_ring: status.id.to_string(),
            generation: status.generation,
            rotation_due: status.rotation_due(SystemClock.now()),
            slots: slots(&status),
            keys: status
                .epochs
                .iter()
                .map(|key| RingKey {
                    key: key.epoch.get(),
                    state: state(key.state),
                    made: key.created_at,
                    created_at: time(key.created_at),
                    rotate_before: time(key.not_after),
                    retired_at: key.retired_at.map(time),
                    wraps: key.wraps,
                })
                .collect(),
        }
    }
}

/// A key ring as `key status` shows it.
pub(super) fn described(ring: &KeyRingFile) -> Ring {
    Ring::from(ring.ring().status())
}

fn slots(status: &RingStatus) -> Vec<Slot> {
    let slot = |slot: &nebula_credential::crypto::SlotInfo| Slot {
        slot: slot.id.get(),
        kind: slot.kind.as_str(),
        created_at: time(slot.created_at),
    };
    status.slots.iter().map(slot).collect()
}

const fn state(state: EpochState) -> &'static str {
    match state {
        EpochState::Primary => "primary",
        EpochState::DecryptOnly => "decrypt_only",
        EpochState::Disabled => "disabled",
        EpochState::Destroyed => "destroyed",
    }
}

pub(super) async fn run(verb: &Key, settings: &Settings, output: &Output) -> Outcome {
    let operation = match verb {
        Key::Status | Key::List => "key_ring",
        Key::Add(_) => "add_slot",
        Key::Remove(_) => "remove_slot",
        Key::Rotate => "rotate_key",
        Key::Rewrap(_) => "rewrap",
    };
    // What is refused is refused before anyone is asked for a passphrase.
    recording::leave(settings, operation, output).await?;
    let session = Session::open(settings).await?;
    let done = on(&session, verb, settings, output).await;
    session.storage.close().await;
    done
}

/// Does what there is leave for.
async fn on(session: &Session, verb: &Key, settings: &Settings, output: &Output) -> Outcome {
    let ring = session.manager.key_ring().await?;
    match verb {
        Key::Status => status(&ring, output),
        Key::List => list(&ring, output),
        Key::Add(args) => {
            let protector = unlock::new_protector(&new_unlock(args), &settings.store, output)?;
            let add = async { ring.update(|draft| draft.add_slot(&*protector, SystemClock.now())) };
            let slot = session.manager.administer("add_slot", add).await?;
            told(
                &ring,
                output,
                format!("added slot {slot}: a {}", protector.kind().as_str()),
            )
        }
        Key::Remove(args) => {
            let status = ring.ring().status();
            if status.slots.iter().all(|slot| slot.id.get() != args.slot) {
                return Err(Failure::not_found(
                    format!("the key ring has no slot {}", args.slot),
                    "`ncred key list` shows those there are",
                ));
            }
            let remove = async { ring.update(|draft| draft.remove_slot(SlotId::new(args.slot))) };
            session.manager.administer("remove_slot", remove).await?;
            if !output.is_json() {
                output.note(
                    "whoever could open the ring with it may have kept its root key and a copy of the store",
                );
            }
            told(&ring, output, format!("removed slot {}", args.slot))
        }
        Key::Rotate => {
            let epoch = session.manager.rotate_key().await?;
            let done =
                format!("key {epoch} wraps what is stored from now on; `ncred key rewrap` does the rest");
            told(&ring, output, done)
        }
        Key::Rewrap(args) => rewrap(session, &ring, args, output).await,
    }
}

fn new_unlock(args: &KeyAdd) -> Unlock {
    let passphrase = match (&args.new_passphrase_file, args.new_passphrase_fd) {
        (Some(path), _) => Some(PassphraseFrom::File(path.clone())),
        (None, Some(number)) => Some(PassphraseFrom::Descriptor(number)),
        (None, None) => args.ask_new_passphrase.then_some(PassphraseFrom::Terminal),
    };
    Unlock {
        key_file: args.new_key_file.clone(),
        passphrase,
        is_default: false,
    }
}

/// Reports a change of the ring: in JSON, what it is now.
fn told(ring: &KeyRingFile, output: &Output, done: String) -> Outcome {
    if output.is_json() {
        return output.value(&described(ring));
    }
    output.line(done)
}

fn status(ring: &KeyRingFile, output: &Output) -> Outcome {
    let ring = described(ring);
    if output.is_json() {
        return output.value(&ring);
    }
    output.line(format!(
        "key ring {}, generation {}",
        ring.key_ring, ring.generation
    ))?;
    let rows = |slot: &Slot| {
        vec![
            slot.slot.to_string(),
            slot.kind.to_owned(),
            short(&slot.created_at),
        ]
    };
    output.line("")?;
    output.table(
        &["SLOT", "OPENED BY", "MADE"],
        &ring.slots.iter().map(rows).collect::<Vec<_>>(),
    )?;
    let rows = |key: &RingKey| {
        vec![
            key.key.to_string(),
            key.state.to_owned(),
            short(&key.created_at),
            short(&key.rotate_before),
            key.wraps.to_string(),
        ]
    };
    output.line("")?;
    output.table(
        &["KEY", "STATE", "MADE", "ROTATE BEFORE", "WRAPS"],
        &ring.keys.iter().map(rows).collect::<Vec<_>>(),
    )?;
    if ring.rotation_due {
        output.warn("the key is due for rotation: `ncred key rotate`, then `ncred key rewrap`");
    }
    Ok(())
}

fn list(ring: &KeyRingFile, output: &Output) -> Outcome {
    let slots = slots(&ring.ring().status());
    if output.is_json() {
        return output.value(&slots);
    }
    let rows = |slot: &Slot| {
        vec![
            slot.slot.to_string(),
            slot.kind.to_owned(),
            short(&slot.created_at),
        ]
    };
    output.table(
        &["SLOT", "OPENED BY", "MADE"],
        &slots.iter().map(rows).collect::<Vec<_>>(),
    )
}

#[derive(Serialize)]
struct Rewrapped {
    scanned: u64,
    rewritten: u64,
    current: u64,
    gone: u64,
    failed: u64,
    failures: Vec<RewrapFailure>,
    destroyed: Vec<u32>,
    kept: Vec<KeptKey>,
}

#[derive(Serialize)]
struct RewrapFailure {
    credential: String,
    version: u32,
    kind: &'static str,
}

/// An old key that could not be destroyed yet.
#[derive(Serialize)]
struct KeptKey {
    key: u32,
    reason: String,
}

async fn rewrap(session: &Session, ring: &KeyRingFile, args: &KeyRewrap, output: &Output) -> Outcome {
    let bar = bar(session, ring, output).await?;
    let report = session
        .manager
        .rewrap(|progress| bar.set_position(progress.scanned))
        .await;
    bar.finish_and_clear();
    let report = report?;
    let mut done = Rewrapped::from(&report);
    if args.destroy_unused {
        let destroy = destroy(session, ring, &mut done);
        session.manager.administer("destroy_epochs", destroy).await?;
    }
    if output.is_json() {
        output.value(&done)?;
    } else {
        output.line(report.to_string())?;
        for key in &done.destroyed {
            output.line(format!("destroyed key {key}"))?;
        }
        for kept in &done.kept {
            output.note(format!("key {} stays: {}", kept.key, kept.reason));
        }
    }
    if done.failed == 0 {
        return Ok(());
    }
    let named: Vec<&str> = done
        .failures
        .iter()
        .take(3)
        .map(|failure| failure.credential.as_str())
        .collect();
    Err(Failure {
        kind: "tampered",
        message: format!(
            "{} versions could not be opened, among them {}",
            done.failed,
            named.join(", ")
        ),
        help: Some("restore them from a backup or purge them; the others were done".to_owned()),
        exit: Exit::Damaged,
    })
}

impl From<&JobReport> for Rewrapped {
    fn from(report: &JobReport) -> Self {
        let failure = |(id, version, error): &(CredentialRef, Version, CredentialError)| RewrapFailure {
            credential: id.to_string(),
            version: version.get(),
            kind: error.kind().as_str(),
        };
        Self {
            scanned: report.scanned,
            rewritten: report.rewritten,
            current: report.current,
            gone: report.gone,
            failed: report.failed,
            failures: report.failures.iter().map(failure).collect(),
            destroyed: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// Only who looks at a terminal pays for the count that a bar needs.
async fn bar(session: &Session, ring: &KeyRingFile, output: &Output) -> Outcome<ProgressBar> {
    if output.is_json() || !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let found = usage(session, ring).await?;
    let total = found.epochs().map(|(_, count)| count).sum::<u64>() + found.foreign() + found.unreadable();
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} versions, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    Ok(bar)
}

async fn usage(session: &Session, ring: &KeyRingFile) -> Result<EpochUse, CredentialError> {
    let store = StoreHandle::new(session.storage.clone());
    let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
    EpochUse::scan(&store, ring.ring(), &ctx).await
}

/// Destroys each retired key that nothing needs; the ring itself refuses the others and says why.
async fn destroy(session: &Session, ring: &KeyRingFile, done: &mut Rewrapped) -> Result<(), CredentialError> {
    let found = usage(session, ring).await?;
    let retired: Vec<Epoch> = ring
        .ring()
        .status()
        .epochs
        .iter()
        .filter(|key| matches!(key.state, EpochState::DecryptOnly | EpochState::Disabled))
        .map(|key| key.epoch)
        .collect();
    for epoch in retired {
        match ring.update(|draft| draft.destroy_epoch(epoch, &found)) {
            Ok(()) => done.destroyed.push(epoch.get()),
            Err(CredentialError::InvalidState(reason)) => done.kept.push(KeptKey {
                key: epoch.get(),
                reason: reason.into_owned(),
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
