//! One layer, one fault, and what comes of it.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nebula_credential::prelude::*;
use nebula_credential::{Clock, ManagerBuilder, StoreHandle};
use nebula_credential_testkit::{Fault, FaultStore, TestClock};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use crate::measured::Measured;
use crate::shelf::ShelfStore;

#[derive(Credential)]
pub(crate) struct Note {
    #[secret]
    pub(crate) text: String,
}

pub(crate) fn note(text: &str) -> Note {
    Note { text: text.into() }
}

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It takes 2 s.
    Slow,
    /// It refuses, and says to come back after 3 s: 429 with `Retry-After`.
    ThrottledFor3s,
    /// It refuses: 429 without.
    Throttled,
    /// It does what it is asked, and its answer is lost on the way: a gateway's 502 or 504.
    LostAnswers,
    /// It does not answer.
    Silent,
    /// It answers with the version before the one it acknowledged last.
    Behind,
}

impl Trouble {
    pub(crate) const ALL: [Self; 6] = [
        Self::Slow,
        Self::ThrottledFor3s,
        Self::Throttled,
        Self::LostAnswers,
        Self::Silent,
        Self::Behind,
    ];

    pub(crate) fn fault(self) -> Fault {
        let refuse = |retry_after| {
            Fault::Refuse(CredentialError::Unavailable {
                message: "too many requests; ask again later".into(),
                retry_after,
            })
        };
        match self {
            Self::Slow => Fault::Delay(Duration::from_secs(2)),
            Self::ThrottledFor3s => refuse(Some(Duration::from_secs(3))),
            Self::Throttled => refuse(None),
            Self::LostAnswers => Fault::LoseAnswer,
            Self::Silent => Fault::Hang,
            Self::Behind => Fault::Stale,
        }
    }
}

/// The test clock, which goes with tokio's.
#[derive(Debug, Clone)]
struct Together {
    clock: TestClock,
    began: DateTime<Utc>,
    origin: Instant,
}

impl Clock for Together {
    fn now(&self) -> DateTime<Utc> {
        // Elsewhere it stands where it was last seen.
        if Handle::try_current().is_ok() {
            let passed = TimeDelta::from_std(self.origin.elapsed()).unwrap();
            self.clock.set(self.began + passed);
        }
        self.clock.now()
    }
}

/// A store in which things go wrong, and what is around it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) faults: FaultStore,
    pub(crate) measured: Measured,
    /// Another store, with an older value; nothing goes wrong there.
    pub(crate) second: StoreHandle,
    clock: Together,
}

impl Place {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        Self {
            directory: tempfile::tempdir().unwrap(),
            faults: FaultStore::new(shelf()),
            measured: Measured::default(),
            second: shelf(),
            clock: Together {
                began: clock.now(),
                clock,
                origin: Instant::now(),
            },
        }
    }

    pub(crate) fn clock(&self) -> impl Clock + use<> {
        self.clock.clone()
    }

    pub(crate) fn builder(&self, store: StoreHandle) -> ManagerBuilder {
        CredentialManager::builder()
            .storage_handle(store)
            .keys(Keys::key_file(self.directory.path().join("config/key")))
            .key_ring_dir(self.directory.path().join("ring"))
            .clock(self.clock())
    }

    /// How a request ended, after how many attempts on the store and how many whole seconds.
    pub(crate) async fn seen(&self, request: impl Future<Output = String>) -> String {
        let attempts = || self.faults.count("get") + self.faults.count("put");
        let (since, before) = (Instant::now(), attempts());
        let answer = request.await;
        format!("{answer} {}x {}s", attempts() - before, since.elapsed().as_secs())
    }
}

fn shelf() -> StoreHandle {
    StoreHandle::new(ShelfStore::default())
}

/// For how long anybody waits.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patiently<T>(
    request: impl Future<Output = Result<T, CredentialError>>,
    answer: impl Fn(T) -> String,
) -> String {
    match timeout(PATIENCE, request).await {
        Ok(Ok(value)) => answer(value),
        Ok(Err(error)) => error.kind().as_str().to_owned(),
        Err(_) => "given_up".to_owned(),
    }
}

pub(crate) async fn read(manager: &CredentialManager) -> String {
    patiently(manager.get::<Note>("n"), |note| note.text.clone()).await
}

async fn write(manager: &CredentialManager) -> String {
    patiently(async { manager.rotate("n", note("three")).await }, |_| {
        "stored".to_owned()
    })
    .await
}

/// A layer, or several, and what there is to see of them afterwards.
pub(crate) struct Row<B, E> {
    /// Puts the layer around the store.
    pub(crate) build: B,
    /// What was counted, kept, recorded.
    pub(crate) evidence: E,
    /// For how long a value lies read before the trouble begins; `None` if none was.
    pub(crate) read_before: Option<Duration>,
}

impl<B, E> Row<B, E>
where
    B: Fn(&Place) -> ManagerBuilder,
    E: Fn(&Place, &CredentialManager) -> String,
{
    /// Two versions are stored, then the trouble begins. Two ask at once; 2 s later one asks again; the trouble is with writes, and
    /// one writes; the trouble is over, a minute passes, and one asks.
    async fn cell(&self, trouble: Trouble) -> String {
        let place = Place::new();
        let manager = (self.build)(&place).build();
        manager.store("n", note("one")).await.unwrap();
        let beside = place.builder(place.second.clone()).build();
        beside.store("n", note("elsewhere")).await.unwrap();
        sleep(PATIENCE).await;
        manager.rotate("n", note("two")).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        if let Some(time) = self.read_before {
            assert_eq!(read(&manager).await, "two");
            sleep(time).await;
        }
        place.measured.forget();

        let faults = &place.faults;
        faults.always("get", trouble.fault());
        let two = place
            .seen(async {
                let (one, other) = tokio::join!(read(&manager), read(&manager));
                format!("{one}+{other}")
            })
            .await;
        sleep(Duration::from_secs(2)).await;
        let again = place.seen(read(&manager)).await;
        faults.heal();
        match trouble {
            // Who writes looks first, and finds out by the write.
            Trouble::Behind => faults.once("head", trouble.fault()),
            _ => faults.always("put", trouble.fault()),
        }
        let written = place.seen(write(&manager)).await;
        faults.heal();
        sleep(PATIENCE).await;
        let after = place.seen(read(&manager)).await;
        let evidence = (self.evidence)(&place, &manager);
        let cell = [two, again, written, after, evidence].join(" | ");
        cell.trim_end_matches(" | ").to_owned()
    }

    /// Compares every cell of the row with what must hold. A cell is what came of the four requests, in order, and the
    /// evidence: each request has its answer, or the kind of its error, the attempts it cost (`2x`), and how many seconds it
    /// took. `two` is the current value, `one` an older one; `given_up` after a minute.
    pub(crate) async fn holds(&self, expected: [&str; 6]) {
        let mut found = Vec::new();
        for trouble in Trouble::ALL {
            found.push(self.cell(trouble).await);
        }
        let differing: Vec<_> = Trouble::ALL
            .iter()
            .zip(found.iter().zip(expected))
            .filter(|(_, (found, expected))| found != expected)
            .map(|(trouble, (found, expected))| {
                format!("{trouble:?}\n  found    {found}\n  expected {expected}")
            })
            .collect();
        assert!(differing.is_empty(), "\n{}", differing.join("\n"));
    }
}
