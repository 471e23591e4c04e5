//! Other programs that read one secret: where they are, and what they need to do so.

mod bao;
mod gopass;
mod sops;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nebula_credential_benches::Result;

pub(crate) use bao::bao;
pub(crate) use gopass::gopass;
pub(crate) use sops::sops;

/// A program with its arguments, called anew for each reading.
pub(crate) struct Program {
    pub(crate) name: String,
    command: Command,
    answer: Answer,
    /// What has to last as long as it is called.
    _guard: Box<dyn Any>,
}

/// How an answer is known to be right: a program that prints an error in a short time has read nothing.
pub(crate) enum Answer {
    /// Only this, and line ends after it.
    Is(String),
    /// This text so many times.
    Repeats(&'static str, usize),
}

impl Program {
    pub(crate) fn new(name: impl Into<String>, command: Command, answer: Answer) -> Self {
        Self {
            name: name.into(),
            command,
            answer,
            _guard: Box::new(()),
        }
    }

    pub(crate) fn keeping(self, guard: impl Any) -> Self {
        Self {
            _guard: Box::new(guard),
            ..self
        }
    }

    /// One process, from its start to the end of its output.
    pub(crate) fn call(&mut self) -> Result<()> {
        let printed = output(&mut self.command)?;
        let right = match &self.answer {
            Answer::Is(text) => printed.trim_end() == text,
            Answer::Repeats(text, count) => printed.matches(text).count() == *count,
        };
        if !right {
            return Err(format!("{} printed something else", self.name).into());
        }
        Ok(())
    }
}

/// A command with an environment of its own: nothing of the caller's configuration is read.
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).current_dir(home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null());
    command
}

/// Runs `command`; what it prints if it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let program = command.get_program();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{program:?} failed ({}): {words}", output.status).into());
    }
    let text = String::from_utf8(output.stdout);
    Ok(text.map_err(|_| format!("{program:?} printed something other than UTF-8"))?)
}

/// Where the program `name` is: where `NEBULA_BENCH_NAME` says, or else on the path.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let variable = format!("NEBULA_BENCH_{}", name.to_uppercase().replace('-', "_"));
    if let Some(named) = std::env::var_os(variable) {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is not on the path").into())
}
