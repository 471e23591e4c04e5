//! A store filled with known values, `ncred` on it, and what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nebula_credential::crypto::{EpochUse, KeyFile, KeyRingFile};
use nebula_credential::{
    CredentialManager, Keys, LocalStorage, OpContext, Principal, StoreHandle, SystemClock,
};
use serde_json::Value;

/// Bytes of each value.
const VALUE: usize = 1000;

/// A generator that is the same for the same seed (SplitMix64, Steele and others, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

pub(crate) fn name(number: usize) -> String {
    format!("r{number:06}")
}

fn value(number: usize) -> String {
    let mut random = Random(number as u64);
    let mut text = String::new();
    while text.len() < VALUE {
        text.push_str(&format!("{:016x}", random.next()));
    }
    text.truncate(VALUE);
    text
}

/// What the library gives for a record.
pub(crate) fn stored(number: usize) -> String {
    format!(r#"{{"text":"{}"}}"#, value(number))
}

/// The library on the store that `ncred` made in `directory`.
pub(crate) fn manager(directory: &Path) -> CredentialManager {
    CredentialManager::builder()
        .storage(LocalStorage::existing(directory.join("store")))
        .keys(Keys::key_file(directory.join("key")))
        .build()
}

pub(crate) struct Place {
    directory: tempfile::TempDir,
    pub(crate) records: usize,
    runtime: tokio::runtime::Runtime,
}

/// What became of the keys.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct KeyUse {
    /// How many records each wraps.
    pub(crate) wraps: BTreeMap<u64, u64>,
    /// What `ncred key status` says of each.
    pub(crate) states: BTreeMap<u64, String>,
}

impl KeyUse {
    pub(crate) fn total(&self) -> u64 {
        self.wraps.values().sum()
    }

    pub(crate) fn in_state(&self, state: &str) -> Vec<u64> {
        let found = self.states.iter().filter(|(_, found)| *found == state);
        found.map(|(key, _)| *key).collect()
    }

    /// Records that a rewrap has still to do.
    pub(crate) fn outdated(&self) -> u64 {
        let primary = self
            .in_state("primary")
            .first()
            .and_then(|key| self.wraps.get(key));
        self.total() - primary.copied().unwrap_or(0)
    }
}

impl Place {
    /// A store of `records` credentials, imported by `ncred`, on a disk rather than in memory: a sync must cost something.
    pub(crate) fn filled(records: usize) -> Self {
        let place = Self {
            directory: tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
                .unwrap(),
            records,
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        };
        place.run(&["init"]);
        let file: String = (0..records)
            .map(|number| format!("{}={}\n", name(number).to_uppercase(), value(number)))
            .collect();
        let path = place.path().join("records.env");
        std::fs::write(&path, file).unwrap();
        let done = place.json(&["import", path.to_str().unwrap()]);
        assert_eq!(done["created"], records);
        place
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ncred"));
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("NCRED_STORE", self.directory.path().join("store"))
            .env("NCRED_KEY_FILE", self.directory.path().join("key"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Runs what must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {}: {words}",
            output.status
        );
        output.stdout
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    pub(crate) fn key_use(&self) -> KeyUse {
        let ring = KeyRingFile::open(
            self.path().join("store"),
            &KeyFile::open(self.path().join("key")).unwrap(),
        )
        .unwrap();
        let store = StoreHandle::new(LocalStorage::existing(self.path().join("store")));
        let ctx = OpContext::new(Principal::Process, Arc::new(SystemClock));
        let found = EpochUse::scan(&store, ring.ring(), &ctx);
        let found = self.runtime.block_on(found).unwrap();
        assert_eq!((found.foreign(), found.unreadable()), (0, 0));
        let status = self.json(&["key", "status"]);
        let states = status["keys"].as_array().unwrap().iter().map(|key| {
            let state = key["state"].as_str().unwrap().to_owned();
            (key["key"].as_u64().unwrap(), state)
        });
        KeyUse {
            wraps: found
                .epochs()
                .map(|(epoch, count)| (u64::from(epoch.get()), count))
                .collect(),
            states: states.collect(),
        }
    }

    /// Reads every record: how many there are, and the names of those whose value is not the one that was stored.
    pub(crate) fn read_all(&self) -> (usize, Vec<String>) {
        let manager = manager(&self.path());
        self.runtime.block_on(async {
            let mut wrong = Vec::new();
            for number in 0..self.records {
                let found = manager.get_raw(name(number)).await;
                if !found.is_ok_and(|found| found.expose() == stored(number).as_bytes()) {
                    wrong.push(name(number));
                }
            }
            (manager.list().await.unwrap().len(), wrong)
        })
    }

    /// What `ncred doctor` finds, by the name of the check.
    pub(crate) fn findings(&self) -> BTreeSet<String> {
        let report = self.json(&["doctor"]);
        assert_eq!(report["checked"]["opened"], self.records);
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding["check"].as_str().unwrap().to_owned())
            .collect()
    }
}
