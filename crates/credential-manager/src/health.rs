//! Whether everything a manager needs works, and what will cease to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
#[cfg(feature = "audit")]
use nebula_credential_audit::{AuditLogger, Event, EventKind, OnFailure};
#[cfg(feature = "cache")]
use nebula_credential_cache::CacheStats;
use nebula_credential_core::{
    CredentialError, CredentialName, CredentialRef, List, Op, OpContext, Phase, Plaintext, Request, Version,
    VersionHead, limits,
};
use nebula_credential_crypto::{Epoch, KeyRing, Place, Sealer};
#[cfg(feature = "resilience")]
use nebula_credential_resilience::BreakerState;
use tower::ServiceExt as _;

use crate::CredentialManager;
use crate::builder::Opened;

/// How long the store has to answer each question of a health check.
const PATIENCE: TimeDelta = TimeDelta::seconds(5);

/// What a health check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// Values can be read, and something wants attention soon.
    Degraded,
    /// Values cannot be read.
    Unhealthy,
}

impl HealthStatus {
    /// What an HTTP endpoint answers, for those who look at nothing else: 200, or 503 when unhealthy.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Healthy | Self::Degraded => 200,
            Self::Unhealthy => 503,
        }
    }

    /// The stable name, in `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What a health check found. It names no credential, and its errors hold no value: it may be shown to an operator.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq)]
pub struct HealthReport {
    /// What it comes to.
    pub status: HealthStatus,
    /// Whether the store answers, and how long it took. It is asked itself, past cache, breaker and retries.
    pub store: Result<Duration, CredentialError>,
    /// Whether the key ring opens, and opens again what it sealed.
    pub keys: Result<KeyHealth, CredentialError>,
    /// Whether the audit log can be written, if there is one: each check leaves a record in it.
    #[cfg(feature = "audit")]
    pub audit: Option<Result<(), CredentialError>>,
    /// Whether the access policy that holds is the one in its file, if there is a policy: otherwise what is wrong with the
    /// file. Only a file that is watched or reloaded tells.
    #[cfg(feature = "access")]
    pub policy: Option<Result<(), CredentialError>>,
    /// What the circuit breaker does, if there is one.
    #[cfg(feature = "resilience")]
    pub breaker: Option<BreakerState>,
    /// What the cache did so far, if there is one.
    #[cfg(feature = "cache")]
    pub cache: Option<CacheStats>,
    /// How long until the next credential of the tenant expires; `None` if none will, or the store did not say.
    pub soonest_expiry: Option<TimeDelta>,
    /// How many credentials of the tenant have expired, and were neither replaced, revoked nor deleted.
    pub expired: u64,
}

/// What is known of the key that wraps.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHealth {
    /// Its number.
    pub epoch: Epoch,
    /// How long ago it was made.
    pub age: TimeDelta,
    /// How many data keys it has wrapped, as far as this process knows.
    pub wraps: u64,
    /// Whether it should be rotated: a year old, or 90 % of 2^32 wraps.
    pub rotation_due: bool,
    /// Whether it may still seal. It refuses after two years or 2^32 wraps; reading goes on.
    pub seals: bool,
}

impl CredentialManager {
    /// Looks whether store, key ring and audit log work, what breaker and cache do, and what expires next; and emits it
    /// to the metrics of the manager, if it has any. For a health endpoint, or a task that runs every 15 seconds to a minute.
    ///
    /// Unhealthy is a store that does not answer, a key ring that does not open or fails its self-test, or an audit log that
    /// cannot be written and fails closed. Degraded is a breaker that is not closed, a key that is due for rotation, an audit
    /// log that loses records by policy, or an access policy that is not the one in its file.
    ///
    /// What expires is read as heads of the whole tenant, whatever the scope, straight from the store: nothing of it leaves
    /// but a time and a number. The store is asked page by page, only for what expires before what was found so far.
    pub async fn health(&self) -> HealthReport {
        let report = match self.inner.opened().await {
            Ok(opened) => self.examine(opened).await,
            Err(error) => self.conclude(Err(error.clone()), Err(error), Expiry::default()),
        };
        #[cfg(feature = "telemetry")]
        if let Some(metrics) = self.inner.metrics() {
            report.emit(metrics);
        }
        report
    }

    async fn examine(&self, opened: &Opened) -> HealthReport {
        let (store, expiry) = match self.expiry(opened).await {
            Ok((took, expiry)) => (Ok(took), expiry),
            Err(error) => (Err(error), Expiry::default()),
        };
        let keys = match opened.ring().await {
            Ok(file) => self.self_test(file.ring()),
            Err(error) => Err(error),
        };
        self.conclude(store, keys, expiry)
    }

    /// What expires, and how long the first answer took.
    async fn expiry(&self, opened: &Opened) -> Result<(Duration, Expiry), CredentialError> {
        let (mut first, mut found) = (None, Expiry::default());
        let mut list = List {
            expires_before: Some(DateTime::<Utc>::MAX_UTC),
            limit: limits::PAGE,
            ..List::of(self.tenant.clone())
        };
        loop {
            let now = self.now();
            let ctx = OpContext {
                deadline: now.checked_add_signed(PATIENCE),
                ..self.op_context()
            };
            let (since, op) = (Instant::now(), Op::List(list.clone()));
            let answer = opened.store.clone().oneshot(Request { ctx, op }).await?;
            let took = *first.get_or_insert_with(|| since.elapsed());
            let page = answer.into_page()?;
            for head in &page.items {
                if let Some(at) = head.version.expires_at.filter(|_| head.phase != Phase::Revoked) {
                    found.add(at, now);
                }
            }
            list.expires_before = found.soonest.or(list.expires_before);
            list.after = page.next;
            if list.after.is_none() {
                return Ok((took, found));
            }
        }
    }

    /// Seals a text and opens it again, in memory.
    fn self_test(&self, ring: &KeyRing) -> Result<KeyHealth, CredentialError> {
        let now = self.now();
        let sealer = Sealer::new(ring.clone());
        let id = CredentialRef::new(
            self.tenant.clone(),
            self.scope.clone(),
            CredentialName::new("self-test")?,
        );
        let version = VersionHead {
            version: Version::FIRST,
            credential_type: Arc::from("self_test"),
            schema_version: 1,
            created_at: now,
            expires_at: None,
        };
        let place = Place {
            id: &id,
            version: &version,
        };
        const TEXT: &[u8] = b"not a secret";
        let sealed = sealer.seal(place, &Plaintext::new(TEXT.into()));
        // After sealing, which looks for a newer ring.
        let status = ring.status();
        let primary = status
            .epochs
            .last()
            .ok_or_else(|| CredentialError::internal("a key ring without a key"))?;
        let mut key = KeyHealth {
            epoch: primary.epoch,
            age: now.signed_duration_since(primary.created_at),
            wraps: primary.wraps,
            rotation_due: primary.rotation_due(now),
            seals: true,
        };
        match sealed {
            Ok(sealed) if sealer.open(place, &sealed)?.expose() == TEXT => Ok(key),
            Ok(_) => Err(CredentialError::internal(
                "what was sealed opened as something else; check the memory of this machine",
            )),
            Err(CredentialError::InvalidState(_)) if key.rotation_due => {
                key.seals = false;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    fn conclude(
        &self,
        store: Result<Duration, CredentialError>,
        keys: Result<KeyHealth, CredentialError>,
        expiry: Expiry,
    ) -> HealthReport {
        let now = self.now();
        let report = HealthReport {
            status: HealthStatus::Healthy,
            store,
            keys,
            #[cfg(feature = "audit")]
            audit: self.inner.audit_log().map(probe),
            #[cfg(feature = "access")]
            policy: self.inner.access().map(|access| {
                let refused = access.policies().refused();
                refused.map_or(Ok(()), Err)
            }),
            #[cfg(feature = "resilience")]
            breaker: self.inner.breaker_state(),
            #[cfg(feature = "cache")]
            cache: self.cache_stats(),
            soonest_expiry: expiry.soonest.map(|at| at.signed_duration_since(now)),
            expired: expiry.expired,
        };
        HealthReport {
            status: self.judge(&report),
            ..report
        }
    }

    fn judge(&self, report: &HealthReport) -> HealthStatus {
        let status = match (&report.store, &report.keys) {
            (Ok(_), Ok(key)) if !key.rotation_due => HealthStatus::Healthy,
            (Ok(_), Ok(_)) => HealthStatus::Degraded,
            _ => HealthStatus::Unhealthy,
        };
        #[cfg(feature = "audit")]
        let status = status.max(match (&report.audit, self.inner.audit_log()) {
            (Some(Err(_)), Some(log)) if log.on_failure() == OnFailure::FailClosed => HealthStatus::Unhealthy,
            (Some(Err(_)), _) => HealthStatus::Degraded,
            _ => HealthStatus::Healthy,
        });
        #[cfg(feature = "access")]
        let status = status.max(match &report.policy {
            Some(Err(_)) => HealthStatus::Degraded,
            _ => HealthStatus::Healthy,
        });
        #[cfg(feature = "resilience")]
        let status = status.max(match report.breaker {
            None | Some(BreakerState::Closed) => HealthStatus::Healthy,
            Some(_) => HealthStatus::Degraded,
        });
        status
    }
}

/// Writes a record: nothing less tells of a full disk.
#[cfg(feature = "audit")]
fn probe(log: &AuditLogger) -> Result<(), CredentialError> {
    let mut event = Event::new(EventKind::Custom);
    event.detail = Some("health check".into());
    log.record(&event).map(drop)
}

/// What expires next, and what has.
#[derive(Debug, Clone, Copy, Default)]
struct Expiry {
    soonest: Option<DateTime<Utc>>,
    expired: u64,
}

impl Expiry {
    fn add(&mut self, at: DateTime<Utc>, now: DateTime<Utc>) {
        if at <= now {
            self.expired = self.expired.saturating_add(1);
        } else {
            self.soonest = Some(self.soonest.map_or(at, |soonest| soonest.min(at)));
        }
    }
}

#[cfg(feature = "telemetry")]
impl HealthReport {
    #[expect(
        clippy::cast_precision_loss,
        reason = "measurements: 52 bits are enough for the eye"
    )]
    fn emit(&self, metrics: &dyn nebula_credential_core::MetricsEmitter) {
        use nebula_credential_telemetry::names;
        let up = |component: &'static str, up: bool| {
            metrics.gauge(names::UP, &[("component", component)], f64::from(u8::from(up)));
        };
        let seconds = |time: TimeDelta| time.as_seconds_f64();
        up("all", self.status != HealthStatus::Unhealthy);
        up("store", self.store.is_ok());
        up("keys", self.keys.is_ok());
        #[cfg(feature = "audit")]
        if let Some(audit) = &self.audit {
            up("audit", audit.is_ok());
        }
        #[cfg(feature = "access")]
        if let Some(policy) = &self.policy {
            up("policy", policy.is_ok());
        }
        if let Ok(took) = &self.store {
            metrics.gauge(names::STORE_ANSWER, &[], took.as_secs_f64());
            // Where nothing expires, and not where nothing is known.
            let soonest = self.soonest_expiry.map_or(f64::INFINITY, seconds);
            metrics.gauge(names::SOONEST_EXPIRY, &[], soonest);
            metrics.gauge(names::EXPIRED, &[], self.expired as f64);
        }
        if let Ok(key) = &self.keys {
            metrics.gauge(names::KEY_AGE, &[], seconds(key.age));
            metrics.gauge(names::KEY_WRAPS, &[], key.wraps as f64);
        }
    }
}
