#![doc = include_str!("../README.md")]

mod layer;
#[cfg(feature = "metrics")]
mod metrics_crate;
pub mod names;
#[cfg(feature = "opentelemetry")]
mod otel;

pub use layer::{Telemetry, TelemetryFuture, TelemetryLayer};
#[cfg(feature = "metrics")]
pub use metrics_crate::MetricsCrate;
#[cfg(feature = "opentelemetry")]
pub use otel::OpenTelemetry;
