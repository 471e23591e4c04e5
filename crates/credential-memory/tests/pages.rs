//! Where keys lie, as the kernel sees it. One test: what it observes is process-wide.

#![cfg(target_os = "linux")]

mod proc;

use nebula_credential_memory::{KEY_LEN, Locked, LockedKey};
use proc::{Memory, locked_kib, mapping_of, mappings};
use zeroize::Zeroizing;

fn address(key: &LockedKey) -> usize {
    key.expose().as_ptr().addr()
}

#[test]
fn pages_are_locked_fenced_left_out_of_dumps_and_wiped() {
    let before = locked_kib();
    let keys: Vec<_> = (0..300).map(|_| LockedKey::generate().unwrap()).collect();

    // 300 keys are more than two pages of 4 KiB.
    for key in &keys {
        let protection = key.protection();
        assert!(protection.locked, "raise RLIMIT_MEMLOCK to at least 64 KiB");
        assert!(protection.dump_excluded);
    }
    let grown = locked_kib() - before;
    assert!(grown * 1024 >= 300 * KEY_LEN, "only {grown} KiB more are locked");

    let mapping = mapping_of(address(&keys[0]));
    assert_eq!(mapping.permissions, "rw-p");
    for flag in ["lo", "dd"] {
        assert!(
            mapping.flags.iter().any(|f| f == flag),
            "{flag} missing in {mapping:?}"
        );
    }
    // Nothing wipes the key in a forked child, see the comment in `arena.rs`.
    assert!(!mapping.flags.iter().any(|f| f == "wf"));
    // The kernel may merge neighbouring fences, but never with the pages between them.
    let all = mappings();
    for edge in [mapping.start - 1, mapping.end] {
        let fence = all.iter().find(|m| (m.start..m.end).contains(&edge)).unwrap();
        assert_eq!(fence.permissions, "---p");
    }

    // Others of its page stay, so the page does.
    let memory = Memory::open();
    let mut keys = keys;
    let dropped = keys.swap_remove(5);
    let at = address(&dropped);
    let mut seen = [0; KEY_LEN];
    memory.read(at, &mut seen);
    assert_eq!(&seen, dropped.expose(), "the control must find the key");
    drop(dropped);
    memory.read(at, &mut seen);
    assert_eq!(seen, [0; KEY_LEN]);

    // So is one whose construction fails half way.
    let mut at = 0;
    let failed = LockedKey::init(|bytes| {
        bytes.fill(0x5A);
        at = bytes.as_ptr().addr();
        Err(nebula_credential_core::CredentialError::unlock_failed("no"))
    });
    assert!(failed.is_err());
    memory.read(at, &mut seen);
    assert_eq!(seen, [0; KEY_LEN]);

    // Empty pages go back to the system, but for one.
    drop(keys);
    assert!(
        locked_kib() <= before + 64,
        "pages are kept after their keys are gone"
    );

    // A value of another shape has a page of its own, of the same kind.
    let locked = Locked::new(|| Zeroizing::new([0xC3_u8; 1000])).unwrap();
    assert_eq!(**locked, [0xC3; 1000]);
    assert!(locked.protection().locked && locked.protection().dump_excluded);
    let mapping = mapping_of((&raw const *locked).addr());
    assert!(
        ["lo", "dd"]
            .iter()
            .all(|flag| mapping.flags.iter().any(|f| f == flag)),
        "{mapping:?}"
    );
}
