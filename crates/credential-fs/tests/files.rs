//! Reading and writing files, and which are refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nebula_credential_core::{CredentialError, ErrorKind};
use nebula_credential_fs::{CreateOutcome, FileLock, PrivateDir, read_private_file, read_trusted_file};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

fn store() -> (TempDir, PrivateDir) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = PrivateDir::create(scratch.path().join("store")).unwrap();
    (scratch, dir)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names(dir: &PrivateDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every way to look at a file refuses it, in these words.
fn refused_everywhere(dir: &PrivateDir, name: &str, words: &str) {
    let path = dir.path().join(name);
    let results: [Result<(), CredentialError>; 3] = [
        dir.check_file(name).map(|_| ()),
        dir.read(name, 1024).map(|_| ()),
        FileLock::try_lock(dir, name).map(|_| ()),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InsecureStorage, "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{name}: {error}"
        );
    }
}

#[test]
fn what_was_written_is_read() {
    let (_scratch, dir) = store();
    assert!(dir.read("key", 10).unwrap().is_none());
    assert!(dir.check_file("key").unwrap().is_none());
    assert!(!dir.remove("key").unwrap());

    for content in [&b"first"[..], b"", b"longer than the first"] {
        dir.replace("key", content).unwrap();
        assert_eq!(dir.read("key", 64).unwrap().unwrap().as_slice(), content);
        let info = dir.check_file("key").unwrap().unwrap();
        assert_eq!(info.len, u64::try_from(content.len()).unwrap());
        assert_eq!(
            fs::metadata(dir.path().join("key")).unwrap().mode() & 0o7777,
            0o600
        );
    }
    assert_eq!(names(&dir), ["key"]);
    assert!(dir.remove("key").unwrap());
    assert!(names(&dir).is_empty());
}

#[test]
fn create_new_leaves_what_exists_alone() {
    let (_scratch, dir) = store();
    assert_eq!(dir.create_new("key", b"one").unwrap(), CreateOutcome::Created);
    assert_eq!(dir.create_new("key", b"two").unwrap(), CreateOutcome::Exists);
    assert_eq!(dir.read("key", 10).unwrap().unwrap().as_slice(), b"one");
    symlink("nowhere", dir.path().join("link")).unwrap();
    assert_eq!(dir.create_new("link", b"two").unwrap(), CreateOutcome::Exists);
    assert_eq!(names(&dir), ["key", "link"]);
}

#[test]
fn of_many_creators_exactly_one_wins() {
    let (_scratch, dir) = store();
    for round in 0..20 {
        let name = format!("key{round}");
        let winners: Vec<u8> = thread::scope(|scope| {
            let creators: Vec<_> = (0..8_u8)
                .map(|id| {
                    let (dir, name) = (&dir, &name);
                    scope.spawn(move || (dir.create_new(name, &[id; 100]).unwrap(), id))
                })
                .collect();
            let done = creators.into_iter().map(|creator| creator.join().unwrap());
            done.filter(|(outcome, _)| *outcome == CreateOutcome::Created)
                .map(|(_, id)| id)
                .collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(
            dir.read(&name, 100).unwrap().unwrap().as_slice(),
            [winners[0]; 100]
        );
    }
}

#[test]
fn the_limit_holds_at_the_byte() {
    let (_scratch, dir) = store();
    dir.replace("key", &[1; 100]).unwrap();
    let outside = dir.path().join("key");
    for max in [100, 101] {
        assert_eq!(dir.read("key", max).unwrap().unwrap().len(), 100);
        assert_eq!(read_private_file(&outside, max).unwrap().unwrap().len(), 100);
    }
    let too_long = CredentialError::limit("file bytes", 99, 100);
    assert_eq!(dir.read("key", 99).unwrap_err(), too_long);
    assert_eq!(read_private_file(&outside, 99).unwrap_err(), too_long);

    // A sparse file larger than memory is refused by its size alone.
    let file = File::options().write(true).open(&outside).unwrap();
    file.set_len(1 << 42).unwrap();
    assert_eq!(
        dir.read("key", 1024).unwrap_err().kind(),
        ErrorKind::LimitExceeded
    );
}

#[test]
fn names_that_are_no_plain_names_are_refused() {
    let (_scratch, dir) = store();
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc/passwd",
        ".key.tmp",
        ".hidden",
        "a\0b",
    ] {
        for result in [
            dir.read(name, 1).map(|_| ()),
            dir.replace(name, b""),
            dir.create_new(name, b"").map(|_| ()),
            dir.remove(name).map(|_| ()),
            dir.check_file(name).map(|_| ()),
            FileLock::lock(&dir, name).map(|_| ()),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidName, "{name:?}");
        }
    }
    dir.replace(&"n".repeat(200), b"").unwrap();
    let error = dir.replace(&"n".repeat(201), b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn any_mode_bit_beyond_0600_is_refused() {
    let (_scratch, dir) = store();
    dir.replace("key", b"x").unwrap();
    let path = dir.path().join("key");
    for mode in [
        0o601, 0o602, 0o604, 0o610, 0o620, 0o640, 0o644, 0o666, 0o700, 0o4600,
    ] {
        chmod(&path, mode);
        refused_everywhere(&dir, "key", "`chmod 600 ");
        // For the user's own files only others matter.
        assert_eq!(
            read_private_file(&path, 10).is_err(),
            mode & 0o077 != 0,
            "{mode:o}"
        );
    }
    chmod(&path, 0o400);
    assert!(dir.read("key", 1).unwrap().is_some());
    assert!(read_private_file(&path, 1).unwrap().is_some());
}

#[test]
fn links_of_either_kind_are_refused() {
    let (scratch, dir) = store();
    dir.replace("real", b"x").unwrap();
    symlink("real", dir.path().join("soft")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    refused_everywhere(&dir, "soft", "symbolic link");
    refused_everywhere(&dir, "dangling", "symbolic link");
    let error = read_private_file(dir.path().join("soft"), 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InsecureStorage);
    assert!(error.to_string().contains("symbolic link"), "{error}");

    fs::hard_link(dir.path().join("real"), scratch.path().join("second name")).unwrap();
    refused_everywhere(&dir, "real", "hard link");

    // To write under such a name replaces the name, not what it leads to.
    dir.replace("soft", b"own").unwrap();
    assert_eq!(dir.read("soft", 10).unwrap().unwrap().as_slice(), b"own");
    dir.replace("real", b"own").unwrap();
    assert_eq!(fs::read(scratch.path().join("second name")).unwrap(), b"x");
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let (_scratch, dir) = store();
    let fifo = dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    for name in ["fifo", "socket", "dir"] {
        refused_everywhere(&dir, name, "not a regular file");
        let error = read_private_file(dir.path().join(name), 10).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
    let error = read_private_file("/dev/zero", 10).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    // A directory is not written over.
    let error = dir.replace("dir", b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("is a directory"), "{error}");
    assert_eq!(names(&dir), ["dir", "fifo", "socket"]);
}

#[test]
fn a_file_of_another_user_is_refused() {
    let (_scratch, dir) = store();
    if rustix::process::geteuid().is_root() {
        dir.replace("key", b"x").unwrap();
        chown(dir.path().join("key"), Some(65534), None).unwrap();
        refused_everywhere(&dir, "key", "belongs to user id 65534");
        let error = read_private_file(dir.path().join("key"), 10).unwrap_err();
        assert!(error.to_string().contains("belongs to user id 65534"), "{error}");
    } else {
        let error = read_private_file("/etc/passwd", 1 << 20).unwrap_err();
        assert!(error.to_string().contains("belongs to user id 0"), "{error}");
    }
}

fn untrusted(path: &Path, words: &str) {
    let error = read_trusted_file(path, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InsecureStorage, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_file_that_decides_is_changed_by_nobody_else() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dir");
    fs::create_dir(&dir).unwrap();
    chmod(&dir, 0o755);
    let path = dir.join("policy");
    fs::write(&path, "x").unwrap();
    let read = |path: &Path| read_trusted_file(path, 10).unwrap();
    for mode in [0o644, 0o444, 0o600] {
        chmod(&path, mode);
        assert_eq!(read(&path).unwrap().as_slice(), b"x");
    }
    for mode in [0o664, 0o646] {
        chmod(&path, mode);
        untrusted(&path, "chmod go-w");
    }
    chmod(&path, 0o644);

    // Who can write to the directory can put another file there.
    for (mode, trusted) in [(0o777, false), (0o775, false), (0o1777, true)] {
        chmod(&dir, mode);
        match trusted {
            true => assert!(read(&path).is_some()),
            false => untrusted(&path, "other users can swap what lies in it"),
        }
    }
    chmod(&dir, 0o755);

    // A link is followed, to where the same holds.
    let (open, link) = (scratch.path().join("open"), scratch.path().join("link"));
    fs::create_dir(&open).unwrap();
    fs::write(open.join("policy"), "y").unwrap();
    chmod(&open, 0o777);
    symlink(&path, &link).unwrap();
    assert_eq!(read(&link).unwrap().as_slice(), b"x");
    fs::remove_file(&link).unwrap();
    symlink(open.join("policy"), &link).unwrap();
    untrusted(&link, "other users can swap what lies in it");
    fs::remove_file(&link).unwrap();
    symlink(open.join("absent"), &link).unwrap();
    chmod(&open, 0o755);
    assert!(read(&link).is_none());

    assert!(read(&dir.join("absent")).is_none());
    assert!(read(&dir.join("no/such")).is_none());
    let error = read_trusted_file(&path, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn what_decides_belongs_to_this_user_or_root() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("policy");
    fs::write(&path, "x").unwrap();
    if rustix::process::geteuid().is_root() {
        let link = scratch.path().join("link");
        symlink(&path, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        untrusted(&link, "belongs to user id 65534");
        chown(&path, Some(65534), None).unwrap();
        untrusted(&path, "belongs to user id 65534");
    }
    assert!(read_trusted_file("/etc/passwd", 1 << 20).unwrap().is_some());
}

#[test]
fn what_is_no_file_decides_nothing_and_nobody_waits_for_it() {
    let scratch = tempfile::tempdir().unwrap();
    let fifo = scratch.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = UnixListener::bind(scratch.path().join("socket")).unwrap();
    for name in ["fifo", "socket", "."] {
        untrusted(&scratch.path().join(name), "not a regular file");
    }
    untrusted(Path::new("/dev/zero"), "not a regular file");
}

#[test]
fn a_missing_file_outside_is_none() {
    let scratch = tempfile::tempdir().unwrap();
    assert!(
        read_private_file(scratch.path().join("absent"), 10)
            .unwrap()
            .is_none()
    );
    assert!(
        read_private_file(scratch.path().join("no/such/dir"), 10)
            .unwrap()
            .is_none()
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_longer_than_its_size_says_is_not_cut() {
    // procfs reports a size of zero.
    let error = read_private_file("/proc/self/environ", 1 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.to_string().contains("changed while it was read"), "{error}");
}

#[test]
fn the_temporary_file_of_a_dead_writer_is_swept_by_the_next_change_and_no_other_file() {
    let (_scratch, dir) = store();
    fs::write(dir.path().join(".notes.tmp"), "someone else's").unwrap();
    for change in 0..3 {
        dir.replace("key", b"x").unwrap();
        fs::write(dir.path().join(".key.tmp"), "half a k").unwrap();
        match change {
            0 => dir.replace("key", b"y").unwrap(),
            1 => assert_eq!(dir.create_new("key", b"y").unwrap(), CreateOutcome::Exists),
            _ => assert!(dir.remove("key").unwrap()),
        }
        let kept: &[_] = if change == 2 {
            &[".notes.tmp"]
        } else {
            &[".notes.tmp", "key"]
        };
        assert_eq!(names(&dir), kept);
    }
}

#[test]
fn a_reader_sees_the_old_content_or_the_new() {
    let (_scratch, dir) = store();
    dir.replace("key", &[0; 4096]).unwrap();
    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let content = dir.read("key", 5000).unwrap().unwrap();
                let first = content[0];
                assert_eq!(content.len(), 4096 + usize::from(first));
                assert!(content.iter().all(|byte| *byte == first));
                assert!(dir.check_file("key").unwrap().is_some());
                seen += 1;
            }
            seen
        });
        for round in 0..300_u32 {
            let byte = u8::try_from(round % 200).unwrap();
            dir.replace("key", &vec![byte; 4096 + usize::from(byte)]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen > 100, "the reader looked only {seen} times");
}

#[test]
fn writers_of_one_directory_wait_for_each_other() {
    let (_scratch, dir) = store();
    let path = dir.path();
    thread::scope(|scope| {
        for id in 0..4_u8 {
            scope.spawn(move || {
                // Each with a descriptor of its own, as another process has.
                let dir = PrivateDir::open(path).unwrap();
                for _ in 0..50 {
                    dir.replace("key", &vec![id; 3000]).unwrap();
                }
            });
        }
    });
    let content = dir.read("key", 3000).unwrap().unwrap();
    assert!(content.iter().all(|byte| *byte == content[0]));
    assert_eq!(names(&dir), ["key"]);
}

#[test]
fn a_shared_file_grows_to_its_length_once_and_keeps_what_is_in_it() {
    let (_scratch, dir) = store();
    let file = dir.open_shared("counters", 8).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 8);
    std::os::unix::fs::FileExt::write_all_at(&file, b"1234", 0).unwrap();
    let longer = dir.open_shared("counters", 12).unwrap();
    drop(dir.open_shared("counters", 4).unwrap());
    let mut bytes = [1; 12];
    std::os::unix::fs::FileExt::read_exact_at(&longer, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"1234\0\0\0\0\0\0\0\0");
    assert_eq!(longer.metadata().unwrap().len(), 12);
}

#[test]
fn a_shared_file_that_others_can_write_is_refused() {
    let (_scratch, dir) = store();
    drop(dir.open_shared("counters", 8).unwrap());
    fs::set_permissions(dir.path().join("counters"), Permissions::from_mode(0o666)).unwrap();
    let error = dir.open_shared("counters", 8).unwrap_err();
    assert!(matches!(error, CredentialError::InsecureStorage(_)), "{error}");
}
