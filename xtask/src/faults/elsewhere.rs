//! `faults` where there is no tracer for it: it reads and sets the registers of one machine.

use crate::Result;
use crate::cargo::Metadata;

pub(crate) fn run(_arguments: &[&str]) -> Result<bool> {
    Err("faults needs Linux on x86-64".into())
}

pub(crate) fn available() -> bool {
    false
}

pub(crate) fn check(_metadata: &Metadata, _verb: Option<&str>, _every: usize) -> Result<bool> {
    run(&[])
}
