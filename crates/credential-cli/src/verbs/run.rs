//! `ncred run`: secrets in the environment of one command.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueHint};
use nebula_credential::{
    Clock as _, CredentialName, FieldKind, Permission, Phase, RawCredential, SystemClock,
};
use zeroize::Zeroizing;

use super::{explain, import, read};
use crate::exit::{Exit, Failure, Outcome};
use crate::import::env as dotenv;
use crate::input;
use crate::settings::{PassphraseFrom, Settings};
use crate::unlock::Session;
use crate::value::{self, Shown, Visible};

/// Longest file of references, in bytes: twice what Linux takes as the environment of a process by default.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What tells a reference from a plain value in a file.
const REFERENCE: &str = "ncred:";

/// The variables of `ncred` itself: where keys and passphrases lie is no business of the command's.
const OWN: &str = "NCRED_";

/// What `--clear-env` leaves, with `LC_*`: where things are and how to show them.
const KEPT: &[&str] = &[
    "COLORTERM",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "PWD",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
];

const AFTER_HELP: &str = "\
A file for --env-file is read as python-dotenv reads .env files. Values that begin with ncred: are references, others \
are passed on as they are; it holds no secrets, and can be kept beside the code:
  LOG_LEVEL=info
  DATABASE_URL=ncred:prod/db#url
  API_KEY=ncred:stripe
--set comes before every file, and a later file before an earlier one.

The command inherits this environment, without the variables that begin with NCRED_. With --clear-env it gets only what \
is declared, and COLORTERM, HOME, LANG, LANGUAGE, LC_*, LOGNAME, PATH, PWD, SHELL, TERM, TMPDIR, TZ and USER.

The command replaces ncred: its process id, signals, input, output and exit code are its own. Every credential is read \
first. If one cannot be, nothing is run, and the exit code is one of those that `ncred --help` lists. It is 127 if there is \
no such command, and 126 if it cannot be run.";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Run {
    /// Set VAR to a field of a credential; may be repeated. Without #FIELD, to its only secret
    #[arg(long, value_name = "VAR=NAME#FIELD", value_parser = binding)]
    set: Vec<Binding>,
    /// A file of VAR=ncred:NAME#FIELD and VAR=VALUE lines; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_file: Vec<PathBuf>,
    /// Withhold the variables of this environment, but for PATH, HOME and other harmless ones
    #[arg(long)]
    clear_env: bool,
    /// With --clear-env, hand on this variable too; may be repeated
    #[arg(long, value_name = "VAR", requires = "clear_env", value_parser = kept)]
    keep: Vec<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// A variable, and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    variable: String,
    reference: Reference,
}

/// A field of a stored credential; without a name, its only secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    name: CredentialName,
    field: Option<String>,
}

/// Where the value of a variable comes from.
enum Source {
    /// As it stands in a file.
    Plain(Zeroizing<String>),
    Stored(Reference),
}

type Declared = BTreeMap<String, Source>;
type Values = BTreeMap<String, Zeroizing<String>>;

/// Replaces this process by the command: its exit code and its signals need no one to pass them on, and no process is
/// left that holds a key.
pub(super) async fn run(args: &Run, settings: &Settings) -> Outcome {
    let Some((program, rest)) = args.command.split_first() else {
        return Err(Failure::usage("the command is missing", "write it behind `--`"));
    };
    let values = resolve_all(declared(args)?, settings).await?;
    let mut command = Command::new(program);
    command.args(rest);
    inherit(args, &mut command);
    for (variable, value) in &values {
        command.env(variable, value.as_str());
    }
    // Opened anew, the descriptor of a file gives the passphrase once more.
    match settings.unlock.passphrase {
        Some(PassphraseFrom::Descriptor(0)) => {
            command.stdin(Stdio::null());
        }
        Some(PassphraseFrom::Descriptor(number)) => input::close(number),
        _ => {}
    }
    // Descriptors of our own close by themselves; this also resets signals to what a new program expects.
    let refused = command.exec();
    Err(not_run(program, refused.kind()))
}

/// Leaves in the command's environment what it may inherit.
fn inherit(args: &Run, command: &mut Command) {
    let is_kept = |name: &str| {
        KEPT.contains(&name) || name.starts_with("LC_") || args.keep.iter().any(|keep| keep == name)
    };
    for (name, _) in env::vars_os() {
        let is_own = name.as_encoded_bytes().starts_with(OWN.as_bytes());
        if is_own || (args.clear_env && !name.to_str().is_some_and(is_kept)) {
            command.env_remove(name);
        }
    }
}

/// Everything that is to be set: of the files in their order, and then of the options.
fn declared(args: &Run) -> Outcome<Declared> {
    let mut declared = Declared::new();
    for path in &args.env_file {
        read_file(path, &mut declared)?;
    }
    for (at, Binding { variable, reference }) in args.set.iter().enumerate() {
        if args
            .set
            .iter()
            .take(at)
            .any(|earlier| earlier.variable == *variable)
        {
            return Err(Failure::usage(
                format!("{variable} is set twice"),
                "leave one --set out",
            ));
        }
        declared.insert(variable.clone(), Source::Stored(reference.clone()));
    }
    Ok(declared)
}

fn read_file(path: &Path, declared: &mut Declared) -> Outcome {
    use std::os::unix::fs::MetadataExt as _;

    let shown = path.display();
    // Whoever may change it may set LD_PRELOAD in it.
    if path
        .metadata()
        .is_ok_and(|found| found.is_file() && found.mode() & 0o002 != 0)
    {
        return Err(Failure::insecure(
            format!("everyone may change {shown}"),
            format!("chmod o-w {shown}"),
        ));
    }
    let text = import::read(path, FILE_BYTES_MAX)?;
    let read = dotenv::parse(&text);
    let refused = |line: usize, what: &str| {
        Failure::usage(
            format!("line {line} of {shown} {what}"),
            "write VAR=ncred:NAME#FIELD, or VAR=VALUE for what is no secret",
        )
    };
    if let Some(line) = read.unreadable.first() {
        return Err(refused(*line, "is not VAR=VALUE"));
    }
    for variable in read.variables {
        let line = variable.line;
        let Some(value) = variable.value else {
            return Err(refused(line, "has no value"));
        };
        if !is_variable(&variable.key) {
            return Err(refused(line, "names no variable"));
        }
        let source = match value.strip_prefix(REFERENCE) {
            Some(text) => Source::Stored(
                reference(text).ok_or_else(|| refused(line, "refers to no stored credential"))?,
            ),
            None => Source::Plain(value),
        };
        declared.insert(variable.key, source);
    }
    Ok(())
}

/// Reads every credential that is referred to, each once. The store is not opened for nothing.
async fn resolve_all(declared: Declared, settings: &Settings) -> Outcome<Values> {
    let mut session = None;
    let mut opened: BTreeMap<CredentialName, RawCredential> = BTreeMap::new();
    let mut values = Values::new();
    for (variable, source) in declared {
        let value = match source {
            Source::Plain(value) => value,
            Source::Stored(reference) => {
                if !opened.contains_key(&reference.name) {
                    let session = match &session {
                        Some(session) => session,
                        None => session.insert(Session::open(settings).await?),
                    };
                    let raw = open(session, &variable, &reference).await?;
                    opened.insert(reference.name.clone(), raw);
                }
                let Some(raw) = opened.get(&reference.name) else {
                    continue;
                };
                resolve(&variable, &reference, raw)?
            }
        };
        if value.contains('\0') {
            return Err(Failure::state(
                format!("{variable}: the value holds a NUL byte, which no variable can"),
                "hand it over on standard input, such as `ncred get NAME --field FIELD --reveal | COMMAND`",
            ));
        }
        values.insert(variable, value);
    }
    Ok(values)
}

async fn open(session: &Session, variable: &str, reference: &Reference) -> Outcome<RawCredential> {
    let name = &reference.name;
    // It is put to use by the command, and shown to nobody here.
    let manager = session.manager.with_permission(Permission::Use);
    let raw = match manager.get_raw(name).await {
        Ok(raw) => raw,
        Err(error) => {
            let is_absent = error.is_not_found();
            let failure = explain(session, name, error).await;
            return Err(if is_absent {
                // Where a reference is due, a secret may have been given: only what has a field is a name for sure.
                let what = match reference.field {
                    Some(_) => format!("there is no credential {name}"),
                    None => "there is no credential of that name".to_owned(),
                };
                Failure::not_found(format!("{variable}: {what}"), failure.help.unwrap_or_default())
            } else {
                failure
            });
        }
    };
    read::usable(raw.head(), SystemClock.now()).map_err(|failure| {
        failure.with_help(match raw.head().phase {
            Phase::Revoked => {
                format!("that is final: delete it first to store another value as {name}; nothing was run")
            }
            _ => format!("store a new value with `ncred rotate {name}`; nothing was run"),
        })
    })?;
    Ok(raw)
}

fn resolve(variable: &str, reference: &Reference, raw: &RawCredential) -> Outcome<Zeroizing<String>> {
    let credential_type = &raw.head().version.credential_type;
    let name = &reference.name;
    let shown = Shown::new(credential_type, raw.expose(), true)?;
    let names = || shown.iter().map(|(field, _)| field).collect::<Vec<_>>();
    let field = match &reference.field {
        Some(field) => field.as_str(),
        None => only_secret(credential_type, &names()).ok_or_else(|| {
            Failure::usage(
                format!("{variable}: {name} has no single secret to choose"),
                format!("write {name}#FIELD; it has: {}", names().join(", ")),
            )
        })?,
    };
    let visible = shown.field(field).map_err(|failure| Failure {
        message: format!("{variable}: {name} has no such field"),
        ..failure
    })?;
    match visible {
        Visible::Value(value) if value.get() == "null" => Err(Failure::not_found(
            format!("{variable}: {name} has no value in this field"),
            format!("give it one with `ncred edit {name}`, or name another field"),
        )),
        visible => Ok(visible.plain()),
    }
}

/// The one secret of a type, or the one field of a type that is not known here.
fn only_secret<'a>(credential_type: &str, names: &[&'a str]) -> Option<&'a str> {
    let Some(info) = value::find(credential_type) else {
        return match names {
            [only] => Some(only),
            _ => None,
        };
    };
    let mut secrets = info.fields().iter().filter(|field| field.secret);
    let only = secrets
        .next()
        .filter(|field| !matches!(field.kind, FieldKind::List | FieldKind::Map))?;
    let is_only = secrets.next().is_none();
    names.iter().copied().find(|name| is_only && *name == only.name)
}

/// Why there is no command running now.
fn not_run(program: &OsStr, why: io::ErrorKind) -> Failure {
    let shown = program.display();
    let is_there = || {
        if Path::new(program).components().count() > 1 {
            return true;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    let (exit, message, help) = match why {
        // Of a bare name, also what directories that are closed to this user lead to.
        io::ErrorKind::PermissionDenied if is_there() => (
            Exit::NotExecutable,
            format!("{shown} may not be run"),
            "make it executable with `chmod +x`, or name another command",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => (
            Exit::CommandNotFound,
            format!("there is no command {shown}"),
            "check its name and PATH; of a script, also the program its first line names",
        ),
        io::ErrorKind::ArgumentListTooLong => (
            Exit::NotExecutable,
            format!("{shown} was given more than the system takes"),
            "hand long values over in files; on Linux, one variable holds at most 128 KiB",
        ),
        _ => (
            Exit::NotExecutable,
            format!("{shown} could not be started"),
            "check that it is a program for this system",
        ),
    };
    Failure {
        kind: "command_not_run",
        exit,
        ..Failure::state(message, help)
    }
}

fn binding(text: &str) -> Result<Binding, String> {
    let refused = || {
        "this refers to no stored credential; write VAR=NAME#FIELD, and store values with `ncred put` first"
            .to_owned()
    };
    let (variable, text) = text.split_once('=').ok_or_else(refused)?;
    if !is_variable(variable) {
        return Err("a variable is letters, digits and '_', '.' or '-'; write VAR=NAME#FIELD".to_owned());
    }
    Ok(Binding {
        variable: variable.to_owned(),
        reference: reference(text.strip_prefix(REFERENCE).unwrap_or(text)).ok_or_else(refused)?,
    })
}

fn kept(text: &str) -> Result<String, String> {
    if text.starts_with(OWN) {
        return Err(
            "the variables of ncred are not handed on; set it for the command by --env-file".to_owned(),
        );
    }
    if !is_variable(text) {
        return Err("this names no variable; write it without its value".to_owned());
    }
    Ok(text.to_owned())
}

fn reference(text: &str) -> Option<Reference> {
    let (name, field) = match text.split_once('#') {
        Some((_, "")) => return None,
        Some((name, field)) => (name, Some(field.to_owned())),
        None => (text, None),
    };
    Some(Reference {
        name: CredentialName::new(name).ok()?,
        field,
    })
}

/// What shells, container runtimes and service managers agree to call a variable, and no more.
fn is_variable(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}
