//! What a stack measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nebula_credential::{Labels, MetricsEmitter};

/// Adds up counters and keeps gauges, by name and labels. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Measured(Arc<Mutex<BTreeMap<String, f64>>>);

impl Measured {
    /// Forgets what was counted; gauges stay.
    pub(crate) fn forget(&self) {
        self.0
            .lock()
            .unwrap()
            .retain(|series, _| !series.contains("_total"));
    }

    /// The series of one metric, as `label value` pairs.
    pub(crate) fn of(&self, metric: &str) -> String {
        let all = self.0.lock().unwrap();
        let series: Vec<_> = all
            .iter()
            .filter_map(|(series, value)| {
                let labels = series.strip_prefix(metric)?.strip_prefix(' ')?;
                Some(format!("{labels} {value}"))
            })
            .collect();
        series.join(", ")
    }

    fn change(&self, name: &str, labels: Labels<'_>, change: impl Fn(&mut f64)) {
        let name = name.trim_start_matches("nebula_credential_");
        let labels: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
        let series = format!("{name} {}", labels.join("/"));
        change(self.0.lock().unwrap().entry(series).or_default());
    }
}

impl MetricsEmitter for Measured {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        self.change(name, labels, |sum| *sum += by as f64);
    }
    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.change(name, labels, |now| *now = value);
    }
    fn observe(&self, _: &'static str, _: Labels<'_>, _: f64) {}
}
