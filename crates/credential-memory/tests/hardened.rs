//! One test: hardening a process cannot be taken back.

#![cfg(target_os = "linux")]

use nebula_credential_memory::harden_process;
use rustix::process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit};

#[test]
fn no_core_and_no_tracing_by_the_same_user() {
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);

    harden_process().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    assert_eq!(getrlimit(Resource::Core), none);

    // Again is harmless.
    harden_process().unwrap();
}
