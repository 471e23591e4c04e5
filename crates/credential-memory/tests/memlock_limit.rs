//! Without the right to lock a page, keys still work, and say that they are not locked.
//! One test: the limit is process-wide.

#![cfg(target_os = "linux")]

mod proc;

use nebula_credential_memory::{LockedKey, Protection};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

#[test]
fn a_refused_lock_is_recorded_and_not_an_error() {
    // The limit does not bind root until this capability is gone.
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).unwrap();
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .unwrap();

    let key = LockedKey::from_bytes(&mut [9; 32]).unwrap();
    assert_eq!(key.expose(), &[9; 32]);
    assert!(!key.protection().locked);
    assert!(key.protection().dump_excluded);
    assert_eq!(Protection::of_new_keys().unwrap(), key.protection());

    let mapping = proc::mapping_of(key.expose().as_ptr().addr());
    assert!(!mapping.flags.iter().any(|f| f == "lo"), "{mapping:?}");
    assert!(mapping.flags.iter().any(|f| f == "dd"), "{mapping:?}");
}
