//! `ncred audit verify`.

use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use nebula_credential::ErrorKind;
use nebula_credential::audit::{
    AuditSeed, CheckpointKey, Fault, Gap, Problem, Tail, Verification, VerifyWith, verify_watched,
};
use serde::Serialize;

use super::super::view::time;
use super::{Log, read_small};
use crate::args::parse;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::Settings;

const AFTER_HELP: &str = "\
With the seed every record is checked. With the public key of the checkpoints, what lies before the last of them is; what \
comes after it may be forged, and without a checkpoint nothing is verified. The seed is written once, beside a new log, and names the public key, too.

Whoever takes over the machine that writes the log can remove its oldest files and record that the retention did. Name how \
long records are kept, or from when on they must be there, with --back-to: that finds a retention set too short, and a thief \
who kept only genuine records. It does not find one who lets the log begin with a record dated long ago: against that, \
compare the number of the first record with a copy of the log, or of its checkpoints, kept elsewhere.

The exit code is 0 if nothing is wrong and nothing missing, 6 if something is, 8 if the log cannot be read, and 1 if nothing \
could be verified.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Verify {
    #[command(flatten)]
    log: Log,
    /// The seed of the log
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "verifier")]
    seed: Option<PathBuf>,
    /// The public key of its checkpoints, or a file that holds it
    #[arg(long, value_name = "KEY|FILE")]
    verifier: Option<String>,
    /// The checkpoints [default: beside the log]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    checkpoints: Option<PathBuf>,
    /// The log must begin with a record of then or before, such as 365d, or with number 1
    #[arg(long, value_name = "WHEN", value_parser = parse::moment)]
    back_to: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Found {
    intact: bool,
    verified_through: u64,
    records: u64,
    first: u64,
    begins: Option<String>,
    reaches_back: Option<bool>,
    last: u64,
    files: u64,
    checkpoints: u64,
    problem: Option<FoundProblem>,
    gaps: Vec<FoundGap>,
    tail: &'static str,
    known_through: Option<u64>,
    unfinished: u64,
}

#[derive(Serialize)]
struct FoundProblem {
    file: String,
    line: u64,
    record: u64,
    fault: &'static str,
    message: &'static str,
}

#[derive(Serialize)]
struct FoundGap {
    from: u64,
    to: u64,
}

impl Found {
    fn new(found: &Verification, back_to: Option<DateTime<Utc>>) -> Self {
        let problem = |problem: &Problem| FoundProblem {
            file: problem.file.display().to_string(),
            line: problem.line,
            record: problem.expected,
            fault: fault(problem.fault),
            message: problem.fault.as_str(),
        };
        let gap = |gap: &Gap| FoundGap {
            from: gap.from,
            to: gap.to,
        };
        let (tail, known_through) = match found.tail {
            Tail::Complete => ("complete", Some(found.last)),
            Tail::Cut { known } => ("cut", Some(known)),
            Tail::Unknown => ("unknown", None),
        };
        Self {
            intact: is_sound(found, back_to) && found.is_intact(),
            verified_through: found.verified_through,
            records: found.records,
            first: found.first,
            begins: found.begins.map(time),
            reaches_back: back_to.map(|then| found.reaches_back_to(then)),
            last: found.last,
            files: found.files,
            checkpoints: found.checkpoints,
            problem: found.problem.as_ref().map(problem),
            gaps: found.gaps.iter().map(gap).collect(),
            tail,
            known_through,
            unfinished: found.unfinished,
        }
    }
}

/// Whether nothing is wrong and nothing missing, as far as was verified.
fn is_sound(found: &Verification, back_to: Option<DateTime<Utc>>) -> bool {
    found.is_consistent() && back_to.is_none_or(|then| found.reaches_back_to(then))
}

const fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Malformed => "malformed",
        Fault::OutOfOrder => "out_of_order",
        Fault::Unchained => "unchained",
        Fault::Forged => "forged",
        Fault::NoBeginning => "no_beginning",
        Fault::Contradicted => "contradicted",
        _ => "other",
    }
}

pub(super) fn run(args: &Verify, settings: &Settings, output: &Output) -> Outcome {
    let path = args.log.path(settings)?;
    let seed = match &args.seed {
        Some(file) => Some(seed(file, output)?),
        None => None,
    };
    let key = match &args.verifier {
        Some(text) => Some(verifier(text)?),
        None => None,
    };
    let with = match (&seed, &key) {
        (Some(seed), _) => VerifyWith::Seed(seed),
        (None, Some(key)) => VerifyWith::Checkpoints(key),
        (None, None) => {
            return Err(Failure::usage(
                "neither a seed nor a public key is named",
                "name one with --seed or --verifier",
            ));
        }
    };
    if args.checkpoints.as_ref().is_some_and(|file| !file.is_file()) {
        return Err(Failure::not_found(
            "there is no such file of checkpoints",
            "check --checkpoints, or leave it out for the one beside the log",
        ));
    }
    if let Some(seed) = AuditSeed::beside(path) {
        output.warn(format!(
            "the seed lies beside the log still, and who takes it can forge records: take {} to where the log is verified",
            seed.display()
        ));
    }
    let bar = bar(output);
    let found = verify_watched(path, with, args.checkpoints.as_deref(), |records| {
        bar.set_position(records);
    });
    bar.finish_and_clear();
    let found = found?;
    if output.is_json() {
        output.value(&Found::new(&found, args.back_to))?;
    } else {
        print(&found, args.back_to, output)?;
    }
    conclude(&found, args.back_to, seed.is_some())
}

fn seed(file: &Path, output: &Output) -> Outcome<AuditSeed> {
    let seed = AuditSeed::parse(&read_small(file, "seed")?)?;
    if file.metadata().is_ok_and(|found| found.mode() & 0o077 != 0) {
        output.warn(format!(
            "{0} can be read by others, and who has the seed can forge records; run `chmod 600 {0}`",
            file.display()
        ));
    }
    Ok(seed)
}

/// What begins as a key is none of a file's names.
fn verifier(text: &str) -> Outcome<CheckpointKey> {
    if let Ok(key) = CheckpointKey::parse(text) {
        return Ok(key);
    }
    let content = read_small(Path::new(text), "verifier key")?;
    // A seed names the key, too, in a line of its own.
    let named = content.lines().find_map(|line| line.strip_prefix("verifier "));
    Ok(CheckpointKey::parse(named.unwrap_or(&content))?)
}

fn bar(output: &Output) -> ProgressBar {
    if output.is_json() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    match ProgressStyle::with_template("{spinner} {pos} records, {per_sec}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn print(found: &Verification, back_to: Option<DateTime<Utc>>, output: &Output) -> Outcome {
    output.line(format!(
        "records {} to {}, in {}; {} checked",
        found.first,
        found.last,
        counted(found.files, "file"),
        counted(found.checkpoints, "checkpoint"),
    ))?;
    if let Some(problem) = &found.problem {
        output.line(format!("wrong: {problem}"))?;
        // What comes behind it was not looked at.
        return Ok(());
    }
    if let Some(begins) = found.begins.filter(|_| found.first > 1) {
        let hint = match back_to {
            Some(_) => "",
            None => "; --back-to compares that with the retention",
        };
        output.line(format!(
            "begins at {}: older files were removed, as the log says{hint}",
            time(begins)
        ))?;
    }
    for gap in &found.gaps {
        output.line(format!(
            "missing: records {} to {}; the log itself says that they were lost",
            gap.from, gap.to
        ))?;
    }
    output.line(match found.tail {
        Tail::Complete => "the end is the end: the writer's state knows of no later record".to_owned(),
        Tail::Cut { known } => format!(
            "cut: records {} to {known} are missing at the end",
            found.last + 1
        ),
        Tail::Unknown => {
            "the writer's state is not there: whether records behind the last checkpoint were cut off \
                          cannot be known"
                .to_owned()
        }
    })?;
    if found.unfinished > 0 {
        output.line(
            "a crash left an unfinished record behind the last; the next to write drops it, and records that",
        )?;
    }
    match (found.verified_through, is_sound(found, back_to)) {
        (through, true) if through >= found.last => output.line("intact"),
        (0, _) => Ok(()),
        (through, _) if through < found.last => output.line(format!(
            "verified through record {through}; records {} to {} are not verified: only the seed tells whether they are forged",
            through + 1,
            found.last
        )),
        _ => Ok(()),
    }
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn conclude(found: &Verification, back_to: Option<DateTime<Utc>>, by_seed: bool) -> Outcome {
    if is_sound(found, back_to) {
        return match found.verified_through {
            0 if found.records > 0 => Err(Failure::state(
                "nothing could be verified: no checkpoint",
                "use --seed; checkpoints are signed every 1,000 records, and every minute by a process that runs longer",
            )),
            _ => Ok(()),
        };
    }
    let (message, help) = match &found.problem {
        Some(problem) => (
            format!("the log was tampered with: {problem}"),
            match by_seed && found.records == 0 {
                true => "check that this is the seed of this log; if it is, keep the log as evidence",
                false => "keep the log as evidence, and compare it with a backup or a copy that a sink made",
            },
        ),
        None if found.is_consistent() => (
            "the log does not reach back to then: files were removed that were to be kept".to_owned(),
            "check --back-to against the retention; if it is right, keep the log as evidence",
        ),
        None => (
            "records are missing from the log".to_owned(),
            "after a loss of power that is to be expected; otherwise someone cut the log off",
        ),
    };
    Err(Failure {
        kind: ErrorKind::Tampered.as_str(),
        message,
        help: Some(help.to_owned()),
        exit: Exit::Damaged,
    })
}
