//! `sops decrypt --extract`: one value of an encrypted YAML file, with an age key in a file.

use std::fs;
use std::path::Path;

use nebula_credential_benches::Result;

use super::{Answer, Program, command, find, output};

pub(crate) fn sops(home: &Path, secret: &str) -> Result<Program> {
    let (sops, keygen) = (find("sops")?, find("age-keygen")?);
    let (key, plain, sealed) = (
        home.join("age.txt"),
        home.join("sops-plain.yaml"),
        home.join("sops.yaml"),
    );
    output(command(&keygen, home).arg("-o").arg(&key))?;
    let recipient = output(command(&keygen, home).arg("-y").arg(&key))?;
    fs::write(&plain, format!("text: {secret}\n"))?;
    let mut encrypt = command(&sops, home);
    encrypt
        .args(["encrypt", "--age", recipient.trim_end()])
        .arg(&plain);
    fs::write(&sealed, output(&mut encrypt)?)?;
    let mut decrypt = command(&sops, home);
    decrypt.env("SOPS_AGE_KEY_FILE", key);
    decrypt.args(["decrypt", "--extract", "[\"text\"]"]).arg(&sealed);
    let answer = Answer::Is(secret.to_owned());
    Ok(Program::new("`sops decrypt`, age key file", decrypt, answer))
}
