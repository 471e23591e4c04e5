//! What the command line parser refuses, told without repeating what was given: a secret may have been.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::{Cli, ColorChoice, parse};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::suggest;

const NO_SECRETS: &str = "secrets never go by arguments, where the shell's history and every process can see them: give \
                          them on standard input, such as `ncred put NAME --type TYPE < value.json`; what was typed is in \
                          the history now, so replace the secret";

/// Prints help where it was asked for, and otherwise what is wrong.
pub(crate) fn report(refused: &clap::Error, args: &[OsString]) -> Exit {
    match refused.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody is left to be told.
            let _ = refused.print();
            return Exit::Ok;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = refused.print();
            return Exit::Usage;
        }
        _ => {}
    }
    let before_dashes = args.iter().take_while(|arg| *arg != "--");
    let is_json = before_dashes.into_iter().any(|arg| arg == "--json");
    let failure = explain(refused, &asked(args));
    Output::new(is_json, ColorChoice::Auto).failure(&failure);
    failure.exit
}

/// The command that shows the help of the verb in `args`, as far as there is one.
fn asked(args: &[OsString]) -> String {
    let mut help = "ncred help".to_owned();
    let parsed = Cli::command().ignore_errors(true).try_get_matches_from(args).ok();
    let mut verb = parsed.as_ref().and_then(clap::ArgMatches::subcommand);
    while let Some((name, matches)) = verb {
        help.push(' ');
        help.push_str(name);
        verb = matches.subcommand();
    }
    help
}

/// `help` is the command that shows what the verb takes.
fn explain(refused: &clap::Error, help: &str) -> Failure {
    let context = |kind| match refused.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let see_help = || format!("`{help}` shows what it takes");
    match refused.kind() {
        ErrorKind::InvalidSubcommand => {
            let given = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let help = match nearest_verb(&given).or_else(|| context(ContextKind::SuggestedSubcommand)) {
                Some(near) => format!("did you mean `ncred {near}`?"),
                None => "`ncred help` lists the commands".to_owned(),
            };
            Failure::usage("there is no such command", help)
        }
        ErrorKind::UnknownArgument => unknown(&argument, context(ContextKind::SuggestedArg), help),
        ErrorKind::InvalidValue => match context(ContextKind::ValidValue) {
            Some(valid) if !valid.is_empty() => Failure::usage(
                format!("{argument} does not take this value"),
                format!("it takes: {valid}"),
            ),
            _ => Failure::usage(format!("{argument} needs a value"), see_help()),
        },
        ErrorKind::ValueValidation => {
            let (what, remedy) = reason(refused);
            Failure::usage(format!("{argument}: {what}"), remedy.unwrap_or_else(see_help))
        }
        ErrorKind::MissingRequiredArgument => Failure::usage(format!("missing: {argument}"), see_help()),
        ErrorKind::ArgumentConflict => {
            let prior = context(ContextKind::PriorArg);
            Failure::usage(
                match prior {
                    Some(prior) if prior != argument => format!("{argument} cannot be used with {prior}"),
                    _ => format!("{argument} may be given only once"),
                },
                "leave one of them out",
            )
        }
        ErrorKind::MissingSubcommand => {
            Failure::usage("the command is missing", "`ncred help` lists the commands")
        }
        _ => Failure::usage("the command line is not well formed", see_help()),
    }
}

/// The verb, or the verb of a family such as `key rotate`, that was probably meant.
fn nearest_verb(given: &str) -> Option<String> {
    let command = Cli::command();
    let mut verbs = Vec::new();
    for verb in command.get_subcommands() {
        verbs.extend(
            verb.get_name_and_visible_aliases()
                .into_iter()
                .map(|name| (name, name.to_owned())),
        );
        let family = |member: &clap::Command| format!("{} {}", verb.get_name(), member.get_name());
        verbs.extend(
            verb.get_subcommands()
                .map(|member| (member.get_name(), family(member))),
        );
    }
    // A verb of its own comes before a member of a family of the same name.
    let near = suggest::nearest(given, verbs.iter().map(|(name, _)| *name))?.to_owned();
    verbs
        .into_iter()
        .find(|(name, _)| *name == near)
        .map(|(_, path)| path)
}

/// An option that does not exist, or a word too many. The word, and what follows `=`, may be a secret.
fn unknown(argument: &str, near: Option<String>, verb_help: &str) -> Failure {
    let option = argument.split('=').next().unwrap_or_default();
    if !option.starts_with("--") {
        return Failure::usage(
            "an argument too many, not shown here as it may be a secret",
            NO_SECRETS,
        );
    }
    if parse::names_a_secret(option) {
        return Failure::usage(format!("there is no option {option}"), NO_SECRETS);
    }
    let help = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("`{verb_help}` shows the options"),
    };
    Failure::usage(format!("there is no option {option}"), help)
}

/// Our own words where one of our parsers refused: `what; remedy`.
fn reason(refused: &clap::Error) -> (String, Option<String>) {
    use std::error::Error as _;
    // Numbers are parsed by clap, whose own words do not repeat the value either.
    let own = refused.source().map(ToString::to_string).unwrap_or_default(); // tidy: own error
    match own.split_once("; ") {
        Some((what, remedy)) => (what.to_owned(), Some(remedy.to_owned())),
        None => ("this value is not valid".to_owned(), None),
    }
}
