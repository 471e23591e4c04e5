//! What the environment variable `RUST_LOG` asks for, on standard error.

use std::io;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::output::Output;

/// Which events are wanted: `debug`, or `nebula_credential_manager=trace,info`.
const VARIABLE: &str = "RUST_LOG";

/// Begins to log, if anyone asked for it. Nothing that is logged holds a value.
pub(crate) fn start(output: &Output) {
    let Some(wanted) = std::env::var_os(VARIABLE).filter(|wanted| !wanted.is_empty()) else {
        return;
    };
    let Some(targets) = wanted.to_str().and_then(|wanted| wanted.parse::<Targets>().ok()) else {
        // It may be meant for another program, whose language says more.
        output.note(format!(
            "{VARIABLE} is not understood; set it to a level such as debug, or to pairs such as TARGET=trace"
        ));
        return;
    };
    // Who cannot be told, cannot be told that either.
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    // It is set once, at the start of the process.
    let _ = if output.is_json() {
        tracing::subscriber::set_global_default(registry.with(lines.json().with_filter(targets)))
    } else {
        tracing::subscriber::set_global_default(registry.with(lines.with_filter(targets)))
    };
}
