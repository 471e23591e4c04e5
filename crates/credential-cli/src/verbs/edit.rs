//! `ncred edit`: the value in an editor, through a private file that is wiped.

mod editor;
mod scratch;
mod text;

use clap::Args;
use nebula_credential::types::TypeInfo;
use nebula_credential::{AnyCredential, Clock as _, CredentialName, RawCredential, SystemClock, limits};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use self::editor::Signals;
use self::scratch::Scratch;
use super::view::Metadata;
use super::{change, explain};
use crate::args::parse;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::{PassphraseFrom, Settings};
use crate::unlock::Session;
use crate::{input, value};

/// Longest edited text, in bytes: a value of the greatest size, and as much again for its indentation.
const TEXT_BYTES_MAX: usize = 2 * limits::SECRET_BYTES_MAX;

const AFTER_HELP: &str = "\
The editor is $VISUAL, $EDITOR or vi. It is given a JSON file of mode 0600 in a directory of mode 0700 on a \
memory-backed file system, $XDG_RUNTIME_DIR or /dev/shm. That directory is overwritten and removed, with all that the \
editor left in it, however the edit ends. Editors of the Vim family are told to write no swap, backup, undo and viminfo \
files; tell others to write none outside the file's directory.

Nothing is stored if nothing was changed, if the editor fails, or if someone else stored another version meanwhile.";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Edit {
    /// The name of the credential
    #[arg(value_parser = parse::name)]
    name: CredentialName,
    /// If there is no such credential, make one of this type
    #[arg(long = "type", short = 't', value_name = "TYPE")]
    credential_type: Option<String>,
    /// Where no memory-backed file system is to be had, edit in the directory for temporary files
    #[arg(long)]
    on_disk: bool,
}

/// What is edited.
struct Draft {
    info: &'static TypeInfo,
    /// What is stored now.
    current: Option<RawCredential>,
    /// What the editor is given.
    text: Zeroizing<Vec<u8>>,
}

pub(super) async fn run(session: &Session, args: &Edit, settings: &Settings, output: &Output) -> Outcome {
    let draft = draft(session, args).await?;
    // The passphrase has been read, and is none of the editor's business.
    if let Some(PassphraseFrom::Descriptor(number)) = settings.unlock.passphrase {
        input::close(number);
    }
    // The editor's part needs signals and timers, which this runtime is made without.
    let edited = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, || converse(&draft, args, output))
            .map_err(|_| no_resources())?
            .join()
            .unwrap_or_else(|_| Err(Failure::system("the edit broke off", "report this as a bug")))
    })?;
    match edited {
        Some(edited) => store(session, args, &draft, &edited, output).await,
        None => unchanged(args, &draft, output),
    }
}

async fn draft(session: &Session, args: &Edit) -> Outcome<Draft> {
    let wanted = args
        .credential_type
        .as_deref()
        .map(value::type_named)
        .transpose()?;
    let current = match (session.manager.get_raw(&args.name).await, wanted) {
        (Ok(current), _) => current,
        (Err(error), Some(info)) if error.is_not_found() => {
            return Ok(Draft {
                info,
                current: None,
                text: template(info),
            });
        }
        (Err(error), _) => return Err(explain(session, &args.name, error).await),
    };
    let stored = &current.head().version.credential_type;
    let Some(info) = value::find(stored) else {
        return Err(Failure::state(
            format!("{} is of a type that this tool does not know", args.name),
            "change it with the program that defines its type",
        ));
    };
    if wanted.is_some_and(|wanted| wanted.name() != info.name()) {
        return Err(Failure::usage(
            format!("{} is of the type {}", args.name, info.name()),
            "leave out --type, or choose another name",
        ));
    }
    if serde_json::from_slice::<&RawValue>(current.expose()).is_err() {
        return Err(Failure::state(
            "the stored value is no JSON",
            "replace it with `ncred rotate`",
        ));
    }
    let text = text::pretty(current.expose());
    Ok(Draft {
        info,
        current: Some(current),
        text,
    })
}

/// An object of the required fields, to be filled in.
fn template(info: &TypeInfo) -> Zeroizing<Vec<u8>> {
    use nebula_credential::FieldKind;

    let empty = |kind| match kind {
        FieldKind::Number => "0",
        FieldKind::Boolean => "false",
        FieldKind::List => "[]",
        FieldKind::Map => "{}",
        _ => "\"\"",
    };
    let fields = info.fields().iter().filter(|field| field.required);
    // The names of fields are Rust's, and need no escapes.
    let members: Vec<String> = fields
        .map(|field| format!("\"{}\":{}", field.name, empty(field.kind)))
        .collect();
    text::pretty(format!("{{{}}}", members.join(",")).as_bytes())
}

/// What was made of the draft; `None` if nothing was. However it ends, the private file is gone.
fn converse(draft: &Draft, args: &Edit, output: &Output) -> Outcome<Option<AnyCredential>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| no_resources())?;
    let edited = runtime.block_on(async {
        // Before there is anything to wipe.
        let mut signals = Signals::catch()?;
        let mut scratch = Scratch::create(args.name.as_str(), args.on_disk)?;
        if scratch.is_on_disk() {
            output.warn(
                "the secrets touch the disk: overwriting them there leaves what a journal, a snapshot or a flash \
                 drive keeps",
            );
        }
        let edited = rounds(draft, &scratch, &mut signals, output).await;
        match (edited, scratch.wipe()) {
            (Ok(_), Err(left)) => Err(left),
            (Err(failure), Err(left)) => {
                output.failure(&left);
                Err(failure)
            }
            (edited, Ok(())) => edited,
        }
    });
    // A question that a signal cut short still waits for its answer.
    runtime.shutdown_background();
    edited
}

fn no_resources() -> Failure {
    Failure::system(
        "the system gives no resources to run with",
        "raise the limits of this process",
    )
}

/// Has the file edited until it holds what can be stored, or whoever edits has enough.
async fn rounds(
    draft: &Draft,
    scratch: &Scratch,
    signals: &mut Signals,
    output: &Output,
) -> Outcome<Option<AnyCredential>> {
    scratch.write(&draft.text)?;
    loop {
        editor::edit(scratch.file(), signals).await?;
        let flaw = match take(draft, scratch) {
            Ok(edited) => return Ok(edited),
            Err(failure) if failure.exit == Exit::Usage => failure,
            Err(failure) => return Err(failure),
        };
        if !input::is_interactive() {
            return Err(flaw);
        }
        output.failure(&flaw);
        let answer = signals.or(tokio::task::spawn_blocking(wants_again)).await?;
        if !answer.unwrap_or(false) {
            return Err(Failure {
                exit: Exit::Usage,
                ..Failure::state(
                    "nothing was stored",
                    "the edit was wiped; `ncred edit` begins with the stored value again",
                )
            });
        }
    }
}

/// Whether whoever sits there goes on. Who hangs up does not.
fn wants_again() -> bool {
    use std::io::{self, Write as _};
    let mut answer = String::new();
    let asked = io::stderr().write_all(b"Edit again? [Y/n] ");
    let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
    read.is_ok_and(|count| count > 0) && !answer.trim_start().starts_with(['n', 'N'])
}

/// What the file holds now; `None` if that is what it held at first.
fn take(draft: &Draft, scratch: &Scratch) -> Outcome<Option<AnyCredential>> {
    let edited = text::compact(&scratch.read(TEXT_BYTES_MAX)?);
    if edited == text::compact(&draft.text) {
        return Ok(None);
    }
    match value::decode(draft.info, &edited) {
        Ok(edited) => Ok(Some(edited)),
        Err(flaw) => Err(of_file(flaw, draft.info)),
    }
}

/// A remedy for whoever has an editor, where `put` and `rotate` speak of standard input.
fn of_file(flaw: Failure, info: &TypeInfo) -> Failure {
    match &flaw.help {
        Some(help) if help.starts_with("did you mean") => flaw,
        _ => flaw.with_help(format!(
            "nothing was stored; `ncred types {}` shows its fields",
            info.name()
        )),
    }
}

async fn store(
    session: &Session,
    args: &Edit,
    draft: &Draft,
    edited: &AnyCredential,
    output: &Output,
) -> Outcome {
    let now = SystemClock.now();
    let store = match &draft.current {
        None => session.manager.store_any(&args.name, edited).if_absent(),
        Some(current) => {
            let version = &current.head().version;
            let store = session
                .manager
                .rotate_any(&args.name, edited)
                .if_version(version.version);
            // An expiry that was given beside the value stays, unless it has passed or the value now brings its own.
            match version.expires_at.filter(|end| *end > now) {
                Some(end) if edited.expires_at().is_none() => store.expires_at(end),
                _ => store,
            }
        }
    };
    let stored = store.await;
    if let Err(error) = &stored
        && error.is_conflict()
    {
        return Err(Failure::conflict(
            format!(
                "{} was changed by someone else meanwhile; this edit was not stored, and is wiped",
                args.name
            ),
            format!(
                "run `ncred edit {}` again: it begins with what they stored; `ncred versions {0}` shows when",
                args.name
            ),
        ));
    }
    let done = if draft.current.is_some() {
        "edited"
    } else {
        "stored"
    };
    change::told(session, &args.name, done, stored, output).await
}

fn unchanged(args: &Edit, draft: &Draft, output: &Output) -> Outcome {
    let Some(current) = &draft.current else {
        return Err(Failure::state(
            format!("nothing was filled in; there is still no {}", args.name),
            "edit it again, and save",
        ));
    };
    if output.is_json() {
        return output.value(&Metadata::of_head(current.head(), SystemClock.now()));
    }
    output.note(format!("{} is unchanged; nothing was stored", args.name));
    Ok(())
}
