//! `ncred import`.

mod bundle;
mod report;
mod source;

use std::path::PathBuf;

use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressStyle};

use self::report::{Origin, report};
pub(super) use self::source::read;
use self::source::{Source, is_open_to_others};
use super::bundle_key::BundleKey;
use crate::exit::{Failure, Outcome};
use crate::import::{self, Action, Drafts, Format, Input, Mapping, OnConflict, Plan};
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

  A bundle of `ncred export` is told by its first bytes, and opens with the key it was exported for. Its credentials
  go, as they were, to the tenant and scope that --tenant and --scope name.

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
    #[command(flatten)]
    key: BundleKey,
}

pub(crate) async fn run(args: &Import, settings: &Settings, output: &Output) -> Outcome {
    let mapping = match &args.mapping {
        Some(path) => Some(Mapping::parse(&read(path, MAPPING_BYTES_MAX)?)?),
        None => None,
    };
    let (drafts, origin) = match Source::read(&args.file)? {
        Source::Bundle(bytes) => bundle::drafts(args, &bytes, output)?,
        Source::Text(text) => {
            args.key.refuse_for_text()?;
            let input = parse(args, &text)?;
            drop(text);
            check(args, &input, output)?;
            (
                mapping.unwrap_or_default().apply(input.entries, &args.prefix)?,
                None,
            )
        }
    };
    if origin.is_none() && is_open_to_others(&args.file) {
        output.warn(format!(
            "{} can be read by others; run `chmod 600` on it, or remove it once its secrets are stored",
            args.file.display()
        ));
    }
    carry_out(args, drafts, origin.as_ref(), settings, output).await
}

/// Looks every name up, and then, unless it is a dry run, stores what is to be stored.
async fn carry_out(
    args: &Import,
    drafts: Drafts,
    origin: Option<&Origin>,
    settings: &Settings,
    output: &Output,
) -> Outcome {
    if args.dry_run {
        let register = Register::open(settings).await?;
        let plan = Plan::make(&register, drafts, args.on_conflict).await?;
        return report(&plan, origin, true, true, output);
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
    session.storage.close().await;
    bar.finish_and_clear();
    // What was written is said even if not all of it was.
    report(&plan, origin, false, done.is_ok(), output)?;
    done
}

fn parse(args: &Import, text: &str) -> Outcome<Input> {
    let format = args
        .format
        .or_else(|| Format::of_path(&args.file))
        .or_else(|| Format::of_text(text));
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
        (true, Format::Env) => import::read_interpolated(text),
        (true, _) => Err(Failure::usage(
            "only .env files have ${NAME}s to replace",
            "leave out --interpolate, or pass --format env",
        )),
        (false, _) => import::read(text, format),
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
