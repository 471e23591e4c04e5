//! `ncred run`: secrets in the environment of one command.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nebula_credential::{Clock as _, CredentialName, RawCredential, SystemClock};
use zeroize::Zeroizing;

use super::{explain, read};
use crate::args::{Binding, Run, parse};
use crate::exit::{Exit, Failure, Outcome};
use crate::unlock::Session;
use crate::value::{self, Shown};

/// Longest file of references, in bytes.
const FILE_BYTES: u64 = 256 * 1024;

/// What `--clean` leaves: where things are and how to show them.
const HARMLESS: &[&str] = &[
    "HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
];

/// Replaces this process by the command: its exit code and its signals need no one to pass them on.
pub(super) async fn run(session: Session, args: &Run) -> Outcome {
    let Some((program, rest)) = args.command.split_first() else {
        return Err(Failure::usage("the command is missing", "write it behind `--`"));
    };
    let mut bindings = match &args.env_file {
        Some(path) => references(path)?,
        None => Vec::new(),
    };
    bindings.extend(args.set.iter().cloned());

    let mut command = Command::new(program);
    command.args(rest);
    if args.clean {
        let kept = |name: &str| {
            HARMLESS.contains(&name) || name.starts_with("LC_") || args.keep.iter().any(|keep| keep == name)
        };
        command.env_clear();
        command.envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(kept)));
    }
    let mut opened = BTreeMap::new();
    for binding in &bindings {
        if !opened.contains_key(&binding.name) {
            opened.insert(&binding.name, open(&session, &binding.name).await?);
        }
        if let Some(raw) = opened.get(&binding.name) {
            let value = resolve(binding, raw)?;
            if value.contains('\0') {
                return Err(Failure::state(
                    format!(
                        "the value for {} holds a NUL byte, which no variable can",
                        binding.variable
                    ),
                    "hand it over in a file or by standard input",
                ));
            }
            command.env(&binding.variable, value.as_str());
        }
    }
    drop(opened);
    // Closes the database; what is left of the values goes with this program's memory.
    drop(session);
    let refused = command.exec();
    let shown = program.display();
    // A bare name was looked for in every directory of PATH, and some may be closed to this user.
    let is_path = shown.to_string().contains('/');
    Err(match refused.kind() {
        io::ErrorKind::PermissionDenied if is_path => Failure {
            kind: "access_denied",
            exit: Exit::Denied,
            ..Failure::state(
                format!("{shown} may not be run"),
                format!("chmod +x {shown}, or name another"),
            )
        },
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            Failure::not_found(format!("there is no command {shown}"), "check its name and PATH")
        }
        _ => Failure::system(
            format!("{shown} could not be started"),
            "check that it is a program for this system",
        ),
    })
}

async fn open(session: &Session, name: &CredentialName) -> Outcome<RawCredential> {
    let raw = match session.manager.get_raw(name).await {
        Ok(raw) => raw,
        Err(error) => return Err(explain(session, name, error).await),
    };
    read::usable(raw.head(), SystemClock.now())?;
    Ok(raw)
}

fn resolve(binding: &Binding, raw: &RawCredential) -> Outcome<Zeroizing<String>> {
    let credential_type = &raw.head().version.credential_type;
    let shown = Shown::new(credential_type, raw.expose(), true)?;
    let field = match &binding.field {
        Some(field) => field.as_str(),
        None => only_secret(credential_type).ok_or_else(|| {
            let names: Vec<&str> = shown.iter().map(|(name, _)| name).collect();
            Failure::usage(
                format!(
                    "{} has no single secret field to set {} to",
                    binding.name, binding.variable
                ),
                format!(
                    "name one as {}={}#FIELD: {}",
                    binding.variable,
                    binding.name,
                    names.join(", ")
                ),
            )
        })?,
    };
    Ok(shown.field(field)?.plain())
}

/// The one secret text of a type.
fn only_secret(credential_type: &str) -> Option<&'static str> {
    let info = value::find(credential_type)?;
    let mut secrets = info.fields().iter().filter(|field| field.secret);
    let only = secrets
        .next()
        .filter(|field| field.kind == nebula_credential::FieldKind::Text)?;
    secrets.next().is_none().then_some(only.name)
}

/// Reads lines of `VAR=NAME#FIELD`; empty ones and those that begin with `#` say nothing.
fn references(path: &Path) -> Outcome<Vec<Binding>> {
    use std::io::Read as _;

    let unreadable = || {
        Failure::usage(
            format!("the file {} cannot be read", path.display()),
            "check the path; it holds lines of VAR=NAME#FIELD, at most 256 KiB of text",
        )
    };
    let mut content = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(|_| unreadable())?;
    let read = file
        .take(FILE_BYTES + 1)
        .read_to_string(&mut content)
        .map_err(|_| unreadable())?;
    if read as u64 > FILE_BYTES {
        return Err(unreadable());
    }
    let mut bindings = Vec::new();
    for (at, line) in content.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        bindings.push(parse::binding(line).map_err(|_| {
            Failure::usage(
                format!(
                    "line {} of {} refers to no stored credential",
                    at + 1,
                    path.display()
                ),
                "write VAR=NAME#FIELD there; values themselves do not belong in this file",
            )
        })?);
    }
    Ok(bindings)
}
