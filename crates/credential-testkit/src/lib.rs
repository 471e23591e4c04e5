#![doc = include_str!("../README.md")]

mod clock;
mod suite;

pub use clock::TestClock;
pub use suite::{Fixture, PROPERTIES, PROPERTY_TIMEOUT, Property, properties, run};
