#![doc = include_str!("../README.md")]

pub mod aead;
pub mod fixture;
pub mod floor;
mod race;
pub mod sqlite;
mod stats;
mod table;

use std::process::ExitCode;

pub use race::{LaneId, Race, repeat};
pub use table::note;

/// Why a benchmark could not be measured. A benchmark that fails prints this and stops: a ratio to a peer that did not
/// do its work is worth nothing.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a benchmark returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One benchmark target: what it was asked for, and what came of it.
#[derive(Debug)]
pub struct Bench {
    rounds: Option<usize>,
    missed: usize,
}

impl Bench {
    /// A race between functions, measured and printed by [`Race::run`].
    pub fn race<'a>(&'a mut self, title: impl Into<String>) -> Race<'a> {
        Race::new(self, title.into())
    }

    pub(crate) fn rounds(&self) -> Option<usize> {
        self.rounds
    }

    /// Prints whether something held that is no ratio.
    pub fn require(&mut self, what: &str, holds: bool) {
        note(&format!(
            "Target: {what}: {}.",
            if holds { "met" } else { "**MISSED**" }
        ));
        self.judge(holds);
    }

    pub(crate) fn judge(&mut self, met: bool) {
        self.missed += usize::from(!met);
    }
}

/// Runs the benchmark `name`: `cargo bench -- [NAME] [--rounds N] [--check]`.
///
/// Without `--bench`, which `cargo bench` passes, it does nothing: a test runner that starts every target measures
/// nothing. With `--check` it fails if a target was missed.
pub fn main(name: &str, run: impl FnOnce(&mut Bench) -> Result<()>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let rounds = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = rounds.and_then(|at| arguments.get(at + 1)?.parse().ok());
    let mut names = arguments
        .iter()
        .filter(|argument| argument.starts_with(|first: char| first.is_ascii_alphabetic()))
        .peekable();
    if !given("--bench") || (names.peek().is_some() && !names.any(|wanted| wanted == name)) {
        return ExitCode::SUCCESS;
    }
    let mut bench = Bench { rounds, missed: 0 };
    table::title(name);
    match run(&mut bench) {
        Ok(()) if bench.missed > 0 && given("--check") => {
            table::failed(&format!("{name}: {} targets missed", bench.missed));
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            table::failed(&format!("{name}: {error}"));
            ExitCode::FAILURE
        }
    }
}
