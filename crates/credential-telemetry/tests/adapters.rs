//! The adapters, read back through a real exporter of each.

#![cfg(any(feature = "metrics", feature = "opentelemetry"))]
#![allow(
    clippy::unwrap_used,
    reason = "what a test asks of its own exporters must not fail"
)]

use nebula_credential_core::MetricsEmitter;

fn emit(emitter: &dyn MetricsEmitter) {
    for outcome in ["ok", "ok", "tampered"] {
        let labels = [("operation", "get"), ("outcome", outcome)];
        emitter.increment("nebula_credential_operations_total", &labels, 1);
    }
    emitter.gauge("nebula_credential_breaker_state", &[("backend", "store")], 2.0);
    emitter.gauge("nebula_credential_breaker_state", &[("backend", "store")], 1.0);
    emitter.observe(
        "nebula_credential_operation_duration_seconds",
        &[("operation", "get")],
        0.000_02,
    );
}

#[cfg(feature = "metrics")]
#[test]
fn prometheus_shows_what_was_emitted_through_the_metrics_crate() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new()
        .set_buckets(&[0.000_01, 1.0])
        .unwrap()
        .build_recorder();
    let shown = recorder.handle();
    emit(&nebula_credential_telemetry::MetricsCrate::new(recorder));
    let page = shown.render();
    for line in [
        r#"nebula_credential_operations_total{operation="get",outcome="ok"} 2"#,
        r#"nebula_credential_operations_total{operation="get",outcome="tampered"} 1"#,
        r#"nebula_credential_breaker_state{backend="store"} 1"#,
        r#"nebula_credential_operation_duration_seconds_bucket{operation="get",le="0.00001"} 0"#,
        r#"nebula_credential_operation_duration_seconds_bucket{operation="get",le="1"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
    }
}

#[cfg(feature = "opentelemetry")]
#[test]
fn opentelemetry_gets_what_was_emitted() {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(exporter.clone()).build())
        .build();
    emit(&nebula_credential_telemetry::OpenTelemetry::new(
        provider.meter("nebula"),
    ));
    provider.force_flush().unwrap();

    let mut found = Vec::new();
    for resource in exporter.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(|scope| scope.metrics()) {
            let unit = metric.unit();
            let value = match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
                    .data_points()
                    .map(|point| point.value())
                    .sum::<u64>()
                    .to_string(),
                AggregatedMetrics::F64(MetricData::Gauge(gauge)) => gauge
                    .data_points()
                    .map(|point| point.value())
                    .sum::<f64>()
                    .to_string(),
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
                    .data_points()
                    .map(|point| {
                        let mut buckets = point.bounds().zip(point.bucket_counts());
                        let full = buckets.find(|(_, count)| *count > 0).unwrap().0;
                        format!("{} in the bucket up to {full} {unit}", point.sum())
                    })
                    .collect(),
                _ => "other".to_owned(),
            };
            found.push(format!("{} {value}", metric.name()));
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            "nebula_credential_breaker_state 1",
            "nebula_credential_operation_duration_seconds 0.00002 in the bucket up to 0.0001 s",
            "nebula_credential_operations_total 3",
        ]
    );
}
