//! One test: the umask is process-wide.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::MetadataExt;

use nebula_credential_fs::{CreateOutcome, FileLock, PrivateDir};
use rustix::fs::Mode;
use rustix::process::umask;

#[test]
fn modes_do_not_depend_on_the_umask() {
    let scratch = tempfile::tempdir().unwrap();
    for mask in [0o000, 0o002, 0o022, 0o077, 0o277, 0o377] {
        let base = scratch.path().join(format!("{mask:o}"));
        umask(Mode::from_raw_mode(mask));
        let dir = PrivateDir::create(base.join("a/b")).unwrap();
        dir.replace("replaced", b"x").unwrap();
        assert_eq!(dir.create_new("created", b"x").unwrap(), CreateOutcome::Created);
        let lock = FileLock::lock(&dir, "lock").unwrap();
        umask(Mode::from_raw_mode(0o022));
        drop(lock);

        let mode = |path: &str| fs::metadata(base.join(path)).unwrap().mode() & 0o7777;
        for made in ["", "a", "a/b"] {
            assert_eq!(mode(made), 0o700, "{made} under umask {mask:o}");
        }
        for made in ["a/b/replaced", "a/b/created", "a/b/lock"] {
            assert_eq!(mode(made), 0o600, "{made} under umask {mask:o}");
        }
    }
}
