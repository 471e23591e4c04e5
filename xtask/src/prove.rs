//! `prove`: the proofs that take minutes or hours, at full count.
//!
//! A proof is an ordinary test or example whose count comes from an environment variable with a
//! small default, so that `cargo xtask test` runs a short form of it every time. It prints its
//! figures. To add one, write such a test and list it in [`PROOFS`] with its full count and the
//! words by which the lines with its figures are known; a run that prints none shows nothing and
//! fails.

use std::time::Instant;

use crate::cargo::Metadata;
use crate::{Result, process};

struct Proof {
    name: &'static str,
    /// What its figures show.
    shows: &'static str,
    /// The arguments to cargo.
    cargo: &'static [&'static str],
    /// Its counts. One that the caller's environment already holds is left as it is.
    environment: &'static [(&'static str, &'static str)],
    /// Words on the lines that hold its figures.
    figures: &'static [&'static str],
}

const PROOFS: &[Proof] = &[
    Proof {
        name: "crash",
        shows: "a writer killed at a random place loses no acknowledged write, and the store opens at once",
        cargo: &[
            "test",
            "--package=nebula-credential",
            "--test=crash",
            "killed_writers_lose_nothing",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_PROOF_COUNT", "1000")],
        figures: &["kills: "],
    },
    Proof {
        name: "crash-files",
        shows: "a writer killed while it replaces a file leaves the old or the new content, whole",
        cargo: &[
            "test",
            "--package=nebula-credential-fs",
            "--test=processes",
            "killed_writer",
        ],
        environment: &[("NEBULA_FS_KILLS", "1000")],
        figures: &["test result: ok. 1 passed"],
    },
    Proof {
        name: "random",
        shows: "a random source that always answers alike repeats no (key, nonce) pair",
        cargo: &[
            "test",
            "--package=nebula-credential-crypto",
            "--test=primitive",
            "a_constant_random_source",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_HEDGE_DRAWS", "100000")],
        figures: &["distinct (key, nonce) pairs"],
    },
    Proof {
        name: "fuzz",
        shows: "no input makes a decoder panic: 10 minutes for each target",
        cargo: &["xtask", "fuzz", "--seconds", "600"],
        environment: &[],
        figures: &["fuzz: "],
    },
];

pub(crate) fn list() -> Result<bool> {
    for proof in PROOFS {
        println!("{:12} {}", proof.name, proof.shows);
        let environment = proof
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value} "));
        println!(
            "{:12} {}cargo {}",
            "",
            environment.collect::<String>(),
            proof.cargo.join(" ")
        );
    }
    Ok(true)
}

pub(crate) fn run(name: &str) -> Result<bool> {
    let Some(proof) = PROOFS.iter().find(|proof| proof.name == name) else {
        let names: Vec<&str> = PROOFS.iter().map(|proof| proof.name).collect();
        return Err(format!("no proof `{name}`; there are: {}", names.join(", ")).into());
    };
    let metadata = Metadata::load()?;
    let mut command = process::cargo(&metadata.workspace_root);
    command.args(proof.cargo);
    for (name, value) in proof.environment {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let start = Instant::now();
    let mut figures = Vec::new();
    let succeeded = process::stream(&mut command, |line| {
        if is_figure(proof, line) {
            figures.push(line.to_owned());
        }
    })?;
    println!(
        "\nprove {name}: {} in {:.0} s",
        proof.shows,
        start.elapsed().as_secs_f64()
    );
    for figure in &figures {
        println!("  {figure}");
    }
    if figures.is_empty() {
        println!("  no figure was printed: a proof without one shows nothing");
    }
    let holds = succeeded && !figures.is_empty();
    println!("prove {name}: {}", if holds { "ok" } else { "FAILED" });
    Ok(holds)
}

fn is_figure(proof: &Proof, line: &str) -> bool {
    proof.figures.iter().any(|words| line.contains(words))
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
            assert!(!proof.cargo.is_empty() && !proof.shows.is_empty() && !proof.figures.is_empty());
        }
    }

    #[test]
    fn figures_are_known_by_their_words_wherever_they_stand() {
        let proof = Proof {
            name: "x",
            shows: "x",
            cargo: &[],
            environment: &[],
            figures: &["kills: "],
        };
        assert!(is_figure(&proof, "test crash ... kills: 5, lost: 0"));
        assert!(!is_figure(&proof, "test crash ... ok"));
    }
}
