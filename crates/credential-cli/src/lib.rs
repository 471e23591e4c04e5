#![doc = include_str!("../README.md")]

mod access;
mod args;
mod exit;
mod import;
mod input;
mod log;
mod output;
mod prompt;
mod recording;
mod refusal;
mod settings;
mod suggest;
mod unlock;
mod value;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::Cli;
use crate::exit::{Exit, Outcome};
use crate::output::Output;
use crate::settings::Settings;

/// Runs `ncred` with `args`, the program's name first.
///
/// Prints to standard output and standard error, and reads standard input where the verb says so.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // No core file and no debugger shall see what is about to be read. Where a sandbox refuses, there is still work to do.
    let hardened = nebula_credential::crypto::harden_process();
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(refused) => return ExitCode::from(refusal::report(&refused, &args).code()),
    };
    let output = Output::new(cli.global.json, cli.global.color);
    log::start(&output);
    if let Err(flaw) = hardened {
        output.warn(exit::Failure::from(flaw).message);
    }
    match serve(&cli, &output) {
        Ok(()) => ExitCode::from(Exit::Ok.code()),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

/// How `import` reads files: for fuzzing, and for comparison with the reader it follows.
#[doc(hidden)]
pub use crate::import::{env as dotenv, rehearse as rehearse_import};
/// How the configuration file is read: for fuzzing.
#[doc(hidden)]
pub use crate::settings::rehearse as rehearse_config;

/// The command line as [`clap`] knows it, for manuals and references made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

fn serve(cli: &Cli, output: &Output) -> Outcome {
    let settings = || Settings::resolve(&cli.global, &|name| std::env::var_os(name));
    let runtime = tokio::runtime::Builder::new_current_thread()
        // The audit log waits no longer for its disk than it must.
        .enable_time()
        .build()
        .map_err(|_| {
            exit::Failure::system(
                "the system gives no resources to run with",
                "raise the limits of this process",
            )
        })?;
    runtime.block_on(verbs::run(&cli.verb, &settings, output))
}
