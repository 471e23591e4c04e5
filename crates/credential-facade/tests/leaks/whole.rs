//! A canary along the whole stack: telemetry, audit, access control, cache, sealing, resilience and store, with what
//! each of them shows, writes, traces and measures.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_credential::access::{AccessLayer, PolicyFile};
use nebula_credential::audit::{
    AuditSeed, Entry, Names, TracingSink, VerifyWith, WriterSink, entries, verify,
};
use nebula_credential::cache::CacheBuilder;
use nebula_credential::prelude::*;
use nebula_credential::resilience::{BreakerConfig, Resilience, RetryConfig};
use nebula_credential::{
    ManagerBuilder, MetricsEmitter, Plaintext, PolicyEpoch, Record, Response, Sealed, StoreHandle,
};
use nebula_credential_testkit::{Canary, FaultStore, LeakHunter, TestClock};
use tempfile::TempDir;

use self::along::{Measured, Notes};
use crate::{GROUND, Hunt, lives};

mod along;
mod stages;

pub(crate) const POLICY: &str = r#"
version = 1

[[rules]]
id = "alice-does-all"
effect = "allow"
principals = ["user:alice"]
permissions = ["*"]
tenants = ["*"]

[[rules]]
id = "shared"
effect = "allow"
principals = ["granted"]
permissions = ["use"]
tenants = ["*"]

[[rules]]
id = "break-glass"
effect = "allow"
emergency = true
principals = ["user:oncall"]
permissions = ["read"]
tenants = ["*"]
"#;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn user(text: &str) -> Principal {
    Principal::User(CredentialName::new(text).unwrap())
}

/// A store in which things go wrong, what stands above it, and what is seen of it from outside.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) faults: FaultStore,
    pub(crate) clock: TestClock,
    measured: Arc<Measured>,
    /// What came by above the sealing layer, and below it.
    above: Notes,
    below: Notes,
    /// What a sink of the log took.
    copies: Notes,
    pub(crate) policy: PolicyFile,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        fs::write(&path, POLICY).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let measured = Arc::new(Measured::new());
        let policy = PolicyFile::open_with(path, PolicyEpoch::default(), Arc::clone(&measured) as _).unwrap();
        let store = LocalStorage::new(directory.path().join("secrets"));
        Self {
            faults: FaultStore::new(StoreHandle::new(store)),
            clock: TestClock::new(),
            measured,
            above: Notes::default(),
            below: Notes::default(),
            copies: Notes::default(),
            policy,
            directory,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A manager with everything but a log.
    pub(crate) fn over(&self, store: StoreHandle) -> ManagerBuilder {
        let access = AccessLayer::builder(self.policy.policies()).answer_step(Duration::from_millis(1));
        let clock = Arc::new(self.clock.clone());
        let retry = RetryConfig {
            base: Duration::ZERO,
            ..RetryConfig::default()
        };
        let resilience = Resilience::new(BreakerConfig::default(), clock, Arc::clone(&self.measured) as _);
        CredentialManager::builder()
            .storage_handle(store)
            .key_ring_dir(self.path("secrets"))
            .keys(Keys::key_file(self.path("config/key")))
            .clock(self.clock.clone())
            .access(access.metrics(Arc::clone(&self.measured) as _).build())
            .cache(CacheBuilder::default().ttl(MINUTE).stale_if_error(MINUTE))
            .resilience(resilience.retry(retry))
            .metrics(Arc::clone(&self.measured) as Arc<dyn MetricsEmitter>)
            .layer(self.above.asked::<Plaintext>())
            .layer(self.above.answered::<Plaintext>())
            .sealed_layer(self.below.asked::<Sealed>())
            .sealed_layer(self.below.answered::<Sealed>())
            .principal(user("alice"))
    }

    fn log(&self, names: Names) -> AuditLogger {
        AuditLogger::builder(self.path("audit.log"))
            .names(names)
            .inspections(true)
            .checkpoints(self.path("notes"))
            .sink(TracingSink)
            .sink(WriterSink::new("copies", self.copies.clone(), 1 << 16).unwrap())
            .clock(self.clock.clone())
            .metrics(Arc::clone(&self.measured) as _)
            .build()
    }
}

#[tokio::test]
async fn no_canary_shows_up_along_the_whole_stack() {
    let ground = GROUND.lock().await;
    for names in [Names::Clear, Names::Tagged] {
        let mut place = Place::new();
        let log = place.log(names);
        let builder = place.over(place.faults.handle()).audit_log(log.clone());
        let mut hunt = Hunt::new(&ground, builder.build());
        hunt.debug("the log", &log);
        lives::all(&mut hunt, &ground).await;
        stages::memory(&mut hunt, &place, &ground).await;
        stages::damage(&mut hunt, &place, &ground).await;
        stages::refusals(&mut hunt, &mut place, &ground).await;
        stages::handles(&mut hunt, &place, &ground).await;
        stages::providers(&mut hunt, &ground).await;
        stages::chain(&mut hunt, &place, &ground).await;
        stages::keys(&mut hunt).await;
        let name = stages::named(&mut hunt, &ground).await;
        told(&mut hunt, &place, names, &name);
        println!("{} places searched along the whole stack, 0 leaks", hunt.checks);
    }
}

/// What was written, traced and measured of all that, of which there is something each time.
fn told(hunt: &mut Hunt, place: &Place, names: Names, name: &Canary) {
    let mut search = |what: &str, text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "{what} has no {part}");
        }
        hunt.hunter.check(what, text);
        hunt.checks += 1;
    };
    let traced = hunt.trace.take();
    search(
        "the trace",
        &traced,
        &["nebula_credential::audit", "operation failed", "outcome=ok"],
    );
    let series = [
        "access_decisions_total",
        "audit_records_total",
        "breaker_state",
        "cache_reads_total",
        "handle_renewals_total",
        "operations_total",
        "retries_total",
    ];
    search("Prometheus", &place.measured.page(), &series);
    search("OpenTelemetry", &place.measured.exported(), &series);
    search(
        "what came by above",
        &place.above.text(),
        &["Put(", "Ok(Record", "Tampered"],
    );
    search(
        "what came by below",
        &place.below.text(),
        &["Put(", "Sealed(envelope", "away"],
    );

    let log = fs::read_to_string(place.path("audit.log")).unwrap();
    let events = [
        "accessed",
        "created",
        "emergency_access",
        "permission_denied",
        "revoked",
        "scope_violation",
        "shared",
    ];
    search("the log", &log, &events);
    let since = Instant::now();
    while place.copies.text() != log {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "the sink did not take every record"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    search("a sink", &place.copies.text(), &events);
    hunt.hunter
        .check_files("everything written", place.directory.path());

    let known: Vec<Entry> = entries(place.path("audit.log"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    hunt.debug("entries", &known);
    let text = fs::read_to_string(place.path("audit.log.seed")).unwrap();
    let seed = AuditSeed::parse(&text).unwrap();
    let notes = place.path("notes");
    let verified = verify(place.path("audit.log"), VerifyWith::Seed(&seed), Some(&notes)).unwrap();
    assert!(verified.is_intact(), "{verified:?}");
    hunt.debug("a verification", &verified);
    hunt.debug("the seed", &seed);

    // A name is no secret, unless the log was told to keep it.
    let by_name = LeakHunter::new().hunt("name", name);
    let is_named = !by_name.search(&log).is_empty();
    assert_eq!(is_named, names == Names::Clear);
}

/// The hunt along the stack catches what it is for.
#[tokio::test]
async fn what_a_layer_lets_out_is_caught() {
    let ground = GROUND.lock().await;
    let place = Place::new();
    let quotes = tower::util::MapResultLayer::new(|answer| match answer {
        Ok(Response::Record(record)) => {
            let value: &Record<Plaintext> = &record;
            let text = String::from_utf8_lossy(value.payload.expose()).into_owned();
            Err(CredentialError::internal(text))
        }
        other => other,
    });
    let manager = place
        .over(place.faults.handle())
        .layer(quotes)
        .layer(place.above.answered::<Plaintext>())
        .build();
    let hunt = Hunt::new(&ground, manager.clone());
    manager.store("n", stages::secret(&ground)).await.unwrap();
    assert!(hunt.hunter.search(place.above.text()).is_empty());
    let error = manager.get::<SecretTextCredential>("n").await.unwrap_err();
    assert!(!hunt.hunter.search(error.to_string()).is_empty());
    assert!(!hunt.hunter.search(place.above.text()).is_empty());
    hunt.trace.take();
}
