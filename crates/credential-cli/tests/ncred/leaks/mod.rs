//! Where secrets must not be seen: every verb that touches one is run, and each place is searched for it in every form
//! that the hunter of the testkit knows. Each check is also made of something that does leak, and must find it.

mod cores;
mod files;
mod memory;
mod outputs;
mod processes;
mod screens;

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nebula_credential_testkit::{Canary, LeakHunter, skip};
use serde_json::json;
use tempfile::TempDir;

use crate::place::{Place, text};

/// Where the key lies in a key file, behind the magic number and the version.
const KEY: std::ops::Range<usize> = 9..41;

/// A home, a directory in memory for `edit`, and the secrets that go through them.
struct Home {
    place: Place,
    memory: TempDir,
    stored: Canary,
    newer: Canary,
    passphrase: Canary,
    generated: RefCell<Vec<Canary>>,
}

/// One run of a verb; they build on each other.
struct Step {
    args: Vec<String>,
    stdin: String,
    code: i32,
}

impl Step {
    fn new(args: &str, stdin: impl Into<String>, code: i32) -> Self {
        Self {
            args: args.split(' ').map(str::to_owned).collect(),
            stdin: stdin.into(),
            code,
        }
    }

    fn name(&self) -> String {
        self.args.join(" ")
    }
}

impl Home {
    /// None where there is no `/dev/shm`.
    fn new(test: &str, canary: impl Fn() -> Canary) -> Option<Self> {
        let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
            skip(test, "there is no /dev/shm");
            return None;
        };
        let home = Self {
            place: Place::bare(),
            memory,
            stored: canary(),
            newer: canary(),
            // It is a line of its own.
            passphrase: Canary::text(),
            generated: RefCell::default(),
        };
        for directory in ["tmp", "bundles"] {
            std::fs::create_dir(home.place.path(directory)).unwrap();
        }
        let editor = home.place.file(
            "editor",
            "#!/bin/sh\necho editing\nsed -i s/octocat/hubot/ \"$1\"\n",
        );
        std::fs::set_permissions(editor, std::fs::Permissions::from_mode(0o700)).unwrap();
        Some(home)
    }

    /// The same with `db` in it, for what looks at one moment of one verb.
    fn with_db(test: &str) -> Option<Self> {
        let home = Self::new(test, Canary::text)?;
        for step in home.steps().iter().take(2) {
            let answer = crate::place::answer(home.command(step), &step.stdin);
            assert_eq!(answer.code, step.code, "{}: {answer:?}", step.name());
        }
        Some(home)
    }

    fn editor(&self) -> PathBuf {
        self.place.path("editor")
    }

    /// An editor that says nothing.
    fn quiet_editor(&self) {
        let script = "#!/bin/sh\nsed -i s/octocat/hubot/ \"$1\"\n";
        std::fs::write(self.editor(), script).unwrap();
    }

    /// `program` in this home.
    fn wrapped(&self, program: &str) -> Command {
        let mut command = self.place.wrapped(program);
        command
            .env("XDG_RUNTIME_DIR", self.memory.path())
            .env("TMPDIR", self.place.path("tmp"))
            .env("EDITOR", self.editor())
            .env("RUST_BACKTRACE", "full")
            .env("NCRED", env!("CARGO_BIN_EXE_ncred"));
        command
    }

    fn command(&self, step: &Step) -> Command {
        let mut command = self.wrapped(env!("CARGO_BIN_EXE_ncred"));
        command.args(&step.args);
        command
    }

    fn basic(secret: &Canary) -> String {
        json!({"username": "octocat", "password": secret.secret()}).to_string()
    }

    /// Every verb that touches a secret, done and refused.
    fn steps(&self) -> Vec<Step> {
        let (stored, newer) = (self.stored.secret(), self.newer.secret());
        let (value, new_value) = (Self::basic(&self.stored), Self::basic(&self.newer));
        let line = |passphrase: &str| format!("{passphrase}\n");
        let passphrase = line(&self.passphrase.secret());
        let quoted = json!(newer).to_string();
        let bundle = self.place.path("bundles/all.ncb");
        let out = format!("export --out {} --for-passphrase-fd 0", text(&bundle));
        let back = format!("import {} --bundle-passphrase-fd 0 --prefix from/", text(&bundle));
        vec![
            Step::new("init", "", 0),
            Step::new("put db --type basic", value.as_str(), 0),
            Step::new(
                "put api --type secret_text",
                json!({ "text": newer }).to_string(),
                0,
            ),
            Step::new("put db --type basic --if-version 7", value.as_str(), 7),
            Step::new("put x --type basic", value.replace("password", "passwort"), 2),
            Step::new("put x --type basic", value.trim_end_matches('}'), 2),
            Step::new("put x --type basic", stored.as_str(), 2),
            Step::new("put x --type basic", json!({ stored.as_str(): 1 }).to_string(), 2),
            Step::new("put x --type jwt", json!({ "token": stored }).to_string(), 2),
            Step::new("get db", "", 0),
            Step::new("get db --field password", "", 2),
            Step::new("get db --field passwort", "", 3),
            Step::new("get db --version 1", "", 0),
            Step::new("list", "", 0),
            Step::new("versions db", "", 0),
            Step::new("tags db team=web", "", 0),
            Step::new("rotate db", new_value.as_str(), 0),
            Step::new("rotate db", value.trim_start_matches('{'), 2),
            Step::new("rotate db --generate", "", 0),
            Step::new("rollback db", "", 0),
            Step::new("rollback db --to 9", "", 3),
            Step::new("edit db", "", 0),
            Step::new("import - --format env", format!("A_KEY={quoted}\n"), 0),
            Step::new("import - --format env", format!("A_KEY={quoted}\n"), 7),
            Step::new("import - --format env", format!("A_KEY=1\n'{quoted}\n"), 2),
            Step::new("import - --format env --dry-run", format!("B={quoted}\n"), 0),
            Step::new(
                "import - --format json",
                json!({ "of_json": stored }).to_string(),
                0,
            ),
            Step::new("import - --format json", format!("{{{quoted}"), 2),
            Step::new("import - --format yaml", format!("of_yaml: {quoted}\n"), 0),
            Step::new("import - --format yaml", format!("[{quoted}: \n"), 2),
            Step::new("run --set P=db#password -- echo ran", "", 0),
            Step::new("run --set P=db#passwort -- echo ran", "", 3),
            Step::new("run --set P=db#password -- no-such-command", "", 127),
            Step::new("key add --new-passphrase-fd 0", passphrase.as_str(), 0),
            Step::new("key list --passphrase-fd 0", passphrase.as_str(), 0),
            Step::new(
                "key list --passphrase-fd 0",
                line(&self.passphrase.secret()[1..]),
                5,
            ),
            Step::new("key rotate", "", 0),
            Step::new("key rewrap --destroy-unused", "", 0),
            Step::new("key status", "", 0),
            Step::new("key remove 2", "", 0),
            Step::new(&out, passphrase.as_str(), 0),
            Step::new(&out, passphrase.as_str(), 7),
            Step::new(&back, line(&self.passphrase.secret()[1..]), 5),
            Step::new(&back, passphrase.as_str(), 0),
            Step::new("delete api", "", 0),
            Step::new("restore api", "", 0),
            Step::new("revoke api --yes", "", 0),
            Step::new("get api --reveal", "", 1),
            Step::new("doctor", "", 0),
            Step::new("purge api --yes", "", 0),
        ]
    }

    /// Has every step observed, each to the end of its verb.
    fn drive(&self, mut observe: impl FnMut(&Step) -> i32) {
        for step in self.steps() {
            let code = observe(&step);
            assert_eq!(code, step.code, "{}", step.name());
            if step.name().contains("--generate") {
                let made = self.place.ok(&["get", "db", "--reveal", "--field", "password"]);
                self.generated.borrow_mut().push(Canary::of(made.as_bytes()));
            }
        }
    }

    /// Looks for everything that was secret in this home so far.
    fn hunter(&self) -> LeakHunter {
        let mut hunter = LeakHunter::new()
            .hunt("the stored password", &self.stored)
            .hunt("the newer password", &self.newer)
            .hunt("the passphrase", &self.passphrase);
        for made in self.generated.borrow().iter() {
            hunter.add("the generated password", made);
        }
        if let Ok(file) = std::fs::read(self.place.key_path()) {
            hunter.add("the key", &Canary::of(&file[KEY]));
        }
        hunter
    }
}

/// How much was looked at: a search of nothing finds nothing.
#[expect(clippy::print_stdout, reason = "a proof says what it rests on")]
fn searched(count: usize, places: &str) {
    assert!(count > 0, "no {places} were searched");
    println!("searched {count} {places}");
}

/// Longest wait for a process to come to where it is looked at.
const PATIENCE: Duration = Duration::from_secs(30);

fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_there(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("command -v {program} >/dev/null")])
        .status()
        .is_ok_and(|status| status.success())
}
