use std::path::{Path, PathBuf};
use std::time::Duration;

use nebula_credential_audit::{
    AuditBuilder, AuditLogger, AuditSeed, Event, EventKind, Verification, VerifyWith, verify,
};
use nebula_credential_core::{CredentialName, CredentialRef, Principal, Scope, TenantId};
use nebula_credential_testkit::TestClock;
use tempfile::TempDir;

pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) clock: TestClock,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: TestClock::new(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    pub(crate) fn beside(&self, ending: &str) -> PathBuf {
        self.directory.path().join(format!("audit.log.{ending}"))
    }

    pub(crate) fn builder(&self) -> AuditBuilder {
        AuditLogger::builder(self.path()).clock(self.clock.clone())
    }

    pub(crate) fn logger(&self) -> AuditLogger {
        self.builder().build()
    }

    pub(crate) fn seed(&self) -> AuditSeed {
        AuditSeed::parse(&std::fs::read_to_string(self.beside("seed")).unwrap()).unwrap()
    }

    pub(crate) fn verify(&self) -> Verification {
        verify_at(&self.path(), &self.seed())
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }
}

pub(crate) fn verify_at(path: &Path, seed: &AuditSeed) -> Verification {
    verify(path, VerifyWith::Seed(seed), None).unwrap()
}

pub(crate) fn id(name: &str) -> CredentialRef {
    CredentialRef::new(
        TenantId::default(),
        Scope::default(),
        CredentialName::new(name).unwrap(),
    )
}

pub(crate) fn event(number: usize) -> Event {
    let mut event = Event::new(EventKind::Accessed);
    let principal = CredentialName::new(format!("service-{}", number % 7)).unwrap();
    event.principal = Some(Principal::Service(principal));
    event.id = Some(id(&format!("name-{number}")));
    event.operation = Some("get");
    event.outcome = Some("ok");
    event.duration = Some(Duration::from_micros(number as u64));
    event
}

/// `NEBULA_PROOF_COUNT`, or what the test command takes.
pub(crate) fn count(default: usize) -> usize {
    std::env::var("NEBULA_PROOF_COUNT").map_or(default, |count| count.parse().unwrap())
}
