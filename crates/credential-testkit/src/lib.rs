#![doc = include_str!("../README.md")]

mod clock;
mod fault;
mod leak;
mod skip;
mod suite;

pub use clock::TestClock;
pub use fault::{Call, Fault, FaultStore, Gate};
pub use leak::{Canary, Leak, LeakHunter, TraceCapture, panic_text};
pub use skip::skip;
pub use suite::{Fixture, PROPERTIES, PROPERTY_TIMEOUT, Property, properties, run};
