//! The book in `docs/`: its generated pages are what the code says, its console snippets do what they show, and the
//! path from a clone to the first stored secret works.
//!
//! `cargo xtask docs --write` sets `NEBULA_BOOK_WRITE`, by which the generated pages are written instead of compared.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail as tests do"
)]

#[path = "book/console.rs"]
mod console;
#[path = "book/errors.rs"]
mod errors;
#[path = "book/mistakes.rs"]
mod mistakes;
#[path = "book/recording.rs"]
mod recording;
#[path = "book/reference.rs"]
mod reference;
#[path = "book/svg.rs"]
mod svg;

use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page of the book, by its name.
fn pages() -> Vec<(String, String)> {
    let folder = repository().join("docs/src");
    let mut pages: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                read(&path),
            )
        })
        .collect();
    pages.sort();
    assert!(pages.len() > 10, "the pages are not where they were");
    pages
}

fn compare_or_write(page: &str, generated: &str) {
    let path = repository().join("docs/src").join(page);
    if std::env::var_os("NEBULA_BOOK_WRITE").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    assert!(
        read(&path) == generated,
        "docs/src/{page} is not what the code says; run `cargo xtask docs --write` and commit it"
    );
}

#[test]
fn generated_the_command_line_reference_is_that_of_clap() {
    compare_or_write("cli-reference.md", &reference::page());
}

#[test]
fn generated_the_table_of_errors_is_that_of_the_error_type() {
    compare_or_write("common-errors.md", &errors::page());
}

#[test]
fn generated_the_table_of_mistakes_is_that_of_their_tests() {
    compare_or_write("mistakes.md", &mistakes::page());
}

#[test]
fn generated_the_recorded_session_is_what_ncred_prints() {
    compare_or_write("session.svg", &recording::picture());
}

#[test]
fn what_consoles_show_happens() {
    let mut commands = 0;
    let mut failures = Vec::new();
    for (name, text) in pages() {
        let home = tempfile::tempdir().unwrap();
        for step in console::steps(&text) {
            commands += 1;
            if let Err(why) = console::run(&step, home.path()) {
                failures.push(format!("docs/src/{name}:{}: {}\n{why}", step.line, step.command));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(commands > 30, "only {commands} commands were found");
}

#[test]
fn a_console_that_shows_something_else_is_found() {
    let home = tempfile::tempdir().unwrap();
    let outcome = |text: &str| {
        let steps = console::steps(text);
        assert_eq!(steps.len(), 1);
        console::run(&steps[0], home.path())
    };
    assert_eq!(
        outcome("```console\n$ echo one; echo two 3\ntwo …\n```\n"),
        Ok(())
    );
    assert!(outcome("```console\n$ echo one; echo two\ntwo\none\n```\n").is_err());
    assert!(outcome("```console\n$ false\n```\n").is_err());
    assert_eq!(outcome("```console\n$ exit 3   # exit 3\n```\n"), Ok(()));
    assert_eq!(outcome("```console\n$ cat <<'END'\n> a\n> END\na\n```\n"), Ok(()));
}

/// Times nothing strictly: a machine is as fast as it is. The whole path, clone and build included, is the same script
/// without `NCRED`.
#[test]
fn a_new_user_gets_to_a_first_stored_secret() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .arg(repository().join("docs/first-secret.sh"))
        .env("NCRED", env!("CARGO_BIN_EXE_ncred"))
        .env("TMPDIR", home.path())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("stored stripe (api_key, version 1)"), "{out}");
    assert!(out.contains("seconds"), "{out}");
    println!("{out}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "it cleans up");
}
