//! A store under an access policy, and `ncred` run there by whom it is about.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::place::{Answer, Place, answer, text};

pub(super) const OPERATED: &str = r#"
version = 1

[groups]
payments = ["user:alice", "service:billing"]

[[rules]]
id = "payments-operate"
effect = "allow"
principals = ["group:payments"]
permissions = ["use", "rotate"]
tenants = ["default"]
names = ["stripe/*"]

[[rules]]
id = "alice-writes"
effect = "allow"
principals = ["user:alice"]
permissions = ["write"]
tenants = ["default"]

[[rules]]
id = "frozen"
effect = "deny"
principals = ["*"]
permissions = ["rotate"]
tenants = ["*"]
tags = { frozen = "yes" }

[[rules]]
id = "break-glass"
effect = "allow"
emergency = true
principals = ["user:oncall"]
permissions = ["read"]
tenants = ["default"]
"#;

pub(super) const OWNED: &str = r#"
version = 1

[[rules]]
id = "anyone-stores"
effect = "allow"
principals = ["*"]
permissions = ["write"]
tenants = ["default"]
names = ["new/*"]

[[rules]]
id = "owners"
effect = "allow"
principals = ["owner"]
permissions = ["*"]
tenants = ["default"]

[[rules]]
id = "as-shared"
effect = "allow"
principals = ["granted"]
permissions = ["read", "use"]
tenants = ["default"]
"#;

const VALUE: &str = r#"{"username":"octocat","password":"canary-5up3r-s3cr3t"}"#;

/// A policy of one rule, which allows `who` to do that in every tenant; `more` are further lines of it.
pub(crate) fn allowing(who: &str, permission: &str, more: &str) -> String {
    format!(
        "version = 1\n[[rules]]\nid = \"the-rule\"\neffect = \"allow\"\nprincipals = [\"{who}\"]\n\
         permissions = [\"{permission}\"]\ntenants = [\"*\"]\n{more}\n"
    )
}

/// A place under a policy, and with a log of what is asked there.
pub(super) struct Governed {
    pub(super) place: Place,
    policy: PathBuf,
    log: PathBuf,
}

impl Governed {
    pub(super) fn by(policy: &str) -> Self {
        let place = Place::new();
        let policy = place.file("policy.toml", policy);
        let log = place.path("audit.log");
        Self { place, policy, log }
    }

    fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut command = self.place.command();
        command
            .args(args)
            .env("NCRED_POLICY", &self.policy)
            .env("NCRED_PRINCIPAL", who);
        command
    }

    pub(super) fn run(&self, who: &str, args: &[&str]) -> Answer {
        answer(self.command(who, args), "")
    }

    /// Likewise, and recorded.
    pub(super) fn recorded(&self, who: &str, args: &[&str]) -> Answer {
        let mut command = self.command(who, args);
        command.env("NCRED_AUDIT_LOG", &self.log);
        answer(command, "")
    }

    /// What was recorded so far, but for the opening of the log.
    pub(super) fn records(&self) -> Vec<Value> {
        if !self.log.exists() {
            return Vec::new();
        }
        let shown = self
            .place
            .ok(&["audit", "show", "--json", "--log", text(&self.log)]);
        let records = shown.lines().map(|line| serde_json::from_str(line).unwrap());
        records
            .filter(|record: &Value| record["event"] != "log_opened")
            .collect()
    }

    /// What is left behind by one run, and the records of it.
    pub(super) fn left_by(&self, who: &str, args: &[&str]) -> (Answer, Vec<Value>) {
        let before = self.records().len();
        let told = self.recorded(who, args);
        (told, self.records().split_off(before))
    }

    pub(super) fn ok(&self, who: &str, args: &[&str]) -> String {
        let answer = self.run(who, args);
        assert_eq!(answer.code, 0, "{who} {args:?}: {answer:?}");
        answer.out
    }

    pub(super) fn put(&self, who: &str, name: &str) {
        let answer = answer(self.command(who, &["put", name, "--type", "basic"]), VALUE);
        assert_eq!(answer.code, 0, "{answer:?}");
    }

    pub(super) fn names(&self, who: &str) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.ok(who, &["list", "--json"])).unwrap();
        let heads = list.as_array().unwrap().iter();
        heads
            .map(|head| head["name"].as_str().unwrap().to_owned())
            .collect()
    }
}
