//! Maintainer commands, run as `cargo xtask COMMAND`.
//!
//! One file per command. A command returns `Ok(false)` when it ran and found something wrong, and
//! an error when it could not do its work; both end the process with a non-zero status.

mod audit;
mod bench;
mod cargo;
mod crash;
mod docs;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod faults;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "faults/elsewhere.rs"]
mod faults;
mod fuzz;
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "only `faults` copies places")
)]
mod ncred;
mod process;
mod prove;
mod seed;
mod source;
mod tally;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

/// What went wrong, in words for the person at the terminal.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--quick]            format, tidy, book, lints, docs, tests, doctests, fuzz-corpus replay, and a little of crash
                            and faults; one closing line (--quick: format, tidy, book and tests only)
  tidy                      the rules of the repository that the compiler does not know
  docs [--check|--write]    check and build the book; --check: no build, but compare its generated pages with the code;
                            --write: write those pages, and record the session of the README
  seed PATH                 compile the Rust blocks of the overview at PATH against xtask/seed/ledger.toml
  audit [--advisories DIR]  bans, licences, sources, advisories (from DIR without network), unsafe count
  fuzz [TARGET] [--seconds N]
                            fuzz one target, or all of them in turn (60 seconds each)
  crash [--cycles N]        kill ncred at random moments; nothing acknowledged may be lost
  faults [--verb V] [--every N]
                            fail each call of each verb of ncred in turn (or every Nth)
  bench [NAME] [--rounds N] [--check]
                            benchmarks, or the one called NAME; --check: fails if a target is missed
  prove [NAME|all]          long proofs at full count; without NAME, list them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[&str]) -> Result<bool> {
    match arguments {
        ["test"] => test::run(false),
        ["test", "--quick"] => test::run(true),
        ["tidy"] => tidy::run(),
        ["docs", rest @ ..] => docs::run(rest),
        ["seed", path] => seed::run(path.as_ref()),
        ["audit"] => audit::run(None),
        ["audit", "--advisories", directory] => audit::run(Some(directory.as_ref())),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["crash", rest @ ..] => crash::run(rest),
        ["faults", rest @ ..] => faults::run(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["prove"] => prove::list(),
        ["prove", name] => prove::run(name),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(true)
        }
        [] => Err(format!("no command given\n\n{USAGE}").into()),
        other => Err(format!("cannot make sense of `{}`\n\n{USAGE}", other.join(" ")).into()),
    }
}
