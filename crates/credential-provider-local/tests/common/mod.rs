//! What the tests share. Payloads are no real envelopes: the store looks at their first bytes only.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::future::Future;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use chrono::{DateTime, Utc};
use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, Delete, DeleteMode, ENVELOPE_MAGIC, Get, OpContext,
    Phase, Precondition, Put, Record, RecordHead, Scope, Sealed, SecretStore, Selector, TenantId, Version,
    VersionHead,
};
use nebula_credential_provider_local::LocalStorage;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; no runtime is needed by the store.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub(crate) fn id(name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new(name).unwrap(),
    )
}

pub(crate) fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

pub(crate) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap()
}

/// A payload of `ENVELOPE_MAGIC` and `text`.
pub(crate) fn envelope(text: &str) -> Sealed {
    let mut bytes = ENVELOPE_MAGIC.to_vec();
    bytes.extend_from_slice(text.as_bytes());
    Sealed::envelope(bytes).unwrap()
}

pub(crate) fn text(record: &Record<Sealed>) -> String {
    let bytes = record.payload.as_envelope().unwrap();
    String::from_utf8(bytes[ENVELOPE_MAGIC.len()..].to_vec()).unwrap()
}

pub(crate) fn put_of(name: &str, number: u32, text: &str) -> Put<Sealed> {
    Put {
        id: id(name),
        version: VersionHead {
            version: version(number),
            credential_type: "api_key".into(),
            schema_version: 1,
            created_at: time(1_000_000 + i64::from(number)),
            expires_at: None,
        },
        phase: Phase::Active,
        tags: None,
        payload: envelope(text),
        precondition: Precondition::None,
        token: None,
        keep_versions: 10,
    }
}

pub(crate) fn put(
    store: &LocalStorage,
    name: &str,
    number: u32,
    text: &str,
) -> Result<RecordHead, CredentialError> {
    wait(store.put(&OpContext::default(), put_of(name, number, text)))
}

pub(crate) fn get(store: &LocalStorage, name: &str) -> Result<String, CredentialError> {
    get_version(store, name, Selector::Latest)
}

pub(crate) fn get_version(
    store: &LocalStorage,
    name: &str,
    version: Selector,
) -> Result<String, CredentialError> {
    let op = Get {
        id: id(name),
        version,
    };
    wait(store.get(&OpContext::default(), op)).map(|record| text(&record))
}

pub(crate) fn head(store: &LocalStorage, name: &str) -> Result<RecordHead, CredentialError> {
    let op = Get {
        id: id(name),
        version: Selector::Latest,
    };
    wait(store.head(&OpContext::default(), op))
}

pub(crate) fn delete(store: &LocalStorage, name: &str, mode: DeleteMode) -> Result<(), CredentialError> {
    let op = Delete {
        id: id(name),
        mode,
        precondition: Precondition::None,
    };
    wait(store.delete(&OpContext::default(), op))
}

/// A directory for one test, and a store in it that is not opened yet.
pub(crate) fn scratch() -> (tempfile::TempDir, LocalStorage) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStorage::new(dir.path().join("secrets"));
    (dir, store)
}

/// How often a long proof repeats: the environment variable, or `default`.
pub(crate) fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

const CHILD: &str = "NEBULA_LOCAL_CHILD";

/// The arguments of a process that [`process`] started, in that process.
pub(crate) fn child_arguments() -> Option<Vec<String>> {
    let arguments = std::env::var(CHILD).ok()?;
    Some(arguments.split('|').map(str::to_owned).collect())
}

/// This test program again, as a process of its own: it runs the test `child`, which does what `arguments` say.
pub(crate) fn process(arguments: &[&str]) -> Command {
    process_under(&[], arguments)
}

/// The same, started by `wrapper`.
pub(crate) fn process_under(wrapper: &[&str], arguments: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, arguments.join("|"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Says `line` to the process that started this one. The mark sets it apart from what the test harness prints.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{line}").unwrap();
    out.flush().unwrap();
}

/// What a child said, out of its output.
pub(crate) fn said(output: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix('@'))
        .map(str::to_owned)
        .collect()
}
