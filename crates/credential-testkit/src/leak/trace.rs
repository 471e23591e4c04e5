use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_core::dispatcher::{self, DefaultGuard, Dispatch, SetGlobalDefaultError};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Keeps all that is traced, at every level: names, targets and every field of spans and events, with `Debug`, and
/// of errors the whole chain.
///
/// A [`Layer`] for a subscriber of your own; [`capture_thread`](Self::capture_thread) and
/// [`capture_process`](Self::capture_process) bring one. Clones keep together.
#[derive(Clone, Default)]
pub struct TraceCapture(Arc<Mutex<String>>);

impl TraceCapture {
    /// A capture with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Captures what this thread traces, until the guard is dropped.
    #[must_use = "the capture ends when the guard is dropped"]
    pub fn capture_thread(&self) -> DefaultGuard {
        dispatcher::set_default(&self.dispatch())
    }

    /// Captures what all threads trace, from now on.
    ///
    /// # Errors
    /// When the process has a subscriber already.
    pub fn capture_process(&self) -> Result<(), SetGlobalDefaultError> {
        dispatcher::set_global_default(self.dispatch())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::new(tracing_subscriber::registry().with(self.clone()))
    }

    /// What was traced.
    pub fn text(&self) -> String {
        self.lock().clone()
    }

    /// What was traced since it was last taken.
    pub fn take(&self) -> String {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, what: &str, metadata: Option<&Metadata<'_>>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(what.to_owned());
        if let Some(metadata) = metadata {
            let (level, target, name) = (metadata.level(), metadata.target(), metadata.name());
            write!(fields.0, " {level} {target} {name}").unwrap_or_default();
        }
        record(&mut fields);
        fields.0.push('\n');
        self.lock().push_str(&fields.0);
    }
}

impl<S: Subscriber> Layer<S> for TraceCapture {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.write("span", Some(span.metadata()), |fields| span.record(fields));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.write("record", None, |fields| values.record(fields));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.write("event", Some(event.metadata()), |fields| event.record(fields));
    }
}

struct Fields(String);

impl Visit for Fields {
    /// As it is, and so as a log in plain text has it: `Debug` alone escapes it.
    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {field}={value} {value:?}").unwrap_or_default();
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        write!(self.0, " {field}={value:?}").unwrap_or_default();
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut next = Some(value);
        while let Some(error) = next {
            write!(self.0, " {field}={error} {error:?}").unwrap_or_default();
            next = error.source();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap_or_default();
    }
}

impl fmt::Debug for TraceCapture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceCapture({} bytes)", self.lock().len())
    }
}
