//! Metrics, through an emitter the program injects.

use std::sync::Arc;

/// Closed sets of label values: both sides are compile-time text, so no name of a credential can become a label.
pub type Labels<'a> = &'a [(&'static str, &'static str)];

/// Takes measurements to wherever the program keeps its metrics.
///
/// Called on the path of every request, at times under a lock of the layer that measures: an implementation must not
/// block, nor ask for a credential. Names and labels are documented in
/// `nebula-credential-telemetry`.
pub trait MetricsEmitter: Send + Sync + 'static {
    /// Adds `by` to a counter.
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64);

    /// Sets a gauge.
    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64);

    /// Records one observation of a histogram; times are in seconds.
    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64);
}

/// So that the layers of a stack can share one.
impl<M: MetricsEmitter + ?Sized> MetricsEmitter for Arc<M> {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        (**self).increment(name, labels, by);
    }
    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        (**self).gauge(name, labels, value);
    }
    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        (**self).observe(name, labels, value);
    }
}

/// Measures nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl MetricsEmitter for NoMetrics {
    fn increment(&self, _: &'static str, _: Labels<'_>, _: u64) {}
    fn gauge(&self, _: &'static str, _: Labels<'_>, _: f64) {}
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}
