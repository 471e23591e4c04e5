//! What stands along the stack and keeps what passes, to be searched.

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use nebula_credential::telemetry::{MetricsCrate, OpenTelemetry};
use nebula_credential::{CredentialError, Labels, MetricsEmitter, Request, Response};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use tower::util::{MapRequestLayer, MapResultLayer};

/// What was noted, by whoever has a clone.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<String>>);

impl Notes {
    pub(crate) fn text(&self) -> String {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, value: &impl Debug) {
        writeln!(self.lock(), "{value:?}").unwrap();
    }

    /// A layer that notes all there is to see of each request.
    pub(crate) fn asked<P: Debug>(
        &self,
    ) -> MapRequestLayer<impl Fn(Request<P>) -> Request<P> + Clone + use<P>> {
        let notes = self.clone();
        MapRequestLayer::new(move |request| {
            notes.note(&request);
            request
        })
    }

    /// A layer that notes all there is to see of each answer.
    pub(crate) fn answered<P: Debug>(
        &self,
    ) -> MapResultLayer<impl Fn(Answer<P>) -> Answer<P> + Clone + use<P>> {
        let notes = self.clone();
        MapResultLayer::new(move |answer: Answer<P>| {
            if let Err(error) = &answer {
                writeln!(notes.lock(), "{error}").unwrap();
            }
            notes.note(&answer);
            answer
        })
    }
}

type Answer<P> = Result<Response<P>, CredentialError>;

impl io::Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both adapters for measurements, each with a real exporter.
pub(crate) struct Measured {
    pub(crate) prometheus: MetricsCrate<PrometheusRecorder>,
    pub(crate) otel: OpenTelemetry,
    page: PrometheusHandle,
    provider: SdkMeterProvider,
    exporter: InMemoryMetricExporter,
}

impl Measured {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_reader(PeriodicReader::builder(exporter.clone()).build())
            .build();
        Self {
            page: recorder.handle(),
            prometheus: MetricsCrate::new(recorder),
            otel: OpenTelemetry::new(provider.meter("nebula")),
            provider,
            exporter,
        }
    }

    /// What Prometheus would read.
    pub(crate) fn page(&self) -> String {
        self.page.render()
    }

    /// What was exported to OpenTelemetry.
    pub(crate) fn exported(&self) -> String {
        self.provider.force_flush().unwrap();
        format!("{:?}", self.exporter.get_finished_metrics().unwrap())
    }
}

impl MetricsEmitter for Measured {
    fn increment(&self, name: &'static str, labels: Labels<'_>, by: u64) {
        self.prometheus.increment(name, labels, by);
        self.otel.increment(name, labels, by);
    }

    fn gauge(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.prometheus.gauge(name, labels, value);
        self.otel.gauge(name, labels, value);
    }

    fn observe(&self, name: &'static str, labels: Labels<'_>, value: f64) {
        self.prometheus.observe(name, labels, value);
        self.otel.observe(name, labels, value);
    }
}
