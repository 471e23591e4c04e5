//! What the audit log says of what a manager was asked: which event, who got what, in which circumstances.

#![cfg(all(feature = "access", feature = "audit"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nebula_credential::access::{
    AccessLayer, AccessPolicy, Permissions, Policies, PolicyFile, Reload, Sharing,
};
use nebula_credential::audit::{
    AuditBuilder, AuditSeed, AuditSink as _, Entry, Names, OnFailure, VerifyWith, WriterSink, entries, verify,
};
use nebula_credential::prelude::*;
use nebula_credential::{Circumstances, CredentialName, ErrorKind, ManagerBuilder, Permission, Principal};
use tempfile::TempDir;

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

#[tokio::test]
async fn a_revocation_is_recorded_as_one() {
    let place = Place::new();
    let alice = place.governed();
    alice.store("db", value()).await.unwrap();
    alice.revoke("db").await.unwrap();
    let told = |stage: &str| (stage.to_owned(), "revoked".to_owned(), None);
    assert_eq!(place.change(), [told("intent"), told("outcome")]);
    assert!(place.is_intact());
}

#[tokio::test]
async fn a_change_of_grants_says_who_got_what_until_when() {
    let place = Place::new();
    let alice = place.governed();
    let told = |detail: &str| {
        ["intent", "outcome"].map(|stage| (stage.to_owned(), "shared".to_owned(), Some(detail.to_owned())))
    };
    let grant = |to: &str, permission: Permission, until: Option<&str>| Sharing::Grant {
        to: user(to),
        permissions: Permissions::only(permission),
        until: until.map(|until| until.parse().unwrap()),
    };
    // As it is known without a policy, too.
    let nobody = place.ungoverned(place.log().build()).build();
    nobody.store("db", value()).await.unwrap();
    let adopt = Sharing::Adopt { owner: user("carol") };
    nobody.share("db", &adopt).await.unwrap();
    assert_eq!(place.change(), told("owner user:carol"));

    let until = "2999-01-01T00:00:00Z";
    alice
        .share("db", &grant("bob", Permission::Read, Some(until)))
        .await
        .unwrap();
    assert_eq!(
        place.change(),
        told(&format!("grant read to user:bob until {until}"))
    );
    alice
        .share("db", &grant("dave", Permission::Use, None))
        .await
        .unwrap();
    assert_eq!(place.change(), told("grant use to user:dave"));
    alice
        .share("db", &grant("bob", Permission::Use, None))
        .await
        .unwrap();
    assert_eq!(
        place.change(),
        told(&format!(
            "grant use to user:bob; end read to user:bob until {until}"
        ))
    );
    alice
        .share("db", &Sharing::Revoke { from: user("bob") })
        .await
        .unwrap();
    assert_eq!(place.change(), told("end use to user:bob"));

    // Who may not is recorded with what they wanted.
    let oncall = alice.with_principal(user("oncall")).with_purpose("INC-7");
    let refused = oncall.share("db", &grant("eve", Permission::Read, None)).await;
    refused.unwrap_err();
    let [_, (_, event, detail)] = place.change();
    assert_eq!(
        (event.as_str(), detail.as_deref()),
        ("permission_denied", Some("grant read to user:eve"))
    );
    assert!(place.is_intact());
}

#[tokio::test]
async fn what_an_emergency_allowed_and_what_was_not_declared_are_events_of_their_own() {
    let place = Place::new();
    let alice = place.governed();
    alice.store("db", value()).await.unwrap();
    let oncall = alice.with_principal(user("oncall")).with_purpose("INC-7");
    let event = || {
        let last = place.last();
        (
            last.event,
            last.operation.unwrap(),
            last.rule.unwrap(),
            last.outcome.unwrap(),
        )
    };
    let is = |found: (String, String, String, String), expected: [&str; 4]| {
        assert_eq!([found.0, found.1, found.2, found.3], expected);
    };
    oncall.get::<BasicCredential>("db").await.unwrap();
    is(
        event(),
        ["emergency_access", "get", "emergency:break-glass", "ok"],
    );
    oncall.store("db", value()).await.unwrap();
    is(
        event(),
        ["emergency_access", "put", "emergency:break-glass", "ok"],
    );
    assert_eq!(place.change()[0].1, "updated");
    let context = alice.context(Principal::Action(name("send")));
    context.get_credential::<BasicCredential>("db").await.unwrap_err();
    is(event(), ["scope_violation", "get", "allow-list", "access_denied"]);
    alice.get::<BasicCredential>("db").await.unwrap();
    assert_eq!(place.last().event, "accessed");
}

#[tokio::test]
async fn a_policy_that_changes_while_the_program_runs_is_on_record() {
    let place = Place::new();
    let path = place.path("policy.toml");
    fs::write(&path, POLICY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut file = PolicyFile::open(&path).unwrap();
    let alice = place
        .ungoverned(place.log().build())
        .access(AccessLayer::new(file.policies()))
        .build();
    alice.store("db", value()).await.unwrap();
    let before = place.entries().len();
    alice.record_reload(&file.reload()).unwrap();
    assert_eq!(place.entries().len(), before, "nothing changed");

    fs::write(&path, POLICY.replace("INC-", "SEV-")).unwrap();
    alice.record_reload(&file.reload()).unwrap();
    let last = place.last();
    assert_eq!(
        (last.event.as_str(), last.outcome.as_deref()),
        ("policy_changed", Some("ok"))
    );
    assert_eq!(last.principal.as_deref(), Some("user:alice"));

    fs::write(&path, "version = 2").unwrap();
    let refused = file.reload();
    assert!(matches!(refused, Reload::Refused(_)));
    alice.record_reload(&refused).unwrap();
    let last = place.last();
    assert_eq!(
        (last.event.as_str(), last.outcome.as_deref()),
        ("policy_changed", Some("invalid_input"))
    );
    assert!(place.is_intact());
}

#[tokio::test]
async fn the_circumstances_that_were_told_are_recorded() {
    let place = Place::new();
    let alice = place.governed();
    alice.store("db", value()).await.unwrap();
    let mut told = Circumstances::default();
    told.workflow = Some(name("invoices"));
    told.node = Some(name("fetch"));
    told.user = Some(name("bob"));
    told.environment = Some("pro\u{1b}duction".into());
    told.address = Some("2001:db8::7".parse().unwrap());
    told.mfa = true;
    let somewhere = alice.with_circumstances(told.clone());
    somewhere.get::<BasicCredential>("db").await.unwrap();
    let last = place.last();
    assert_eq!(last.workflow.as_deref(), Some("invoices"));
    assert_eq!(last.node.as_deref(), Some("fetch"));
    assert_eq!(last.user.as_deref(), Some("bob"));
    assert_eq!(last.environment.as_deref(), Some("pro\u{1b}duction"));
    assert_eq!(last.address.as_deref(), Some("2001:db8::7"));
    assert_eq!(last.mfa, Some(true));
    // So are those of work on the keys.
    somewhere.rotate_key().await.unwrap();
    assert_eq!(place.last().workflow.as_deref(), Some("invoices"));
    // What was not told is not there.
    alice.get::<BasicCredential>("db").await.unwrap();
    let last = place.last();
    assert_eq!((last.workflow, last.environment, last.mfa), (None, None, None));

    told.environment = Some("x".repeat(129).into());
    let error = alice
        .with_circumstances(told)
        .get::<BasicCredential>("db")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(place.is_intact());
}

#[tokio::test]
async fn a_purpose_too_long_to_be_recorded_releases_and_changes_nothing_under_any_setting() {
    for setting in [OnFailure::FailClosed, OnFailure::BestEffort] {
        let place = Place::new();
        let alice = place.ungoverned(place.log().on_failure(setting).build()).build();
        alice.store("db", value()).await.unwrap();
        let before = place.entries();
        for len in [1025, 70_000, 1_000_000] {
            let long = alice.with_purpose(&"x".repeat(len));
            let kinds = [
                long.get::<BasicCredential>("db")
                    .await
                    .map(drop)
                    .unwrap_err()
                    .kind(),
                long.store("db", value()).await.map(drop).unwrap_err().kind(),
                long.delete("db").await.unwrap_err().kind(),
                long.rotate_key().await.map(drop).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [ErrorKind::LimitExceeded; 4], "{setting:?} {len}");
        }
        assert_eq!(place.entries(), before);
        // One that is as long as can be, in the longest way to write it.
        let longest = alice.with_purpose(&"\u{1}".repeat(1024));
        longest.get::<BasicCredential>("db").await.unwrap();
        let last = place.last();
        assert_eq!(
            (last.version, last.purpose.map(|text| text.len())),
            (Some(1), Some(1024))
        );
    }
}

#[tokio::test]
async fn a_log_goes_on_naming_credentials_as_it_was_begun() {
    let place = Place::new();
    let tagged = place.ungoverned(place.log().names(Names::Tagged).build()).build();
    tagged.store("db-of-acme", value()).await.unwrap();
    // Whoever was told nothing.
    let plain = place.ungoverned(place.log().build()).build();
    plain.get::<BasicCredential>("db-of-acme").await.unwrap();
    assert!(place.last().tag.is_some());
    assert!(
        !fs::read_to_string(place.path("audit.log"))
            .unwrap()
            .contains("db-of-acme")
    );
    // Whoever was told otherwise gets nothing, under any setting.
    for setting in [OnFailure::FailClosed, OnFailure::BestEffort] {
        let clear = place.log().names(Names::Clear).on_failure(setting).build();
        let error = place
            .ungoverned(clear)
            .build()
            .get::<BasicCredential>("db-of-acme")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.to_string().contains("begin a new log"), "{error}");
    }
    assert!(place.is_intact());
}

#[tokio::test]
async fn a_socket_whose_peer_dies_holds_nothing_up_and_its_losses_are_on_record() {
    let place = Place::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let log = place
        .log()
        .sink(WriterSink::new("siem", ours, 4).unwrap())
        .build();
    let alice = place.ungoverned(log).build();
    alice.store("db", value()).await.unwrap();
    let mut peer = BufReader::new(theirs);
    let mut copy = String::new();
    while !copy.contains("\"created\",\"stage\":\"outcome\"") {
        peer.read_line(&mut copy).unwrap();
    }
    assert!(
        fs::read_to_string(place.path("audit.log"))
            .unwrap()
            .starts_with(&copy)
    );
    drop(peer);
    let since = Instant::now();
    let is_lost = |entry: &Entry| {
        let detail = entry.detail.as_deref().unwrap_or_default();
        entry.event == "records_lost" && detail.ends_with(" by siem")
    };
    while !place.entries().iter().any(is_lost) {
        alice.get::<BasicCredential>("db").await.unwrap();
        assert!(since.elapsed() < Duration::from_secs(20), "no loss was recorded");
    }
    assert!(place.is_intact());
}

#[tokio::test]
async fn a_socket_whose_peer_does_not_read_holds_nothing_up() {
    let place = Place::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let log = place
        .log()
        .sink(WriterSink::new("siem", ours, 4).unwrap())
        .build();
    let alice = place.ungoverned(log).build();
    alice.store("db", value()).await.unwrap();
    let since = Instant::now();
    while !place
        .entries()
        .iter()
        .rev()
        .take(2)
        .any(|entry| entry.event == "records_lost")
    {
        // The system takes some hundred kilobytes before the queue fills.
        for _ in 0..200 {
            alice.get::<BasicCredential>("db").await.unwrap();
        }
        assert!(since.elapsed() < Duration::from_secs(20), "no loss was recorded");
    }
    assert!(theirs.read(&mut [0]).is_ok());
    assert!(place.is_intact());
}

/// The most memory this process has had, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn a_sink_that_is_stuck_holds_no_more_than_its_queue() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let sink = WriterSink::new("siem", ours, 100).unwrap();
    let record = "x".repeat(60_000);
    let before = peak();
    let taken = (0..5000).filter(|_| sink.take(&record)).count();
    // Of 300 MB, 6 MB wait in the queue, and what the socket holds is the system's.
    assert!((100..400).contains(&taken), "{taken}");
    assert!(peak() - before < 64 << 20, "{}", peak() - before);
    drop(theirs);
}
