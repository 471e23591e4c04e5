//! `gopass show`, as Debian has it: a password store whose files GnuPG decrypts, with a key that has no passphrase.

use std::fs;
use std::path::Path;
use std::process::Command;

use nebula_credential_benches::{Result, fixture};
use tempfile::TempDir;

use super::{Answer, Program, command, find, output};

const KEY: &str = "bench@localhost";

/// The agent of GnuPG, which the first decryption starts and the others find running.
struct Agent {
    stop: Command,
    _directory: TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that is not told ends by itself some time after its directory is gone.
        let _ = self.stop.output();
    }
}

pub(crate) fn gopass(home: &Path, secret: &str) -> Result<Program> {
    let (gopass, gpg, gpgconf) = (find("gopass")?, find("gpg")?, find("gpgconf")?);
    // Not below the target directory: the path of a socket has 107 bytes at most.
    let directory = fixture::directory(&std::env::temp_dir().to_string_lossy())?;
    let gnupg = directory.path().to_owned();
    let store = home.join("password-store");
    let with_key = |program: &Path, arguments: &[&str]| {
        let mut command = command(program, home);
        command.args(arguments);
        command.env("GNUPGHOME", &gnupg).env("PASSWORD_STORE_DIR", &store);
        command
    };
    let agent = Agent {
        stop: with_key(&gpgconf, &["--kill", "gpg-agent"]),
        _directory: directory,
    };

    let mut make_key = with_key(&gpg, &["--batch", "--quiet", "--passphrase", ""]);
    make_key.args(["--quick-generate-key", KEY, "default", "default", "never"]);
    output(&mut make_key)?;
    fs::create_dir(&store)?;
    fs::write(store.join(".gpg-id"), format!("{KEY}\n"))?;
    let plain = home.join("gopass-plain");
    fs::write(&plain, format!("{secret}\n"))?;
    let mut encrypt = with_key(&gpg, &["--batch", "--quiet", "--recipient", KEY, "--output"]);
    encrypt.arg(store.join("one.gpg")).arg("--encrypt").arg(&plain);
    output(&mut encrypt)?;

    let show = with_key(&gopass, &["show", "one"]);
    let answer = Answer::Is(secret.to_owned());
    Ok(Program::new("`gopass show`, agent of GnuPG running", show, answer).keeping(agent))
}
