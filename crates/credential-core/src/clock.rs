use chrono::{DateTime, Timelike, Utc};

/// Where the time comes from. Everything that compares or records time is given one.
pub trait Clock: Send + Sync + 'static {
    /// The present, in whole microseconds: what is recorded and what is read back are equal.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the operating system"
    )]
    fn now(&self) -> DateTime<Utc> {
        whole_micros(Utc::now())
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }
}

/// `time` without what is below a microsecond, the resolution of every stored time.
pub fn whole_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    // A `DateTime` goes by way of local time to do this, and checks its bounds: a third of what the present costs.
    time.naive_utc()
        .with_nanosecond(time.nanosecond() / 1000 * 1000)
        .map_or(time, |time| time.and_utc())
}
