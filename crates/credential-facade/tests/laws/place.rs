//! A store under a policy, with a cache and an audit log, and who asks there.

use std::path::PathBuf;
use std::time::Duration;

use nebula_credential::access::{AccessLayer, AccessPolicy, Policies};
use nebula_credential::audit::Entry;
use nebula_credential::prelude::*;
use nebula_credential::{CredentialName, ManagerBuilder, Principal, StoreHandle};
use nebula_credential_testkit::FaultStore;
use tempfile::TempDir;

#[derive(Credential)]
pub(crate) struct Note {
    #[secret]
    pub(crate) text: String,
}

pub(crate) fn note(text: &str) -> Note {
    Note { text: text.into() }
}

pub(crate) fn user(name: &str) -> Principal {
    Principal::User(CredentialName::new(name).unwrap())
}

pub(crate) fn action(name: &str) -> Principal {
    Principal::Action(CredentialName::new(name).unwrap())
}

pub(crate) const POLICY: &str = r#"
version = 1

[[rules]]
id = "alice-does-all"
effect = "allow"
principals = ["user:alice"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "actions-use"
effect = "allow"
principals = ["action:*"]
permissions = ["use"]
tenants = ["*"]
"#;

pub(crate) const SHARED: &str = r#"
[[rules]]
id = "as-shared"
effect = "allow"
principals = ["granted"]
permissions = ["read", "use"]
tenants = ["*"]
"#;

/// A rule, as it stands in a policy: each of `lines` is one key.
pub(crate) fn rule(id: &str, effect: &str, who: &str, permission: &str, lines: &str) -> String {
    format!(
        "\n[[rules]]\nid = {id:?}\neffect = {effect:?}\nprincipals = [{who:?}]\npermissions = [{permission:?}]\n{lines}\n"
    )
}

pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) faults: FaultStore,
    pub(crate) policies: Policies,
}

impl Place {
    pub(crate) fn new(policy: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStorage::new(directory.path().join("secrets"));
        let policy = AccessPolicy::parse(policy).unwrap();
        Self {
            faults: FaultStore::new(StoreHandle::new(store)),
            policies: Policies::new(policy),
            directory,
        }
    }

    /// Under the policy, and asked by alice.
    pub(crate) fn builder(&self) -> ManagerBuilder {
        self.ungoverned()
            .access(
                AccessLayer::builder(self.policies.clone())
                    .answer_step(Duration::from_millis(1))
                    .build(),
            )
            .principal(user("alice"))
    }

    /// Under no policy.
    pub(crate) fn ungoverned(&self) -> ManagerBuilder {
        CredentialManager::builder()
            .storage_handle(self.faults.handle())
            .keys(Keys::key_file(self.directory.path().join("config/key")))
            .cache_ttl(Duration::from_secs(300))
            .audit_log(AuditLogger::new(self.log()))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// The records of operations on credentials.
    pub(crate) fn records(&self) -> Vec<Entry> {
        self.entries()
            .into_iter()
            .filter(|entry| entry.name.is_some())
            .collect()
    }

    pub(crate) fn last(&self) -> Entry {
        self.entries().pop().unwrap()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        nebula_credential::audit::entries(self.log())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// The records of work on the keys: operation, stage, outcome.
    pub(crate) fn key_work(&self) -> Vec<(String, String, Option<String>)> {
        let work = self
            .entries()
            .into_iter()
            .filter(|entry| entry.event == "key_rotated");
        work.map(|entry| (entry.operation.unwrap(), entry.stage, entry.outcome))
            .collect()
    }

    pub(crate) fn calls(&self) -> usize {
        self.faults.calls().len()
    }
}
