//! `prove`: the proofs that take minutes or hours, at full count.
//!
//! A proof is an ordinary test or example whose count comes from an environment variable with a
//! small default, so that `cargo xtask test` runs a short form of it every time. It prints its
//! figures. To add one, write such a test and list it in [`PROOFS`] with its full count and the
//! words by which the lines with its figures are known; a run that prints none shows nothing and
//! fails.

mod table;

use std::path::Path;
use std::time::Instant;

use self::table::PROOFS;
use crate::cargo::Metadata;
use crate::{Result, process};

struct Proof {
    name: &'static str,
    /// What its figures show.
    shows: &'static str,
    /// The arguments of cargo, once for each of its runs.
    runs: &'static [&'static [&'static str]],
    /// Its counts. One that the caller's environment already holds is left as it is.
    environment: &'static [(&'static str, &'static str)],
    /// Words on the lines that hold its figures.
    figures: &'static [&'static str],
}

pub(crate) fn list() -> Result<bool> {
    for proof in PROOFS {
        println!("{:13} {}", proof.name, proof.shows);
        let environment = proof
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect::<String>();
        for run in proof.runs {
            println!("{:13} {environment}cargo {}", "", run.join(" "));
        }
    }
    println!("{ALL:13} each of these in turn");
    Ok(true)
}

/// The name that stands for every proof.
const ALL: &str = "all";

pub(crate) fn run(name: &str) -> Result<bool> {
    let chosen: Vec<&Proof> = PROOFS
        .iter()
        .filter(|proof| name == ALL || proof.name == name)
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = PROOFS.iter().map(|proof| proof.name).collect();
        return Err(format!("no proof `{name}`; there are: {ALL}, {}", names.join(", ")).into());
    }
    let metadata = Metadata::load()?;
    let mut reports = Vec::new();
    let mut holds = true;
    for proof in chosen {
        let report = prove(proof, &metadata.workspace_root)?;
        holds &= report.holds;
        reports.push(report);
    }
    println!();
    for report in reports {
        println!("{}", report.text);
    }
    Ok(holds)
}

struct Report {
    holds: bool,
    text: String,
}

fn prove(proof: &Proof, root: &Path) -> Result<Report> {
    let start = Instant::now();
    let mut holds = true;
    let mut lines = Vec::new();
    for arguments in proof.runs {
        let mut command = process::cargo(root);
        command.args(*arguments);
        for (name, value) in proof.environment {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        let before = lines.len();
        let succeeded = process::stream(&mut command, |line| {
            if is_figure(proof, line) {
                lines.push(format!("  {line}"));
            }
        })?;
        if !succeeded {
            lines.push(format!("  FAILED: cargo {}", arguments.join(" ")));
        } else if lines.len() == before {
            lines.push(format!(
                "  FAILED: no figure was printed by: cargo {}",
                arguments.join(" ")
            ));
            holds = false;
        }
        holds &= succeeded;
    }
    let Proof { name, shows, .. } = proof;
    let seconds = start.elapsed().as_secs_f64();
    lines.insert(0, format!("prove {name}: {shows}"));
    lines.push(format!(
        "prove {name}: {} ({seconds:.0} s)",
        if holds { "ok" } else { "FAILED" }
    ));
    Ok(Report {
        holds,
        text: lines.join("\n"),
    })
}

/// Whether `line` holds one of the figures. A run in which no test matched shows nothing.
fn is_figure(proof: &Proof, line: &str) -> bool {
    !line.contains("ok. 0 passed") && proof.figures.iter().any(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_has_a_name_of_its_own_a_command_and_figures() {
        for (index, proof) in PROOFS.iter().enumerate() {
            assert!(
                PROOFS
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.name != proof.name)
            );
            assert_ne!(proof.name, ALL);
            assert!(!proof.runs.is_empty() && !proof.shows.is_empty() && !proof.figures.is_empty());
        }
    }

    #[test]
    fn figures_are_known_by_their_words_wherever_they_stand() {
        let proof = Proof {
            name: "x",
            shows: "x",
            runs: &[],
            environment: &[],
            figures: &["kills: ", "test result: ok."],
        };
        assert!(is_figure(&proof, "test crash ... kills: 5, lost: 0"));
        assert!(!is_figure(&proof, "test crash ... ok"));
        assert!(is_figure(&proof, "test result: ok. 10 passed; 0 failed"));
        assert!(!is_figure(&proof, "test result: ok. 0 passed; 0 failed"));
    }

    #[test]
    fn every_test_that_is_a_proof_exists() {
        let metadata = Metadata::load().unwrap();
        for proof in PROOFS {
            let runs: Vec<_> = proof
                .runs
                .iter()
                .filter(|run| run.first() == Some(&"test"))
                .collect();
            let mut sources = String::new();
            for run in &runs {
                let value = |flag: &str| {
                    run.iter()
                        .find_map(|argument| argument.strip_prefix(flag))
                        .unwrap()
                };
                let package = value("--package=");
                let package = metadata
                    .packages
                    .iter()
                    .find(|other| other.name == package)
                    .unwrap();
                let test = package.folder().join("tests").join(value("--test="));
                let mut files = process::files(&test, "rs").unwrap_or_default();
                files.extend(
                    [test.with_extension("rs")]
                        .into_iter()
                        .filter(|file| file.is_file()),
                );
                assert!(
                    !files.is_empty(),
                    "{}: no such test program as {}",
                    proof.name,
                    test.display()
                );
                let stems = files.iter().filter_map(|file| file.file_stem()?.to_str());
                let modules: Vec<String> = stems.map(str::to_owned).collect();
                let text: String = files.iter().map(|file| process::read(file).unwrap()).collect();
                let filter = run[1..].iter().find(|argument| !argument.starts_with("--"));
                // What follows `--` goes to the test program.
                let filter = filter.filter(|filter| {
                    run.iter().position(|other| other == *filter)
                        < run.iter().position(|other| *other == "--")
                });
                if let Some(filter) = filter {
                    assert!(
                        text.contains(&format!("fn {filter}"))
                            || modules.iter().any(|module| module == filter),
                        "{}: no test is called {filter}",
                        proof.name
                    );
                }
                sources.push_str(&text);
            }
            for (variable, _) in proof.environment.iter().filter(|_| !runs.is_empty()) {
                assert!(
                    sources.contains(variable),
                    "{}: nothing reads {variable}",
                    proof.name
                );
            }
        }
    }
}
