use std::fmt;

use metrics::{Key, Label, Level, Metadata, Recorder};
use nebula_credential_core::{Labels, MetricsEmitter};

/// Emits to a recorder of the [`metrics`] crate, which the program makes and keeps; the global one is not asked.
pub struct MetricsCrate<R>(R);

impl<R: Recorder> MetricsCrate<R> {
    /// Emits to `recorder`.
    pub fn new(recorder: R) -> Self {
        Self(recorder)
    }
}

const METADATA: Metadata<'static> = Metadata::new("nebula_credential", Level::INFO, None);

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let label = |(key, value): &(&'static str, &'static str)| Label::from_static_parts(key, value);
    Key::from_parts(name, labels.iter().map(label).collect::<Vec<_>>())
}

impl<R: Recorder + Send + Sync + 'static> MetricsEmitter for MetricsCrate<R> {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        self.0
            .register_counter(&key(name, labels), &METADATA)
            .increment(by);
    }

    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.0.register_gauge(&key(name, labels), &METADATA).set(value);
    }

    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.0
            .register_histogram(&key(name, labels), &METADATA)
            .record(value);
    }
}

impl<R> fmt::Debug for MetricsCrate<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsCrate").finish_non_exhaustive()
    }
}
