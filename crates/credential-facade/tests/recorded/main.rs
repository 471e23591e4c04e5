//! What the audit log says of what a manager was asked: which event, who got what, in which circumstances.

#![cfg(all(feature = "access", feature = "audit"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nebula_credential::access::{AccessLayer, AccessPolicy, Policies};
use nebula_credential::audit::{AuditBuilder, AuditSeed, Entry, VerifyWith, entries, verify};
use nebula_credential::prelude::*;
use nebula_credential::{CredentialName, ManagerBuilder, Principal};
use tempfile::TempDir;

mod said;
mod settings;
mod sinks;

const POLICY: &str = r#"
version = 1

[[rules]]
id = "alice-does-all"
effect = "allow"
principals = ["user:alice"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "break-glass"
effect = "allow"
emergency = true
principals = ["user:oncall"]
permissions = ["read", "write"]
tenants = ["*"]
when = { purposes = ["INC-*"] }
"#;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self) -> AuditBuilder {
        AuditLogger::builder(self.path("audit.log"))
    }

    fn ungoverned(&self, log: AuditLogger) -> ManagerBuilder {
        CredentialManager::builder()
            .storage(LocalStorage::new(self.path("secrets")))
            .keys(Keys::key_file(self.path("config/key")))
            .audit_log(log)
            .principal(user("alice"))
    }

    fn governed(&self) -> CredentialManager {
        let policies = Policies::new(AccessPolicy::parse(POLICY).unwrap());
        let access = AccessLayer::builder(policies).answer_step(Duration::from_millis(1));
        self.ungoverned(self.log().build()).access(access.build()).build()
    }

    fn entries(&self) -> Vec<Entry> {
        entries(self.path("audit.log"))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn last(&self) -> Entry {
        self.entries().pop().unwrap()
    }

    /// Stage, event and detail of the last two records.
    fn change(&self) -> [(String, String, Option<String>); 2] {
        let mut last = self.entries().into_iter().rev();
        let mut next = || {
            let entry = last.next().unwrap();
            (entry.stage, entry.event, entry.detail)
        };
        let outcome = next();
        [next(), outcome]
    }

    fn is_intact(&self) -> bool {
        let seed = fs::read_to_string(self.path("audit.log.seed")).unwrap();
        let seed = AuditSeed::parse(&seed).unwrap();
        verify(self.path("audit.log"), VerifyWith::Seed(&seed), None)
            .unwrap()
            .is_intact()
    }
}

fn name(text: &str) -> CredentialName {
    CredentialName::new(text).unwrap()
}

fn user(text: &str) -> Principal {
    Principal::User(name(text))
}

fn value() -> BasicCredential {
    BasicCredential::new("app", "s3cret")
}
