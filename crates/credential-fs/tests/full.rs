//! A full disk and a read-only one: a file system of 64 KiB where one can be mounted, that is, for
//! root. How a full disk is reported is also tested on `/dev/full`, for everybody, in `error.rs`.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test and its remark")]

use std::fs;
use std::path::{Path, PathBuf};

use nebula_credential_core::ErrorKind;
use nebula_credential_fs::PrivateDir;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path) -> Option<Self> {
        let options = Some(c"size=64k,mode=700");
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), options).ok()?;
        Some(Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_or_read_only_disk_is_a_clear_error_and_the_old_content_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(tmpfs) = Tmpfs::mount(scratch.path()) else {
        return nebula_credential_testkit::skip("a full disk", "mounting a tmpfs needs root");
    };
    let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
    dir.replace("key", &[1; 20_000]).unwrap();

    for error in [
        dir.replace("key", &[2; 60_000]).unwrap_err(),
        dir.create_new("other", &[2; 60_000]).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
    assert_eq!(dir.read("key", 1 << 20).unwrap().unwrap().as_slice(), [1; 20_000]);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "something half written stayed"
    );
    // What was taken is given back: a content that fits beside the old one is written.
    dir.replace("key", &[3; 30_000]).unwrap();

    mount_remount(&tmpfs.0, MountFlags::RDONLY, c"size=64k").unwrap();
    let error = dir.replace("key", b"x").unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    let error = PrivateDir::create(scratch.path().join("more")).unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    PrivateDir::create(scratch.path().join("store")).unwrap();
    assert_eq!(dir.read("key", 1 << 20).unwrap().unwrap().as_slice(), [3; 30_000]);
}
