//! A policy in a file that changes.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nebula_credential_access::{PolicyFile, Reload};
use nebula_credential_core::CredentialError;

use crate::support::rules;

fn file(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("access.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

#[test]
fn each_change_holds_and_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (rules(&["one allow * read"]), rules(&["two allow * read"]));
    let path = file(directory.path(), &one);
    let mut policy = PolicyFile::open(&path).unwrap();
    let policies = policy.policies();
    let holds = || policies.current().rules().map(str::to_owned).collect::<Vec<_>>();
    let epoch = || policies.epoch().current();
    assert_eq!((policy.reload(), epoch()), (Reload::Unchanged, 0));

    // The same length, within the same moment: content is what counts.
    fs::write(&path, &two).unwrap();
    assert_eq!((policy.reload(), epoch()), (Reload::Applied, 1));
    assert_eq!(holds(), ["two"]);
    assert_eq!((policy.reload(), epoch()), (Reload::Unchanged, 1));

    // A bad one leaves the one before, and is told once.
    fs::write(&path, "version = 1\nrules = 1").unwrap();
    let Reload::Refused(flaw) = policy.reload() else {
        panic!("a bad policy is refused");
    };
    assert!(flaw.to_string().contains("access policy, line 2: "), "{flaw}");
    assert_eq!((policy.reload(), epoch()), (Reload::Unchanged, 1));
    assert_eq!(holds(), ["two"]);

    fs::remove_file(&path).unwrap();
    assert!(matches!(
        policy.reload(),
        Reload::Refused(CredentialError::Storage(_))
    ));
    assert_eq!(policy.reload(), Reload::Unchanged);
    file(directory.path(), &one);
    assert_eq!((policy.reload(), epoch()), (Reload::Applied, 2));
    assert_eq!(holds(), ["one"]);
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), "version = 1");
    for mode in [0o664, 0o646] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = PolicyFile::open(&path).unwrap_err();
        assert!(matches!(error, CredentialError::InsecureStorage(_)), "{mode:o}");
        assert!(error.to_string().contains("chmod go-w"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    PolicyFile::open(&path).unwrap();
    fs::write(&path, "x".repeat(300_000)).unwrap();
    assert!(matches!(
        PolicyFile::open(&path).unwrap_err(),
        CredentialError::LimitExceeded { .. }
    ));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(
        PolicyFile::open(&path).unwrap_err(),
        CredentialError::Parse(_)
    ));
    for absent in ["absent", "no/such"] {
        let error = PolicyFile::open(directory.path().join(absent)).unwrap_err();
        assert!(matches!(error, CredentialError::Storage(_)), "{error}");
        assert!(
            error
                .to_string()
                .contains("there is no such file; check the path")
        );
    }
}

#[test]
fn a_file_that_others_own_or_can_replace_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let insecure = |path: &Path, words: &str| {
        let error = PolicyFile::open(path).unwrap_err();
        assert!(matches!(error, CredentialError::InsecureStorage(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    insecure(directory.path(), "not a regular file");
    // Of a FIFO, nobody waits for the other end.
    let fifo = directory.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    insecure(&fifo, "not a regular file");

    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    let path = file(&open, "version = 1");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    insecure(&path, "other users can swap what lies in it");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let mut policy = PolicyFile::open(&path).unwrap();
    // What is refused later leaves the policy before.
    if chown(&path, Some(65534), None).is_ok() {
        insecure(&path, "belongs to user id 65534");
        fs::write(&path, rules(&["all allow * *"])).unwrap();
        assert!(matches!(policy.reload(), Reload::Refused(_)));
        assert_eq!(policy.policies().current().rules().count(), 0);
    } else {
        nebula_credential_testkit::skip(
            "a_file_that_others_own_or_can_replace_is_refused",
            "only root can give a file to another user",
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_watched_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), &rules(&["one allow * read"]));
    let policy = PolicyFile::open(&path).unwrap();
    let policies = policy.policies();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let watch = tokio::spawn(policy.watch(Duration::from_millis(500), move |reload| {
        told.send(reload).unwrap();
    }));
    fs::write(&path, "version = 1").unwrap();
    assert_eq!(heard.recv().await, Some(Reload::Applied));
    assert_eq!(policies.current().rules().count(), 0);
    fs::write(&path, "version = 2").unwrap();
    assert!(matches!(heard.recv().await, Some(Reload::Refused(_))));
    assert_eq!(policies.epoch().current(), 1);
    watch.abort();
}
