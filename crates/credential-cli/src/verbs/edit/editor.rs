//! The editor, and the signals that arrive while it runs.

use std::env;
use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::select;
use tokio::signal::unix::{self, SignalKind};

use crate::exit::{Exit, Failure, Outcome};
use crate::prompt;

/// How long an editor that was told to end may take, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What an editor of the Vim family is told, so that it writes nothing outside the file's directory: no swap file, no
/// history of registers, no backup, no undo file. Older builds do not know all of it.
const VIM_OPTIONS: &[&str] = &[
    "-n",
    "-i",
    "NONE",
    "-c",
    "silent! set nobackup nowritebackup",
    "-c",
    "silent! set noundofile",
];

/// From when this is made, signals do not end this process: what is told to end wipes first.
pub(super) struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Must be called within a runtime.
    pub(super) fn catch() -> Outcome<Self> {
        let catch = |kind| {
            unix::signal(kind).map_err(|_| {
                Failure::system(
                    "signals cannot be caught, and the private file would outlive them",
                    "raise the limits of this process",
                )
            })
        };
        let signals = Self {
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
        };
        // A prompt before this may have heard them first.
        prompt::leave_signals();
        Ok(signals)
    }

    /// The next one.
    async fn next(&mut self) -> Signal {
        select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }

    /// What `work` gives, unless a signal comes first.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Outcome<T> {
        select! {
            done = work => Ok(done),
            signal = self.next() => Err(ended_by(signal)),
        }
    }
}

fn ended_by(signal: Signal) -> Failure {
    let exit = match signal {
        Signal::HUP => Exit::HungUp,
        Signal::TERM => Exit::Terminated,
        _ => Exit::Interrupted,
    };
    Failure {
        kind: "interrupted",
        exit,
        ..Failure::state(
            "interrupted; nothing was stored, and the private file was wiped",
            "edit it again",
        )
    }
}

/// Has the file edited.
///
/// # Errors
/// [`Failure::state`] if the editor does not end well.
pub(super) async fn edit(file: &Path, signals: &mut Signals) -> Outcome {
    let editor = chosen();
    let mut command = Command::new("/bin/sh");
    // As everywhere, the variable may hold options and quotes. Without `exec` the shell would get the signals.
    command
        .arg("-c")
        .arg(format!("exec {editor} \"$@\""))
        .arg("ncred")
        .kill_on_drop(true);
    if is_vim(&editor) {
        command.args(VIM_OPTIONS);
    }
    command.arg(file);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"NCRED_") {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().map_err(|_| {
        Failure::system(
            "the editor cannot be started: there is no /bin/sh",
            "install a shell",
        )
    })?;
    let status = loop {
        let signal = select! {
            ended = child.wait() => break ended,
            signal = signals.next() => signal,
        };
        match signal {
            // A terminal sends these to the editor too, and it is for the editor to say what they mean.
            Signal::INT | Signal::QUIT => {}
            signal => {
                end(&mut child, signal).await;
                return Err(ended_by(signal));
            }
        }
    };
    let status = status.map_err(|_| Failure::system("the editor was lost sight of", "edit it again"))?;
    verdict(status, &editor)
}

fn verdict(status: ExitStatus, editor: &str) -> Outcome {
    if status.success() {
        return Ok(());
    }
    match (status.code(), status.signal()) {
        (_, Some(number)) if number == Signal::INT.as_raw() => Err(ended_by(Signal::INT)),
        (_, Some(number)) if number == Signal::TERM.as_raw() => Err(ended_by(Signal::TERM)),
        // What a shell says of a command it cannot find or run.
        (Some(126 | 127), _) => Err(Failure::usage(
            format!("the editor {editor:?} cannot be run; nothing was stored"),
            "set VISUAL or EDITOR to the editor of your choice",
        )),
        (code, _) => Err(Failure::state(
            match code {
                Some(code) => format!("the editor ended with exit code {code}; nothing was stored"),
                None => "the editor was killed; nothing was stored".to_owned(),
            },
            "edit it again",
        )),
    }
}

/// Passes a signal on, and waits until the editor is gone: it could write once more.
async fn end(child: &mut Child, signal: Signal) {
    let id = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(id) = id {
        // It has not been waited for, so that the number is still its own.
        let _ = rustix::process::kill_process(id, signal);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// `$VISUAL`, else `$EDITOR`, else `vi`.
fn chosen() -> String {
    ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| env::var(name).ok())
        .find(|editor| !editor.trim().is_empty())
        .unwrap_or_else(|| "vi".to_owned())
}

/// Whether the program is one of the Vim family, under whatever name.
fn is_vim(editor: &str) -> bool {
    let Some(program) = editor.split_whitespace().next() else {
        return false;
    };
    let path = if program.contains('/') {
        Some(program.into())
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .map(|directory| directory.join(program))
            .find(|candidate| candidate.is_file())
    };
    let real = path.and_then(|path| path.canonicalize().ok());
    let name = real.as_deref().and_then(Path::file_name).and_then(OsStr::to_str);
    name.is_some_and(|name| ["vim", "nvim", "gvim"].iter().any(|vim| name.starts_with(vim)))
}
