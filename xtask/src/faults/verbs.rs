//! The verbs that change something, the store they are tried on, and the files they touch.

use crate::Result;
use crate::ncred::{Call, Place, Workshop};

/// A verb as it is tried.
pub(super) struct Verb {
    /// What `--verb` and the figures call it.
    pub(super) name: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) stdin: &'static str,
    /// Whether it changes several things one after another. Each is then old or new by itself; otherwise all of them
    /// are old or all are new.
    pub(super) in_steps: bool,
    /// Whether what is stored looks the same afterwards. Doing it again tells whether it was done.
    pub(super) unseen: bool,
}

impl Verb {
    pub(super) const fn call(&self) -> Call<'static> {
        Call {
            arguments: self.arguments,
            stdin: self.stdin,
        }
    }

    /// Whether it makes the store that the others need.
    pub(super) fn makes_the_store(&self) -> bool {
        self.name == INIT
    }
}

pub(super) const INIT: &str = "init";
/// The first write of all: SQLite makes its log for it.
pub(super) const PUT_FIRST: &str = "put-first";

const fn verb(name: &'static str, arguments: &'static [&'static str], stdin: &'static str) -> Verb {
    Verb {
        name,
        arguments,
        stdin,
        in_steps: false,
        unseen: false,
    }
}

pub(super) const VERBS: &[Verb] = &[
    verb(INIT, &["init"], ""),
    verb(
        PUT_FIRST,
        &["put", "new", "--type=secret_text"],
        r#"{"text":"put"}"#,
    ),
    verb("put", &["put", "new", "--type=secret_text"], r#"{"text":"put"}"#),
    verb(
        "put-over",
        &["put", "live", "--type=secret_text"],
        r#"{"text":"put"}"#,
    ),
    verb("rotate", &["rotate", "live"], r#"{"text":"rotated"}"#),
    verb("rollback", &["rollback", "live"], ""),
    verb("tags", &["tags", "live", "team=a"], ""),
    verb("delete", &["delete", "live"], ""),
    verb("restore", &["restore", "gone"], ""),
    verb("purge", &["purge", "live", "--yes"], ""),
    verb("edit", &["edit", "plain"], ""),
    Verb {
        in_steps: true,
        ..verb(
            "import",
            &["import", "-", "--format=env", "--on-conflict=replace"],
            "LIVE=imported\nIMPORTED=imported\n",
        )
    },
    verb("key-add", &["key", "add", "--new-key-file=another"], ""),
    verb("key-remove", &["key", "remove", "2"], ""),
    verb("key-rotate", &["key", "rotate"], ""),
    Verb {
        unseen: true,
        ..verb("key-rewrap", &["key", "rewrap"], "")
    },
];

/// A store to which nothing was ever written, without the log that SQLite makes when it has to.
pub(super) fn fresh(workshop: &Workshop) -> Result<Place> {
    let place = workshop.place("fresh")?;
    place.must(&["init"], "")?;
    let log = place.store().join("store.db-wal");
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err("a new store has a log already".into());
    }
    for file in ["store.db-wal", "store.db-shm"] {
        match std::fs::remove_file(place.store().join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(place)
}

/// A store with records live, deleted and plain, two slots, and a key that was rotated and not yet rewrapped.
pub(super) fn prepare(workshop: &Workshop) -> Result<Place> {
    let place = workshop.place("template")?;
    let put = |name: &str, text: &str| {
        let value = format!(r#"{{"text":"{text}"}}"#);
        place.must(&["put", name, "--type=secret_text"], &value)
    };
    place.must(&["init"], "")?;
    put("live", "first")?;
    put("live", "second")?;
    put("gone", "first")?;
    place.must(&["delete", "gone"], "")?;
    place.must(&["key", "add", "--new-key-file=spare"], "")?;
    place.must(&["key", "rotate"], "")?;
    put("plain", "first")?;
    Ok(place)
}

/// What may be opened, written, synced, renamed or truncated, relative to the place. The calls on a directory are
/// those that name a file within it, and its own syncs.
pub(super) const PATHS: &[&str] = &[
    "",
    "key",
    ".key.tmp",
    "another",
    ".another.tmp",
    "store",
    "store/store.db",
    "store/.store.db.tmp",
    "store/store.db-journal",
    "store/store.db-wal",
    "store/store.db-shm",
    "store/keyring",
    "store/.keyring.tmp",
    "store/keyring.lock",
    "store/turn.lock",
    "store/writer.lock",
];
