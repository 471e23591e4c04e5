//! Which directories are taken and which are refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_fs::PrivateDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The message of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, CredentialError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InsecureStorage, "{error}");
    error.to_string()
}

#[test]
fn every_missing_component_is_made_private() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/b/c");
    let dir = PrivateDir::create(&path).unwrap();
    assert_eq!(dir.path(), fs::canonicalize(&path).unwrap());
    for made in ["a", "a/b", "a/b/c"] {
        assert_eq!(mode(&scratch.path().join(made)), 0o700, "{made}");
    }
    PrivateDir::create(&path).unwrap();
    PrivateDir::open(&path).unwrap();
}

#[test]
fn a_missing_directory_is_not_opened() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("absent");
    let error = PrivateDir::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(!path.exists());
}

#[test]
fn dots_and_trailing_slashes_mean_the_same_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let real = fs::canonicalize(scratch.path()).unwrap().join("store");
    PrivateDir::create(real.join("x")).unwrap();
    for spelling in ["store/", "./store", "store/.", "store/../store", "store/x/.."] {
        let dir = PrivateDir::open(scratch.path().join(spelling)).unwrap();
        assert_eq!(dir.path(), real, "{spelling}");
    }
    let error = PrivateDir::create(scratch.path().join("nowhere/../store")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
    assert!(refused(PrivateDir::open("/")).contains("one of its own"));
}

#[test]
fn a_link_above_is_followed_and_a_link_itself_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    let real = scratch.path().join("real");
    PrivateDir::create(real.join("store")).unwrap();
    symlink(&real, scratch.path().join("alias")).unwrap();
    symlink(real.join("store"), scratch.path().join("link")).unwrap();
    symlink(scratch.path().join("nowhere"), scratch.path().join("dangling")).unwrap();

    let dir = PrivateDir::open(scratch.path().join("alias/store")).unwrap();
    assert_eq!(dir.path(), fs::canonicalize(real.join("store")).unwrap());
    for name in ["link", "link/", "dangling", "dangling/below"] {
        let path = scratch.path().join(name);
        assert!(
            refused(PrivateDir::create(&path)).contains("symbolic link"),
            "{name}"
        );
    }
    assert!(refused(PrivateDir::open(scratch.path().join("link"))).contains("symbolic link"));
    assert!(!scratch.path().join("nowhere").exists());
}

#[test]
fn any_bit_for_group_or_others_is_refused_with_the_remedy() {
    let scratch = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(scratch.path()).unwrap().join("store");
    PrivateDir::create(&path).unwrap();
    for wide in [0o701, 0o702, 0o704, 0o710, 0o720, 0o740, 0o755, 0o1777] {
        chmod(&path, wide);
        for result in [PrivateDir::open(&path), PrivateDir::create(&path)] {
            let message = refused(result);
            assert!(
                message.contains(&format!("`chmod 700 {}`", path.display())),
                "{message}"
            );
        }
        assert_eq!(mode(&path), wide, "an existing directory is not changed");
    }
    chmod(&path, 0o700);
    PrivateDir::open(&path).unwrap();
}

#[test]
fn what_is_no_directory_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file");
    fs::write(&path, "").unwrap();
    assert!(refused(PrivateDir::open(&path)).contains("not a directory"));
    assert!(refused(PrivateDir::create(&path)).contains("not a directory"));
}

#[test]
fn a_directory_of_another_user_is_refused() {
    // Root gives one away; anybody else finds one of root's.
    let scratch = tempfile::tempdir().unwrap();
    let path = if rustix::process::geteuid().is_root() {
        let path = scratch.path().join("store");
        PrivateDir::create(&path).unwrap();
        chown(&path, Some(65534), None).unwrap();
        path
    } else {
        "/usr".into()
    };
    let message = refused(PrivateDir::open(&path));
    assert!(message.contains("belongs to user id"), "{message}");
    assert!(message.contains("chown"), "{message}");
}

#[test]
fn a_directory_above_that_others_can_change_is_refused_unless_sticky() {
    let scratch = tempfile::tempdir().unwrap();
    let above = fs::canonicalize(scratch.path()).unwrap().join("shared");
    let path = above.join("mine/store");
    PrivateDir::create(&path).unwrap();
    for (above_mode, accepted) in [
        (0o755, true),
        (0o1777, true),
        (0o1775, true),
        (0o775, false),
        (0o757, false),
        (0o777, false),
        (0o2775, false),
    ] {
        chmod(&above, above_mode);
        for result in [
            PrivateDir::open(&path),
            PrivateDir::create(above.join("mine/other")),
        ] {
            if accepted {
                result.unwrap();
            } else {
                let message = refused(result);
                assert!(
                    message.contains(&format!("`chmod go-w {}`", above.display())),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn what_was_opened_is_used_though_its_path_now_leads_elsewhere() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("store");
    let dir = PrivateDir::create(&path).unwrap();
    dir.replace("key", b"mine").unwrap();
    fs::rename(&path, scratch.path().join("moved")).unwrap();
    PrivateDir::create(&path)
        .unwrap()
        .replace("key", b"theirs")
        .unwrap();
    assert_eq!(dir.read("key", 16).unwrap().unwrap().as_slice(), b"mine");
    dir.replace("key", b"still mine").unwrap();
    assert_eq!(fs::read(scratch.path().join("moved/key")).unwrap(), b"still mine");
    assert_eq!(fs::read(path.join("key")).unwrap(), b"theirs");
}

#[test]
fn a_path_cannot_forge_a_log_line() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("evil\nname");
    let message = PrivateDir::open(&path).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
}
