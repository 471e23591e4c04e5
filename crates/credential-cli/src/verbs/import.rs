//! `ncred import`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::exit::{Failure, Outcome};
use crate::import::{self, Action, Format, INPUT_BYTES_MAX, Input, Mapping, OnConflict, Plan};
use crate::input;
use crate::output::Output;
use crate::settings::Settings;
use crate::unlock::{Register, Session};

/// Longest mapping file, in bytes: one line for each of 10,000 keys.
const MAPPING_BYTES_MAX: usize = 1024 * 1024;

/// Fewest credentials for which a progress bar is worth looking at.
const PROGRESS_FROM: usize = 50;

const AFTER_HELP: &str = r#"Formats:
  env   KEY=VALUE lines, read as python-dotenv reads them: `export`, comments, values in quotes over several
        lines. ${NAME} stays as it is without --interpolate. Of a key that stands there twice, the last counts.
  json  {"NAME": "text"} or {"NAME": {"type": "basic", "value": {"username": "u", "password": "p"}}}
  yaml  the same; sops -d FILE | ncred import - --format yaml

Names and types, unless a mapping file says otherwise:
  A name is the key in lower case, with _ for each run of characters other than a-z, 0-9, '.', '_', '-' and '/',
  one '.' or '/' for several, and a letter or digit at both ends. Two keys that become one name are refused.
  A value is a connection_string if it is a valid URL with scheme://, else a secret_text. Keys without a value
  and empty ones are left out.

A mapping file (TOML):
  others = "import"                   # or "skip": the keys that nothing below names

  [keys]
  NODE_ENV              = { skip = true }
  GITHUB_TOKEN          = { name = "github/ci", type = "bearer" }
  AWS_ACCESS_KEY_ID     = { name = "backup", field = "access_key_id" }
  AWS_SECRET_ACCESS_KEY = { name = "backup", field = "secret_access_key" }
  SMTP_HOST             = { name = "smtp", type = "key_value", field = "values.HOST" }

  [credentials.backup]                # the type, and fields that are no secret and have no key
  type = "aws"
  values = { region = "eu-central-1" }

  [[prefixes]]                        # the first that fits, for keys that [keys] does not name
  prefix = "STAGING_"
  name = "staging/"                   # stands in its place

Everything is read and checked before anything is written."#;

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Import {
    /// The file; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// How it is written; by default as its name or its content says
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Show what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// What to do with names that are there already
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    on_conflict: OnConflict,
    /// A TOML file that says what keys become
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    mapping: Option<PathBuf>,
    /// Put this before every name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// In a .env file, replace ${NAME} and ${NAME:-DEFAULT} by earlier values or the environment
    #[arg(long)]
    interpolate: bool,
    /// In a .env file, pass over lines that are no KEY=VALUE instead of refusing the file
    #[arg(long)]
    skip_invalid: bool,
}

pub(crate) async fn run(args: &Import, settings: &Settings, output: &Output) -> Outcome {
    let mapping = match &args.mapping {
        Some(path) => Mapping::parse(&read(path, MAPPING_BYTES_MAX)?)?,
        None => Mapping::default(),
    };
    let drafts = {
        let input = parse(args)?;
        check(args, &input, output)?;
        mapping.apply(input.entries, &args.prefix)?
    };
    if is_open_to_others(&args.file) {
        output.warn(format!(
            "{} can be read by others; run `chmod 600` on it, or remove it once its secrets are stored",
            args.file.display()
        ));
    }
    if args.dry_run {
        let register = Register::open(settings).await?;
        let plan = Plan::make(&register, drafts, args.on_conflict).await?;
        return report(&plan, true, true, output);
    }
    let session = Session::open(settings).await?;
    let mut plan = Plan::make(&session.register, drafts, args.on_conflict).await?;
    let pending = plan
        .items
        .iter()
        .filter(|item| item.action != Action::Skip)
        .count();
    let bar = progress(pending, output);
    let done = plan
        .carry_out(&session.manager, args.on_conflict, || bar.inc(1))
        .await;
    bar.finish_and_clear();
    // What was written is said even if not all of it was.
    report(&plan, false, done.is_ok(), output)?;
    done
}

fn parse(args: &Import) -> Outcome<Input> {
    let text = read(&args.file, INPUT_BYTES_MAX)?;
    let format = args
        .format
        .or_else(|| Format::of_path(&args.file))
        .or_else(|| Format::of_text(&text));
    let format = format.ok_or_else(|| {
        if text.trim().is_empty() {
            Failure::usage(
                "the input is empty",
                "name a file with content, or pipe it in and name the file `-`",
            )
        } else {
            Failure::usage(
                "it cannot be told how the file is written",
                "pass --format env, json or yaml",
            )
        }
    })?;
    match (args.interpolate, format) {
        (true, Format::Env) => import::read_interpolated(&text),
        (true, _) => Err(Failure::usage(
            "only .env files have ${NAME}s to replace",
            "leave out --interpolate, or pass --format env",
        )),
        (false, _) => import::read(&text, format),
    }
}

/// Says what the file has besides values, and refuses what cannot be read.
fn check(args: &Import, input: &Input, output: &Output) -> Outcome {
    for note in &input.notes {
        output.note(note);
    }
    let Some(first) = input.unreadable.first() else {
        return Ok(());
    };
    let lines = match input.unreadable.len() {
        1 => format!("line {first} is"),
        count => format!("line {first} and {} more are", count - 1),
    };
    if args.skip_invalid {
        output.warn(format!("{lines} not KEY=VALUE; passed over"));
        return Ok(());
    }
    Err(Failure::usage(
        format!("{lines} not KEY=VALUE"),
        "put quotes around values of several lines or with quotes in them, or pass --skip-invalid to pass such lines \
         over as python-dotenv does",
    ))
}

/// A whole text file, or standard input.
pub(super) fn read(path: &Path, max: usize) -> Outcome<Zeroizing<String>> {
    let shown = Shown(path);
    let unreadable = |flaw: io::Error| match flaw.kind() {
        io::ErrorKind::NotFound => Failure::not_found(
            format!("there is no file {shown}"),
            "check the path, or pipe the input in and name the file `-`",
        ),
        _ => Failure::system(
            format!("{shown} cannot be read"),
            "check that it is a file and that you may read it",
        ),
    };
    let bytes = if path == Path::new("-") {
        input::read_limited(&mut io::stdin().lock(), max)
    } else {
        File::open(path).and_then(|mut file| input::read_limited(&mut file, max))
    };
    let mut bytes = bytes.map_err(unreadable)?.ok_or_else(|| {
        Failure::usage(
            format!("{shown} is longer than {max} bytes"),
            "split it; large files belong in a file store, and their key here",
        )
    })?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(flaw) => {
            let valid = flaw.utf8_error().valid_up_to();
            let bytes = Zeroizing::new(flaw.into_bytes());
            let lines = bytes.iter().take(valid).filter(|byte| **byte == b'\n').count();
            Err(Failure::usage(
                format!("line {} of {shown} is not UTF-8", lines + 1),
                "convert it, such as `iconv -t UTF-8`",
            ))
        }
    }
}

/// Whether others than the owner may read a file.
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o044 != 0)
}

struct Shown<'a>(&'a Path);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == Path::new("-") {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}

/// A bar on standard error, if that is a terminal and a person looks at it.
fn progress(count: usize, output: &Output) -> ProgressBar {
    if count < PROGRESS_FROM || output.is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
    match ProgressStyle::with_template("{bar:30} {pos}/{len}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    complete: bool,
    created: usize,
    replaced: usize,
    skipped: usize,
    credentials: Vec<ReportedItem<'a>>,
    ignored: Vec<ReportedKey<'a>>,
}

#[derive(Serialize)]
struct ReportedItem<'a> {
    name: &'a str,
    r#type: &'a str,
    action: &'static str,
    /// The version that was written; none in a dry run.
    version: Option<u32>,
    lines: Vec<usize>,
}

#[derive(Serialize)]
struct ReportedKey<'a> {
    line: usize,
    key: Option<&'a str>,
    reason: &'static str,
}

fn report(plan: &Plan, dry_run: bool, complete: bool, output: &Output) -> Outcome {
    // Of a dry run, what would be done; else, what was.
    let count = |action| {
        let items = plan.items.iter().filter(|item| item.action == action);
        items
            .filter(|item| dry_run || action == Action::Skip || item.written.is_some())
            .count()
    };
    let (created, replaced, skipped) = (count(Action::Create), count(Action::Replace), count(Action::Skip));
    if output.is_json() {
        return output.value(&Report {
            dry_run,
            complete,
            created,
            replaced,
            skipped,
            credentials: plan
                .items
                .iter()
                .map(|item| ReportedItem {
                    name: item.name.as_str(),
                    r#type: item.type_name(),
                    action: item.action.word(),
                    version: item.written.map(Into::into),
                    lines: item.from.iter().map(|at| at.line).collect(),
                })
                .collect(),
            ignored: plan
                .ignored
                .iter()
                .map(|ignored| ReportedKey {
                    line: ignored.at.line,
                    key: ignored.key(),
                    reason: ignored.why.word(),
                })
                .collect(),
        });
    }
    if dry_run && !plan.items.is_empty() {
        let row = |item: &import::Item| {
            let lines: Vec<String> = item.from.iter().map(|at| at.line.to_string()).collect();
            vec![
                item.action.word().to_owned(),
                item.name.as_str().to_owned(),
                item.type_name().to_owned(),
                lines.join(","),
            ]
        };
        let rows: Vec<Vec<String>> = plan.items.iter().map(row).collect();
        output.table(&["ACTION", "NAME", "TYPE", "LINE"], &rows)?;
    }
    if !complete {
        for item in plan.items.iter().filter(|item| item.written.is_some()) {
            output.line(format!("written: {}", item.name))?;
        }
    }
    for ignored in &plan.ignored {
        output.note(format!("{ignored}; ignored"));
    }
    let (would, ignored) = (if dry_run { "would be " } else { "" }, plan.ignored.len());
    output.line(format!(
        "{would}created {created}, replaced {replaced}, skipped {skipped}; {ignored} keys ignored"
    ))
}
