//! The verbs, and the stores they are tried on.

use super::calls::Kind;
use super::points::{Fault, Point};
use super::tracer::Step;
use super::trial;
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
    /// Whether it changes nothing. It still opens the store, and must not report a success and print something else.
    pub(super) reads: bool,
    /// A bundle that it makes. What is in it is looked at like what is stored.
    pub(super) bundle: Option<Bundle>,
}

/// A bundle, and the key file that opens it.
pub(super) struct Bundle {
    pub(super) file: &'static str,
    pub(super) key_file: &'static str,
}

const TRANSFER: Bundle = Bundle {
    file: "transfer.ncb",
    key_file: "transfer",
};

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
/// A write after which the log is copied into the database.
pub(super) const PUT_LAST: &str = "put-last";

const PUT: Call<'_> = Call {
    arguments: &["put", "new", "--type=secret_text"],
    stdin: r#"{"text":"put"}"#,
};

/// The database and its log, as the points name them.
pub(super) const DATABASE: &str = "./store/store.db";
pub(super) const LOG: &str = "./store/store.db-wal";

const fn verb(name: &'static str, arguments: &'static [&'static str], stdin: &'static str) -> Verb {
    Verb {
        name,
        arguments,
        stdin,
        in_steps: false,
        unseen: false,
        reads: false,
        bundle: None,
    }
}

const fn reader(name: &'static str, arguments: &'static [&'static str]) -> Verb {
    Verb {
        reads: true,
        ..verb(name, arguments, "")
    }
}

/// A verb that is added is a line here. What it works on that the store does not hold yet comes from [`prepare`].
pub(super) const VERBS: &[Verb] = &[
    verb(INIT, &["init"], ""),
    verb(PUT_FIRST, PUT.arguments, PUT.stdin),
    verb("put", PUT.arguments, PUT.stdin),
    verb(PUT_LAST, PUT.arguments, PUT.stdin),
    verb(
        "put-over",
        &["put", "live", "--type=secret_text"],
        r#"{"text":"put"}"#,
    ),
    verb("rotate", &["rotate", "live"], r#"{"text":"rotated"}"#),
    verb("rollback", &["rollback", "live"], ""),
    verb("tags", &["tags", "live", "team=a"], ""),
    verb("revoke", &["revoke", "live", "--yes"], ""),
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
    Verb {
        in_steps: true,
        ..verb(
            "import-bundle",
            &[
                "import",
                "transfer.ncb",
                "--bundle-key-file=transfer",
                "--on-conflict=replace",
            ],
            "",
        )
    },
    Verb {
        bundle: Some(Bundle {
            file: "new.ncb",
            key_file: "another",
        }),
        ..verb(
            "export",
            &["export", "--out=new.ncb", "--for-key-file=another"],
            "",
        )
    },
    Verb {
        bundle: Some(TRANSFER),
        ..verb(
            "export-over",
            &[
                "export",
                "--out=transfer.ncb",
                "--force",
                "--for-key-file=transfer",
            ],
            "",
        )
    },
    verb("key-add", &["key", "add", "--new-key-file=another"], ""),
    verb("key-remove", &["key", "remove", "2"], ""),
    verb("key-rotate", &["key", "rotate"], ""),
    Verb {
        unseen: true,
        ..verb("key-rewrap", &["key", "rewrap"], "")
    },
    reader("get", &["get", "live", "--field=text", "--reveal"]),
    reader("list", &["list", "--deleted", "--json"]),
    reader("versions", &["versions", "live", "--json"]),
    reader("run", &["run", "--set=NEW=live#text", "--", "printenv", "NEW"]),
    reader("doctor", &["doctor", "--json"]),
    reader("key-status", &["key", "status", "--json"]),
];

/// A store to which nothing was ever written, without the log that SQLite makes when it has to.
pub(super) fn fresh(workshop: &Workshop) -> Result<Place> {
    let place = workshop.place("fresh")?;
    let init = Call {
        arguments: &["init"],
        stdin: "",
    };
    // A traced process ends when its threads have, and the last of them to close the store empties the log.
    let (output, _) = trial::traced(&place, init, "fresh", None)?;
    if !output.status.success() || has_log(&place) {
        return Err("`init` does not leave a store whose log is empty".into());
    }
    for file in [LOG, "./store/store.db-shm"] {
        match std::fs::remove_file(place.root.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(place)
}

/// A store with records live, deleted and plain, two slots, a key that was rotated and not yet rewrapped, a bundle,
/// and a log that was not copied into the database.
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
    put("moved", "first")?;
    let exported = &[
        "export",
        "live",
        "moved",
        "--out=transfer.ncb",
        "--for-key-file=transfer",
    ];
    place.must(exported, "")?;
    place.must(&["purge", "moved", "--yes"], "")?;
    leave_log(
        workshop,
        &place,
        Call {
            arguments: &["put", "plain", "--type=secret_text"],
            stdin: r#"{"text":"first"}"#,
        },
    )?;
    Ok(place)
}

/// Makes a call, and has it killed if it would copy the log into the database: whoever comes next finds a log.
fn leave_log(workshop: &Workshop, place: &Place, call: Call<'_>) -> Result<()> {
    let copy = place.copy(workshop, "logged")?;
    let (_, steps) = trial::traced(&copy, call, "logged", None)?;
    let point = steps.iter().find(copies).map(|step| Point {
        site: step.site.clone(),
        fault: Fault::Kill,
    });
    trial::traced(place, call, "logged", point.as_ref())?;
    if !has_log(place) {
        return Err("no log is left behind".into());
    }
    Ok(())
}

/// The same store with a log so long that the next change has it copied into the database.
pub(super) fn long(workshop: &Workshop, template: &Place) -> Result<Place> {
    let place = template.copy(workshop, "long")?;
    for change in 0..CHANGES {
        let copy = place.copy(workshop, "logged")?;
        let (_, steps) = trial::traced(&copy, PUT, "logged", None)?;
        if steps.iter().any(|step| copies(&step)) {
            return Ok(place);
        }
        place.must(&["tags", "plain", &format!("change={change}")], "")?;
    }
    Err(format!("{CHANGES} changes are not copied into the database").into())
}

/// More than a log may hold that is left to the next process.
const CHANGES: u32 = 200;

fn copies(step: &&Step) -> bool {
    step.site.call.kind == Kind::Write && step.site.path == DATABASE
}

/// Whether there are changes in the log.
pub(super) fn has_log(place: &Place) -> bool {
    let log = place.root.join(LOG).metadata();
    log.is_ok_and(|log| log.len() > 0)
}
