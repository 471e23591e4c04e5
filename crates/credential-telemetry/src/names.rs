//! The names of the metrics of [`TelemetryLayer`](crate::TelemetryLayer).

/// Counter of operations: `operation`, and `outcome`, which is `ok` or the kind of the error.
pub const OPERATIONS: &str = "nebula_credential_operations_total";
/// Histogram of how long operations took, in seconds: `operation`, and `result`, which is `ok` or `error`.
pub const DURATION: &str = "nebula_credential_operation_duration_seconds";
/// Counter of values given out: `source`, which is `store`, `link`, `cache` or `stale`.
pub const VALUES: &str = "nebula_credential_values_served_total";
/// Counter of requests a policy denied: `operation`.
pub const DENIED: &str = "nebula_credential_denied_total";
/// Counter of records that were damaged or out of place: `operation`. One is reason enough to wake someone.
pub const TAMPERED: &str = "nebula_credential_tamper_detections_total";
