//! What is refused before SQLite sees it, and what the files on disk are like.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use common::{child_arguments, get, process, put, scratch, wait};
use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_provider_local::LocalStorage;
use nebula_credential_testkit::skip;
use rusqlite::Connection;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// A closed store with one record and without a log.
fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
    let (dir, store) = scratch();
    put(&store, "a", 1, "kept").unwrap();
    wait(store.close());
    // As any tool of SQLite does that is the last to close.
    let tool = Connection::open(store.path().join("store.db")).unwrap();
    tool.query_row("SELECT generation FROM head", [], |_| Ok(()))
        .unwrap();
    (dir, store.path().to_owned())
}

#[track_caller]
fn refused(path: &Path, kind: ErrorKind, remedy: &str) -> CredentialError {
    let error = LocalStorage::new(path).open_blocking().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(remedy), "{error}");
    error
}

/// Runs when [`process`] starts this program; otherwise there is nothing to do.
#[test]
fn child() {
    let Some(arguments) = child_arguments() else {
        return;
    };
    let umask = u32::from_str_radix(&arguments[1], 8).unwrap();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
    let store = LocalStorage::new(&arguments[0]);
    put(&store, "a", 1, "x").unwrap();
    for entry in fs::read_dir(&arguments[0]).unwrap() {
        let path = entry.unwrap().path();
        common::say(&format!(
            "{:o} {}",
            mode(&path),
            path.file_name().unwrap().display()
        ));
    }
}

#[test]
fn files_are_private_whatever_the_umask() {
    for umask in ["0", "022", "077", "177"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/secrets");
        let output = process(&[path.to_str().unwrap(), umask]).output().unwrap();
        assert!(output.status.success());
        let mut files = common::said(&String::from_utf8(output.stdout).unwrap());
        files.sort();
        let expected = [
            "changes",
            "store.db",
            "store.db-shm",
            "store.db-wal",
            "turn.lock",
            "writer.lock",
        ];
        assert_eq!(files, expected.map(|name| format!("600 {name}")), "umask {umask}");
        assert_eq!(mode(&path), 0o700);
    }
}

#[test]
fn what_is_open_to_others_is_refused_with_the_command_that_helps() {
    let (_dir, path) = filled();
    fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
    refused(&path, ErrorKind::InsecureStorage, "chmod 700");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    for name in [
        "store.db",
        "store.db-wal",
        "store.db-shm",
        "writer.lock",
        "turn.lock",
        "changes",
    ] {
        let file = path.join(name);
        let made = !file.exists();
        if made {
            fs::write(&file, b"").unwrap();
        }
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        refused(&path, ErrorKind::InsecureStorage, "chmod 600");
        if made {
            fs::remove_file(&file).unwrap();
        } else {
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
    }
    assert_eq!(get(&LocalStorage::new(&path), "a").unwrap(), "kept");
}

#[test]
fn links_are_refused() {
    let (dir, path) = filled();
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    refused(&link, ErrorKind::InsecureStorage, "symbolic link");
    for name in [
        "store.db",
        "store.db-wal",
        "store.db-shm",
        "writer.lock",
        "changes",
    ] {
        let (file, away) = (path.join(name), dir.path().join("away"));
        let existed = file.exists();
        if existed {
            fs::rename(&file, &away).unwrap();
        } else {
            fs::write(&away, b"").unwrap();
            fs::set_permissions(&away, Permissions::from_mode(0o600)).unwrap();
        }
        symlink(&away, &file).unwrap();
        refused(&path, ErrorKind::InsecureStorage, "symbolic link");
        fs::remove_file(&file).unwrap();
        if existed {
            fs::hard_link(&away, &file).unwrap();
            refused(&path, ErrorKind::InsecureStorage, "hard link");
        }
        fs::remove_file(&away).unwrap();
    }
    assert_eq!(get(&LocalStorage::new(&path), "a").unwrap(), "kept");
}

#[test]
fn what_belongs_to_someone_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return skip(
            "what_belongs_to_someone_else_is_refused",
            "only root can give files away",
        );
    }
    let (_dir, path) = filled();
    let file = path.join("store.db");
    chown(&file, Some(65534), None).unwrap();
    refused(&path, ErrorKind::InsecureStorage, "belongs to user id 65534");
    chown(&file, Some(0), None).unwrap();
    chown(&path, Some(65534), None).unwrap();
    refused(&path, ErrorKind::InsecureStorage, "belongs to user id 65534");
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    let store = LocalStorage::new(&path);
    put(&store, "a", 1, "x").unwrap();
    wait(store.close());
    let file = path.join("store.db");

    let garbage = b"password = hunter2\n".repeat(300);
    fs::write(&file, &garbage).unwrap();
    let error = refused(&path, ErrorKind::UnsupportedFormat, "is not a credential store");
    assert!(!error.to_string().contains("hunter2"));
    assert_eq!(fs::read(&file).unwrap(), garbage);

    fs::remove_file(&file).unwrap();
    Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    refused(&path, ErrorKind::UnsupportedFormat, "is not a credential store");
    let tables: i64 = Connection::open(&file)
        .unwrap()
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn a_newer_format_is_refused_also_by_a_program_that_has_it_open() {
    let (_dir, path) = filled();
    let running = LocalStorage::new(&path);
    assert_eq!(get(&running, "a").unwrap(), "kept");
    Connection::open(path.join("store.db"))
        .unwrap()
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    refused(&path, ErrorKind::UnsupportedFormat, "upgrade this program");
    let error = put(&running, "a", 2, "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn damage_is_told_without_the_text_of_sqlite() {
    let (_dir, path) = filled();
    let file = path.join("store.db");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[8192..end].fill(0x5a);
    fs::write(&file, &bytes).unwrap();
    let store = LocalStorage::new(&path);
    let error = get(&store, "a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
    assert!(!error.to_string().contains("malformed"), "{error}");
    // A writer finds it too, and recovers as soon as the file does.
    assert_eq!(put(&store, "a", 2, "x").unwrap_err().kind(), ErrorKind::Storage);
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let (_dir, path) = filled();
    let store = LocalStorage::new(&path);
    put(&store, "a", 2, "in the log").unwrap();
    let log = path.join("store.db-wal");
    let saved = fs::read(&log).unwrap();
    wait(store.close());
    fs::remove_file(path.join("store.db")).unwrap();
    fs::write(&log, &saved).unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o600)).unwrap();
    refused(&path, ErrorKind::Storage, "restore both from a backup");
    assert_eq!(fs::read(&log).unwrap(), saved);
}

#[test]
fn a_tool_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mistyped");
    for _ in 0..2 {
        let error = LocalStorage::existing(&path).open_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
        assert!(error.to_string().contains("check the path"), "{error}");
    }
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    let error = LocalStorage::existing(&path).open_blocking().unwrap_err();
    assert!(error.to_string().contains("no credential store"), "{error}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn a_store_that_could_not_be_opened_opens_once_the_cause_is_gone() {
    let (_dir, path) = filled();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let store = LocalStorage::new(&path);
    assert_eq!(get(&store, "a").unwrap_err().kind(), ErrorKind::InsecureStorage);
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    assert_eq!(get(&store, "a").unwrap(), "kept");
}

#[test]
fn an_empty_path_is_refused() {
    refused(Path::new(""), ErrorKind::InvalidName, "give a directory");
}

/// What a process leaves that dies while it makes a store.
#[test]
fn a_store_that_was_begun_is_finished_by_the_next_to_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    let file = path.join("store.db");
    fs::write(&file, b"").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let error = LocalStorage::existing(&path).open_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);
    // In its next moment it has the mode of the log, and no tables yet.
    Connection::open(&file)
        .unwrap()
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .unwrap();
    put(&LocalStorage::new(&path), "a", 1, "kept").unwrap();
    assert_eq!(get(&LocalStorage::existing(&path), "a").unwrap(), "kept");
}

/// The most memory this process has used since [`forget_peak`], in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_row_of_hostile_size_is_refused_before_it_is_read() {
    const SIZE: u64 = 64 << 20;
    for change in [
        format!("UPDATE version SET payload = zeroblob({SIZE})"),
        format!("UPDATE version SET type = hex(zeroblob({}))", SIZE / 2),
    ] {
        let (_dir, path) = filled();
        Connection::open(path.join("store.db"))
            .unwrap()
            .execute_batch(&change)
            .unwrap();
        forget_peak();
        let before = peak();
        let store = LocalStorage::existing(&path);
        let error = get(&store, "a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage, "{change}: {error}");
        assert!(error.to_string().contains("damaged"), "{change}: {error}");
        let grown = peak() - before;
        assert!(grown < SIZE / 4, "{change}: {grown} bytes");
    }
}
