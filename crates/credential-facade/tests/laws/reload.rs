//! A policy file that changes under a running program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nebula_credential::access::{PolicyFile, Reload};
use nebula_credential::{HealthStatus, Labels, MetricsEmitter, PolicyEpoch};
use nebula_credential_testkit::TraceCapture;
use tokio::sync::mpsc;

use crate::place::{Note, POLICY, Place, note, rule, user};

/// How often each outcome of a reload was counted.
#[derive(Default)]
struct Reloads(Mutex<Vec<&'static str>>);

impl MetricsEmitter for Reloads {
    fn increment(&self, name: &'static str, labels: Labels<'_>, _: u64) {
        if name == "nebula_credential_access_reloads_total" {
            let outcomes = labels.iter().map(|(_, outcome)| *outcome);
            self.0.lock().unwrap().extend(outcomes);
        }
    }

    fn gauge(&self, _: &'static str, _: Labels<'_>, _: f64) {}

    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}

/// A place whose policy is in a file that is watched.
struct Watched {
    place: Place,
    path: PathBuf,
    reloads: Arc<Reloads>,
    heard: mpsc::UnboundedReceiver<Reload>,
}

impl Watched {
    fn new(policy: &str) -> Self {
        let mut place = Place::new("version = 1");
        let path = place.directory.path().join("policy.toml");
        fs::write(&path, policy).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let reloads = Arc::new(Reloads::default());
        let file = PolicyFile::open_with(&path, PolicyEpoch::default(), Arc::clone(&reloads) as _).unwrap();
        place.policies = file.policies();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(file.watch(Duration::from_millis(2), move |reload| {
            let _ = tell.send(reload);
        }));
        Self {
            place,
            path,
            reloads,
            heard,
        }
    }

    /// As an editor does: a new file in the place of the old.
    async fn change(&mut self, policy: &str) -> Reload {
        let new = self.path.with_extension("new");
        fs::write(&new, policy).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, &self.path).unwrap();
        self.heard.recv().await.unwrap()
    }
}

#[tokio::test]
async fn who_is_taken_out_of_the_file_gets_no_cached_value_and_nobody_gets_an_older_one() {
    let readers = rule("bob-reads", "allow", "user:bob", "read", "tenants = [\"*\"]");
    let mut watched = Watched::new(&format!("{POLICY}{readers}"));
    let alice = watched.place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    let bob = alice.with_principal(user("bob"));
    for _ in 0..2 {
        assert_eq!(bob.get::<Note>("n").await.unwrap().text, "one");
    }
    assert_eq!(watched.place.faults.count("get"), 1);

    assert_eq!(watched.change(POLICY).await, Reload::Applied);
    let (calls, stats) = (watched.place.calls(), alice.cache_stats().unwrap());
    assert!(bob.get::<Note>("n").await.unwrap_err().is_access_denied());
    assert_eq!(watched.place.last().rule.as_deref(), Some("default-deny"));
    assert_eq!(watched.place.calls(), calls);
    assert_eq!(alice.cache_stats().unwrap(), stats);
    // What was kept under the policy before is not served to whom this one allows either.
    alice.get::<Note>("n").await.unwrap();
    assert_eq!(watched.place.faults.count("get"), 2);
}

#[tokio::test]
async fn a_file_that_holds_no_policy_leaves_the_one_before_and_says_so_until_it_is_put_right() {
    let mut watched = Watched::new(POLICY);
    let capture = TraceCapture::new();
    let _captured = capture.capture_thread();
    let alice = watched.place.builder().build();
    alice.store("n", note("one")).await.unwrap();
    alice.get::<Note>("n").await.unwrap();
    let health = alice.health().await;
    assert_eq!(
        (health.status, health.policy),
        (HealthStatus::Healthy, Some(Ok(())))
    );

    let slip = POLICY.replace("permissions", "permisions");
    let Reload::Refused(flaw) = watched.change(&slip).await else {
        panic!("a policy with a slip is refused")
    };
    assert!(flaw.to_string().contains("line 8"), "{flaw}");
    // The policy before holds on, and what was kept under it.
    let reads = watched.place.faults.count("get");
    assert_eq!(alice.get::<Note>("n").await.unwrap().text, "one");
    assert_eq!(watched.place.faults.count("get"), reads);
    assert!(
        alice
            .with_principal(user("bob"))
            .get::<Note>("n")
            .await
            .unwrap_err()
            .is_access_denied()
    );
    let health = alice.health().await;
    assert_eq!(
        (health.status, health.policy),
        (HealthStatus::Degraded, Some(Err(flaw)))
    );
    let traced = capture.text();
    assert!(traced.contains("the one before holds on"), "{traced}");
    assert!(traced.contains("policy.toml"), "{traced}");

    assert_eq!(watched.change(POLICY).await, Reload::Applied);
    let health = alice.health().await;
    assert_eq!(
        (health.status, health.policy),
        (HealthStatus::Healthy, Some(Ok(())))
    );
    assert_eq!(*watched.reloads.0.lock().unwrap(), ["refused", "applied"]);
}
