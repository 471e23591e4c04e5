use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use nebula_credential_core::{Labels, MetricsEmitter};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

/// Where the buckets of a histogram of seconds end: those that the semantic conventions of OpenTelemetry advise for
/// `http.server.request.duration` (<https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>), below them three for what
/// memory answers, and above them two for ages. The SDK's own begin at 5, and are meant for milliseconds.
const SECONDS: [f64; 19] = [
    0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0, 60.0, 900.0,
];

/// Emits to an OpenTelemetry meter, which the program makes; the global one is not asked. What ends in `_seconds` has the unit
/// `s`, and its histograms have buckets from 10 µs to 15 min, unless a view of the program says otherwise.
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

fn is_seconds(name: &str) -> bool {
    name.ends_with("_seconds")
}

impl MetricsEmitter for OpenTelemetry {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        instrument(&self.counters, name, || self.meter.u64_counter(name).build())
            .add(by, &attributes(labels));
    }

    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        let make = || match is_seconds(name) {
            true => self.meter.f64_gauge(name).with_unit("s").build(),
            false => self.meter.f64_gauge(name).build(),
        };
        instrument(&self.gauges, name, make).record(value, &attributes(labels));
    }

    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        let make = || {
            let histogram = self.meter.f64_histogram(name);
            match is_seconds(name) {
                true => histogram.with_unit("s").with_boundaries(SECONDS.to_vec()).build(),
                false => histogram.build(),
            }
        };
        instrument(&self.histograms, name, make).record(value, &attributes(labels));
    }
}

impl fmt::Debug for OpenTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTelemetry").finish_non_exhaustive()
    }
}
