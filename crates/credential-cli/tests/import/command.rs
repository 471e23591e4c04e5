//! The real binary on a store of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nebula_credential::{CredentialManager, Keys, LocalStorage};
use serde_json::Value;

/// A store in a directory that goes with it.
pub(crate) struct Store {
    directory: tempfile::TempDir,
}

/// What a run said and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Store {
    pub(crate) fn new() -> Self {
        let store = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        store.run(&["init"], "").ok();
        store
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the store; gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ncred"))
            .env_clear()
            .env("HOME", self.directory.path())
            .args(["--store", self.path("secrets").to_str().unwrap()])
            .args(["--key-file", self.path("config/key").to_str().unwrap()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A run that refuses its arguments does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// Imports `text` as a file of this name.
    pub(crate) fn import(&self, name: &str, text: &str, options: &[&str]) -> Ran {
        let file = self.file(name, text);
        let arguments: Vec<&str> = ["import", &file].iter().chain(options).copied().collect();
        self.run(&arguments, "")
    }

    /// The stored JSON of a credential, and its type.
    pub(crate) fn get(&self, name: &str) -> Option<(String, Value)> {
        self.all()
            .into_iter()
            .find(|(known, ..)| known == name)
            .map(|(_, kind, json)| (kind, json))
    }

    /// Name, type and JSON of every credential, read by the library.
    pub(crate) fn all(&self) -> Vec<(String, String, Value)> {
        let manager = CredentialManager::builder()
            .storage(LocalStorage::existing(self.path("secrets")))
            .keys(Keys::key_file(self.path("config/key")))
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut all = Vec::new();
            for name in manager.list().await.unwrap() {
                let raw = manager.get_raw(&name).await.unwrap();
                let json = serde_json::from_slice(raw.expose()).unwrap();
                let kind = raw.head().version.credential_type.to_string();
                all.push((name.to_string(), kind, json));
            }
            all
        })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.all().into_iter().map(|(name, ..)| name).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// A refusal with this exit code that says each of `words`.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains("help: "), "no remedy: {}", self.err);
        self.says(words)
    }

    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.out.contains(word) || self.err.contains(word),
                "no {word:?}: {}{}",
                self.out,
                self.err
            );
        }
        self
    }

    /// None of `secrets` was printed.
    #[track_caller]
    pub(crate) fn hides(self, secrets: &[&str]) -> Self {
        for secret in secrets {
            assert!(
                !self.out.contains(secret) && !self.err.contains(secret),
                "{}{}",
                self.out,
                self.err
            );
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A file of this crate's test data.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/import")
        .join(name)
}
