//! A home directory with a store in it, and `ncred` run there.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The value of the credential that most tests store.
pub(crate) const SECRET: &str = "canary-5up3r-s3cr3t";

/// For [`Place::in_mounts`]: a store on a file system that was mounted for reading only.
pub(crate) const READ_ONLY: &str = "mount --bind \"$S\" \"$S\" && mount -o remount,ro,bind \"$S\"";
/// For [`Place::in_mounts`]: a store on a disk of 400 KiB.
pub(crate) const ON_A_SMALL_DISK: &str = "cp -a \"$S\" \"$S.old\" && \
    mount -t tmpfs -o size=400k,mode=700 none \"$S\" && cp -a \"$S.old\"/. \"$S\"";

pub(crate) struct Place {
    dir: TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// A home without a store.
    pub(crate) fn bare() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A home whose store is unlocked by the default key file.
    pub(crate) fn new() -> Self {
        let place = Self::bare();
        place.ok(&["init"]);
        place
    }

    /// One with a credential `db` of type `basic` whose password is [`SECRET`].
    pub(crate) fn with_db() -> Self {
        let place = Self::new();
        place.store("db");
        place
    }

    pub(crate) fn store(&self, name: &str) {
        let json = format!(r#"{{"username":"octocat","password":"{SECRET}"}}"#);
        assert_eq!(self.run(&["put", name, "--type", "basic"], &json).code, 0);
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Where the store is if nobody says otherwise.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.path(".local/share/nebula-credential")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.path(".config/nebula-credential/key")
    }

    /// A file of mode 0600.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn command(&self) -> Command {
        self.wrapped(env!("CARGO_BIN_EXE_ncred"))
    }

    /// `program` in the same environment; the XDG directories are below the home.
    pub(crate) fn wrapped(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Runs `ncred` with `stdin` piped in.
    pub(crate) fn run(&self, args: &[&str], stdin: &str) -> Answer {
        let mut command = self.command();
        command.args(args);
        answer(command, stdin)
    }

    /// Runs `ncred` where `mounts` were made on its store `$S`, in a mount namespace of its own; `None` if there can be
    /// none.
    pub(crate) fn in_mounts(&self, mounts: &str, args: &str, stdin: &str) -> Option<Answer> {
        let run = |script: &str, stdin: &str| {
            let mut command = self.wrapped("unshare");
            command
                .args(["-rm", "sh", "-c", script])
                .env("S", self.store_path());
            Path::new("/usr/bin/unshare")
                .exists()
                .then(|| answer(command, stdin))
        };
        if run("mount -t tmpfs none /mnt", "")?.code != 0 {
            return None;
        }
        let program = env!("CARGO_BIN_EXE_ncred");
        run(&format!("{mounts} && exec {program} {args}"), stdin)
    }

    /// Runs what must succeed without input, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let answer = self.run(args, "");
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.out
    }

    /// The same with `--json`, parsed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }
}

pub(crate) fn answer(mut command: Command, stdin: &str) -> Answer {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who refuses its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
