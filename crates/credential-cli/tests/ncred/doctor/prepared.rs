//! The faults that are prepared, and the hands that prepare them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::place::Place;

/// A fault, how to prepare it on a store with a credential `db`, and how it is found.
pub(super) struct Fault {
    pub(super) what: &'static str,
    pub(super) prepare: fn(&Place),
    pub(super) args: &'static [&'static str],
    pub(super) check: &'static str,
    pub(super) severity: &'static str,
    /// The exit code of the run.
    pub(super) code: i32,
}

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "the directory is open to others",
        prepare: |place| mode(&place.store_path(), 0o755),
        args: &[],
        check: "files.mode",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the database is open to others",
        prepare: |place| mode(&place.store_path().join("store.db"), 0o644),
        args: &[],
        check: "files.mode",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the key ring is open to others",
        prepare: |place| mode(&place.store_path().join("keyring"), 0o640),
        args: &[],
        check: "files.mode",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the key ring may be run",
        prepare: |place| mode(&place.store_path().join("keyring"), 0o700),
        args: &[],
        check: "files.mode",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the key file is open to others",
        prepare: |place| mode(&place.key_path(), 0o604),
        args: &[],
        check: "files.mode",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the key file is a link",
        prepare: |place| {
            fs::rename(place.key_path(), place.path("elsewhere")).unwrap();
            symlink(place.path("elsewhere"), place.key_path()).unwrap();
        },
        args: &[],
        check: "files.link",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the database has a second name",
        prepare: |place| fs::hard_link(place.store_path().join("store.db"), place.path("copy.db")).unwrap(),
        args: &[],
        check: "files.names",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the key lies beside the data",
        prepare: |place| copy(&place.key_path(), &place.store_path().join("key")),
        args: &["--key-file", ".local/share/nebula-credential/key"],
        check: "key.place",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "an interrupted write left a file",
        prepare: |place| drop(place.file(".local/share/nebula-credential/.keyring.1.tmp", "")),
        args: &[],
        check: "store.leftover",
        severity: "info",
        code: 0,
    },
    Fault {
        what: "there is no store",
        prepare: |_| {},
        args: &["--store", "no/such/store"],
        check: "store.open",
        severity: "error",
        code: 3,
    },
    Fault {
        what: "the key ring is lost",
        prepare: |place| fs::remove_file(place.store_path().join("keyring")).unwrap(),
        args: &[],
        check: "key.ring",
        severity: "error",
        code: 5,
    },
    Fault {
        what: "the key ring is damaged",
        prepare: |place| flip(&place.store_path().join("keyring"), |bytes| bytes.len() / 2),
        args: &[],
        check: "key.ring",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "the key is lost",
        prepare: |place| fs::remove_file(place.key_path()).unwrap(),
        args: &[],
        check: "key.unlock",
        severity: "error",
        code: 5,
    },
    Fault {
        what: "the key is another store's",
        prepare: |place| copy(&Place::new().key_path(), &place.key_path()),
        args: &[],
        check: "key.unlock",
        severity: "error",
        code: 5,
    },
    Fault {
        what: "the database is no database",
        prepare: |place| drop(place.file(".local/share/nebula-credential/store.db", "not a database at all")),
        args: &[],
        check: "store.open",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "a record was edited",
        prepare: |place| {
            // A purge moves everything from the log into the database.
            place.store("other");
            place.ok(&["purge", "other", "--yes"]);
            flip(&place.store_path().join("store.db"), |bytes| {
                let magic = b"\x89NBC\r\n";
                let at = bytes.windows(magic.len()).position(|window| window == magic);
                at.unwrap() + 200
            });
        },
        args: &[],
        check: "record.integrity",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "a credential expires soon",
        prepare: |place| expiring(place, 3600),
        args: &[],
        check: "record.expiring",
        severity: "warning",
        code: 0,
    },
    Fault {
        what: "a credential has expired",
        prepare: |place| {
            expiring(place, 1);
            std::thread::sleep(std::time::Duration::from_millis(2000));
        },
        args: &[],
        check: "record.expired",
        severity: "warning",
        code: 0,
    },
    Fault {
        what: "a rotation of the key was not finished",
        prepare: |place| drop(place.ok(&["key", "rotate"])),
        args: &[],
        check: "key.rewrap",
        severity: "warning",
        code: 0,
    },
    Fault {
        what: "a retired key is not needed",
        prepare: |place| {
            place.ok(&["key", "rotate"]);
            place.ok(&["key", "rewrap"]);
        },
        args: &[],
        check: "key.unused",
        severity: "info",
        code: 0,
    },
    Fault {
        what: "the directory is a link",
        prepare: |place| symlink(place.store_path(), place.path("link")).unwrap(),
        args: &["--store", "link"],
        check: "files.link",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "the lock file is a pipe",
        prepare: |place| {
            let lock = place.store_path().join("writer.lock");
            fs::remove_file(&lock).unwrap();
            assert!(
                place
                    .wrapped("mkfifo")
                    .args(["-m", "600"])
                    .arg(&lock)
                    .status()
                    .unwrap()
                    .success()
            );
        },
        args: &[],
        check: "files.kind",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "others may swap the directory",
        prepare: |place| {
            fs::create_dir(place.path("open")).unwrap();
            fs::rename(place.store_path(), place.path("open/store")).unwrap();
            mode(&place.path("open"), 0o777);
        },
        args: &["--store", "open/store"],
        check: "files.parents",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "a copy lies in the store",
        prepare: |place| drop(place.file(".local/share/nebula-credential/store.db.bak", "")),
        args: &[],
        check: "files.stray",
        severity: "warning",
        code: 0,
    },
    Fault {
        what: "the key lies below the data",
        prepare: |place| {
            fs::create_dir(place.store_path().join("keys")).unwrap();
            mode(&place.store_path().join("keys"), 0o700);
            copy(&place.key_path(), &place.store_path().join("keys/key"));
        },
        args: &["--key-file", ".local/share/nebula-credential/keys/key"],
        check: "key.place",
        severity: "error",
        code: 4,
    },
    Fault {
        what: "an old copy of the key ring was put back",
        prepare: |place| {
            let ring = place.store_path().join("keyring");
            copy(&ring, &place.path("old"));
            place.ok(&["key", "rotate"]);
            place.ok(&["key", "rewrap"]);
            copy(&place.path("old"), &ring);
        },
        args: &[],
        check: "record.key",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "the store was made by a newer program",
        prepare: |place| sql(place, "PRAGMA user_version = 99"),
        args: &[],
        check: "store.open",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "a record was moved to another name",
        prepare: |place| sql(place, "UPDATE record SET name = 'stolen'"),
        args: &[],
        check: "record.integrity",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "a value is no sealed value",
        prepare: |place| sql(place, "UPDATE version SET payload = x'00'"),
        args: &[],
        check: "record.integrity",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "the expiry that lists show was altered",
        prepare: |place| sql(place, "UPDATE record SET expires_at = 4102444800000000"),
        args: &[],
        check: "store.database",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "the value of a credential was taken out",
        prepare: |place| sql(place, "DELETE FROM version"),
        args: &[],
        check: "store.database",
        severity: "error",
        code: 6,
    },
    Fault {
        what: "a credential was deleted long ago",
        prepare: |place| sql(place, "UPDATE record SET deleted_at = 1"),
        args: &[],
        check: "record.retention",
        severity: "info",
        code: 0,
    },
    Fault {
        what: "a credential was changed in the future",
        prepare: |place| sql(place, "UPDATE record SET updated_at = 4102444800000000"),
        args: &[],
        check: "system.clock",
        severity: "warning",
        code: 0,
    },
];

pub(super) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

/// What an intruder or a well-meaning hand does to the database.
pub(super) fn sql(place: &Place, statement: &str) {
    let database = rusqlite::Connection::open(place.store_path().join("store.db")).unwrap();
    database.execute_batch(statement).unwrap();
}

pub(super) fn flip(path: &Path, at: impl Fn(&[u8]) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn expiring(place: &Place, seconds: u64) {
    let end = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + seconds;
    let end = chrono::DateTime::from_timestamp(end.try_into().unwrap(), 999_000_000).unwrap();
    let put = [
        "put",
        "soon",
        "--type",
        "secret_text",
        "--expires-at",
        &end.to_rfc3339(),
    ];
    assert_eq!(place.run(&put, r#"{"text":"t"}"#).code, 0);
}
