use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use nebula_credential_core::{Labels, MetricsEmitter};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

/// Emits to an OpenTelemetry meter, which the program makes; the global one is not asked.
pub struct OpenTelemetry {
    meter: Meter,
    counters: Instruments<Counter<u64>>,
    gauges: Instruments<Gauge<f64>>,
    histograms: Instruments<Histogram<f64>>,
}

type Instruments<I> = RwLock<HashMap<&'static str, I>>;

impl OpenTelemetry {
    /// Emits to `meter`.
    pub fn new(meter: Meter) -> Self {
        Self {
            meter,
            counters: RwLock::default(),
            gauges: RwLock::default(),
            histograms: RwLock::default(),
        }
    }
}

/// The instrument of that name, made on first use; OpenTelemetry makes the same one twice if two threads come at once.
fn instrument<I: Clone>(made: &Instruments<I>, name: &'static str, make: impl FnOnce() -> I) -> I {
    if let Some(instrument) = made.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return instrument.clone();
    }
    let instrument = make();
    let mut made = made.write().unwrap_or_else(PoisonError::into_inner);
    made.entry(name).or_insert(instrument).clone()
}

fn attributes(labels: Labels<'_>) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|(key, value)| KeyValue::new(*key, *value))
        .collect()
}

impl MetricsEmitter for OpenTelemetry {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        instrument(&self.counters, name, || self.meter.u64_counter(name).build())
            .add(by, &attributes(labels));
    }

    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        instrument(&self.gauges, name, || self.meter.f64_gauge(name).build())
            .record(value, &attributes(labels));
    }

    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        instrument(&self.histograms, name, || self.meter.f64_histogram(name).build())
            .record(value, &attributes(labels));
    }
}

impl fmt::Debug for OpenTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTelemetry").finish_non_exhaustive()
    }
}
