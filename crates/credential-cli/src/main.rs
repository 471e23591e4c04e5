//! `ncred`; see the library for everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    nebula_credential_cli::run(std::env::args_os())
}
