//! The command line as Markdown.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

const HEAD: &str = "\
<!-- Written by `cargo xtask docs --write` from the command line itself. -->

# CLI reference

What `ncred help` says, on one page. [Quick Start](quick-start.md) shows the commands at work;
[Common errors](common-errors.md) lists the exit codes by error.

";

pub(crate) fn page() -> String {
    let mut root = nebula_credential_cli::command();
    root.build();
    let mut page = HEAD.to_owned();
    section(&mut page, &mut root, "ncred", 2);
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn section(page: &mut String, command: &mut Command, path: &str, level: usize) {
    let is_root = level == 2 && path == "ncred";
    writeln!(page, "{} {path}\n", "#".repeat(level)).unwrap();
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        writeln!(page, "{about}\n").unwrap();
    }
    let aliases: Vec<String> = command
        .get_visible_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        writeln!(page, "Also: {}.\n", aliases.join(", ")).unwrap();
    }
    let usage = command.render_usage().to_string();
    writeln!(
        page,
        "```text\n{}\n```\n",
        usage.trim_start_matches("Usage: ").trim()
    )
    .unwrap();

    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.is_global_set() == is_root)
        .filter(|arg| !is_about_itself(arg))
        .collect();
    if !own.is_empty() {
        let heading = if is_root {
            "Option of every command"
        } else {
            "Argument"
        };
        writeln!(page, "| {heading} | Meaning |\n|---|---|").unwrap();
        for arg in own {
            writeln!(page, "| `{}` | {} |", cell(&name(arg)), cell(&meaning(arg))).unwrap();
        }
        page.push('\n');
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        writeln!(page, "```text\n{after}\n```\n").unwrap();
    }
    for verb in command.get_subcommands_mut() {
        if verb.get_name() != "help" && !verb.is_hide_set() {
            let path = format!("{path} {}", verb.get_name());
            let level = if is_root { 2 } else { level + 1 };
            section(page, verb, &path, level);
        }
    }
}

/// What every command line tool has: `--help` and its kin.
fn is_about_itself(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

fn name(arg: &Arg) -> String {
    let values: Vec<String> = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    let value = values.join(" ");
    let takes_value = arg.get_action().takes_values();
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    match (names.is_empty(), takes_value) {
        (true, _) => value,
        (false, true) => format!("{} {value}", names.join(", ")),
        (false, false) => names.join(", "),
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if arg.is_required_set() && !arg.is_positional() {
        text.push_str("; required");
    }
    let takes_value = arg.get_action().takes_values();
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|choice| takes_value && !choice.is_hide_set())
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    if !choices.is_empty() {
        write!(text, ": {}", choices.join(", ")).unwrap();
    }
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        write!(text, "; by default {}", defaults.join(", ")).unwrap();
    }
    text.trim_start_matches([':', ' ']).to_owned()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
