//! `ncred audit`: reads and verifies an audit log. Nothing here writes one.

mod filter;
mod follow;
mod print;
mod report;
mod verify;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use nebula_credential::audit::{self, Entry};
use nebula_credential::{CredentialError, ErrorKind};

use self::filter::{Filter, Wanted};
use self::print::Printer;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show the records
    Show(Show),
    /// Show the last records, and with --follow those that come
    Tail(Tail),
    /// Show the access history: who did what with which credential how often
    Report(Report),
    /// Find out whether records were changed, removed or added
    Verify(verify::Verify),
}

/// Which log.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// The file of the log [default: that of --audit-log]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    log: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred audit show --log audit.log --principal user:alice --since 24h\n  \
    ncred audit show --name db --outcome failed --json")]
pub(crate) struct Show {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    filter: Filter,
    /// Print comma-separated values, with all fields
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    filter: Filter,
    /// How many records
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on, with the records that come
    #[arg(long, short)]
    follow: bool,
    /// Print comma-separated values, with all fields
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    ncred audit report --log audit.log --principal user:alice     # what did alice touch?\n  \
    ncred audit report --name db --since 7d --csv                # who touched db?")]
pub(crate) struct Report {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    filter: Filter,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(super) async fn run(verb: &Audit, settings: &Settings, output: &Output) -> Outcome {
    match verb {
        Audit::Show(args) => {
            let mut printer = Printer::new(output, args.csv)?;
            let wanted = args.filter.settle(settings)?;
            let read = each(args.log.path(settings)?, &wanted, |entry| printer.entry(&entry))?;
            printer.flush()?;
            read.concluded(output)
        }
        Audit::Tail(args) => tail(args, settings, output),
        Audit::Report(args) => {
            let wanted = args.filter.settle(settings)?;
            let mut history = report::History::default();
            let read = each(args.log.path(settings)?, &wanted, |entry| {
                history.add(entry);
                Ok(())
            })?;
            history.print(args.csv, output)?;
            read.concluded(output)
        }
        Audit::Verify(args) => verify::run(args, settings, output),
    }
}

fn tail(args: &Tail, settings: &Settings, output: &Output) -> Outcome {
    let (path, wanted) = (args.log.path(settings)?, args.filter.settle(settings)?);
    let mut printer = Printer::new(output, args.csv)?;
    let mut last = VecDeque::new();
    let read = each(path, &wanted, |entry| {
        if last.len() == args.lines {
            last.pop_front();
        }
        if args.lines > 0 {
            last.push_back(entry);
        }
        Ok(())
    })?;
    for entry in &last {
        printer.entry(entry)?;
    }
    printer.flush()?;
    if args.follow {
        return follow::follow(path, read.last, &wanted, &mut printer);
    }
    read.concluded(output)
}

impl Log {
    fn path<'a>(&'a self, settings: &'a Settings) -> Outcome<&'a Path> {
        let of_settings = || settings.audit.as_ref().map(audit::AuditLogger::path);
        self.log.as_deref().or_else(of_settings).ok_or_else(|| {
            Failure::usage(
                "no audit log is named",
                "name its file with --log, or with --audit-log, NCRED_AUDIT_LOG or a profile",
            )
        })
    }
}

/// How the reading of a log went.
struct Read {
    /// The number of the last record.
    last: u64,
    /// Lines that are no records.
    damaged: u64,
    /// Bytes of a last record that is not whole.
    unfinished: u64,
}

impl Read {
    /// What was shown is not all there was, if something was no record.
    fn concluded(&self, output: &Output) -> Outcome {
        if self.unfinished > 0 {
            output.note("the last record is not whole: it is being written, or a crash left it so");
        }
        match self.damaged {
            0 => Ok(()),
            count => Err(Failure {
                kind: ErrorKind::Tampered.as_str(),
                message: format!("{count} lines of the log are not records, and were passed over"),
                help: Some("`ncred audit verify` says where".to_owned()),
                exit: Exit::Damaged,
            }),
        }
    }
}

/// Has `take` given each record of the log at `path` that is wanted, the oldest first.
fn each(path: &Path, wanted: &Wanted, mut take: impl FnMut(Entry) -> Outcome) -> Outcome<Read> {
    let mut read = Read {
        last: 0,
        damaged: 0,
        unfinished: 0,
    };
    let mut entries = audit::entries(path)?;
    for entry in &mut entries {
        match entry {
            Ok(entry) => {
                read.last = entry.seq;
                if wanted.takes(&entry) {
                    take(entry)?;
                }
            }
            Err(CredentialError::Parse(_)) => read.damaged += 1,
            Err(error) => return Err(error.into()),
        }
    }
    read.unfinished = entries.unfinished();
    Ok(read)
}

/// A small file that the command line names.
fn read_small(path: &Path, what: &str) -> Outcome<zeroize::Zeroizing<String>> {
    /// A seed and a key of checkpoints have some two hundred bytes.
    const BYTES_MAX: usize = 4096;
    let refused = || {
        Failure::not_found(
            format!("the {what} {} cannot be read", path.display()),
            "check the path and its permissions",
        )
    };
    let mut file = std::fs::File::open(path).map_err(|_| refused())?;
    let bytes = crate::input::read_limited(&mut file, BYTES_MAX)
        .map_err(|_| refused())?
        .unwrap_or_default();
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Ok(zeroize::Zeroizing::new(text.to_owned()))
}
