#![doc = include_str!("../README.md")]

mod clock;
mod fault;
mod leak;
mod suite;

pub use clock::TestClock;
pub use fault::{Call, Fault, FaultStore, Gate};
pub use leak::{Canary, Leak, LeakHunter, TraceCapture, panic_text};
pub use suite::{Fixture, PROPERTIES, PROPERTY_TIMEOUT, Property, properties, run};
