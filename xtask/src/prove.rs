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
        shows: "a manager killed at a random place loses no acknowledged write, and the store opens in under a second",
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
        name: "crash-store",
        shows: "a killed writer of the local store loses nothing it acknowledged",
        cargo: &[
            "test",
            "--package=nebula-credential-provider-local",
            "--test=processes",
            "a_killed_writer",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_KILL_CYCLES", "1000")],
        figures: &["test result: ok. 1 passed"],
    },
    Proof {
        name: "crash-files",
        shows: "a writer killed while it replaces a file leaves the old or the new content, whole",
        cargo: &[
            "test",
            "--package=nebula-credential-fs",
            "--test=processes",
            "a_killed_writer",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_FS_KILLS", "1000")],
        figures: &["test result: ok. 1 passed"],
    },
    Proof {
        name: "increments",
        shows: "four processes that increment one record lose no increment: 2,000 each",
        cargo: &[
            "test",
            "--package=nebula-credential-provider-local",
            "--test=processes",
            "increments_of_four_processes",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_PROOF_COUNT", "2000")],
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
        environment: &[("NEBULA_PROOF_COUNT", "100000")],
        figures: &["distinct (key, nonce) pairs"],
    },
    Proof {
        name: "random-envelopes",
        shows: "nor does it in whole envelopes",
        cargo: &[
            "test",
            "--package=nebula-credential-crypto",
            "--test=sealing",
            "a_broken_random_source",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_PROOF_COUNT", "100000")],
        figures: &["under a constant random source"],
    },
    Proof {
        name: "two-keys",
        shows: "no message crafted to open under two keys opens under the second",
        cargo: &[
            "test",
            "--package=nebula-credential-crypto",
            "--test=primitive_salamander",
            "--",
            "--nocapture",
        ],
        environment: &[("NEBULA_PROOF_COUNT", "1000")],
        figures: &["crafted"],
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
        println!("{:17} {}", proof.name, proof.shows);
        let environment = proof
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value} "));
        println!(
            "{:17} {}cargo {}",
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

    #[test]
    fn every_test_that_is_a_proof_exists() {
        let metadata = Metadata::load().unwrap();
        let value = |proof: &Proof, flag: &str| {
            proof
                .cargo
                .iter()
                .find_map(|argument| argument.strip_prefix(flag))
                .map(str::to_owned)
        };
        for proof in PROOFS.iter().filter(|proof| proof.cargo.first() == Some(&"test")) {
            let package = value(proof, "--package=").unwrap();
            let package = metadata
                .packages
                .iter()
                .find(|other| other.name == package)
                .unwrap();
            let test = package
                .folder()
                .join("tests")
                .join(value(proof, "--test=").unwrap());
            let mut files = process::files(&test, "rs").unwrap();
            files.extend(
                [test.with_extension("rs")]
                    .into_iter()
                    .filter(|file| file.is_file()),
            );
            let text: String = files.iter().map(|file| process::read(file).unwrap()).collect();
            let filter = proof.cargo[3];
            assert!(
                filter == "--" || text.contains(&format!("fn {filter}")),
                "{}: {filter}",
                proof.name
            );
            assert!(
                text.contains(proof.environment[0].0),
                "{}: nothing reads its count",
                proof.name
            );
        }
    }
}
