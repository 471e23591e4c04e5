//! The names of the metrics of [`TelemetryLayer`](crate::TelemetryLayer), and of the health report of a manager.

/// Counter of operations: `operation`, and `outcome`, which is `ok`, the kind of the error, or [`ABANDONED`].
pub const OPERATIONS: &str = "nebula_credential_operations_total";
/// The outcome of an operation whose caller gave up before the answer came.
pub const ABANDONED: &str = "abandoned";
/// Histogram of how long operations took, in seconds: `operation`, and `result`, which is `ok` or `error`.
pub const DURATION: &str = "nebula_credential_operation_duration_seconds";
/// Counter of values given out: `source`, which is `store`, `link`, `cache` or `stale`.
pub const VALUES: &str = "nebula_credential_values_served_total";
/// Counter of requests a policy denied: `operation`.
pub const DENIED: &str = "nebula_credential_denied_total";
/// Counter of records that were damaged or out of place: `operation`. One is reason enough to wake someone.
pub const TAMPERED: &str = "nebula_credential_tamper_detections_total";
/// Histogram of how old a new version was when a live handle had it, in seconds.
pub const HANDLE_LAG: &str = "nebula_credential_handle_lag_seconds";
/// Counter of what became of live handles: `outcome`, which is `rotated`, `failed` for an attempt to renew one, `suspended`,
/// `resumed` or `ended`.
pub const HANDLE_RENEWALS: &str = "nebula_credential_handle_renewals_total";
/// Gauge, 1 or 0: `component`, which is `store`, `keys`, `audit`, `policy`, or `all` for whether values can be read.
pub const UP: &str = "nebula_credential_up";
/// Gauge of how long the store took to answer a health check, in seconds.
pub const STORE_ANSWER: &str = "nebula_credential_store_answer_seconds";
/// Gauge of the time until the next credential of the tenant expires, in seconds; infinite if none will.
pub const SOONEST_EXPIRY: &str = "nebula_credential_soonest_expiry_seconds";
/// Gauge of the credentials of the tenant that have expired and are still there.
pub const EXPIRED: &str = "nebula_credential_expired_credentials";
/// Gauge of the age of the key that wraps, in seconds.
pub const KEY_AGE: &str = "nebula_credential_key_age_seconds";
/// Gauge of how many data keys the key that wraps has wrapped, as far as the process knows.
pub const KEY_WRAPS: &str = "nebula_credential_key_wraps";
