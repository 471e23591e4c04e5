//! `prove`: the proofs that take minutes or hours, at full count.
//!
//! A proof is an ordinary test or example whose count comes from an environment variable with a
//! small default, so that `cargo xtask test` runs a short form of it every time. It prints its
//! figures on lines that begin with `proof:`. To add one, write such a test and list it in
//! [`PROOFS`] with its full count.

use std::time::Instant;

use crate::cargo::Metadata;
use crate::{Result, process};

struct Proof {
    name: &'static str,
    /// What its figures show.
    shows: &'static str,
    /// The arguments to cargo.
    cargo: &'static [&'static str],
    /// Its counts.
    environment: &'static [(&'static str, &'static str)],
}

const PROOFS: &[Proof] = &[Proof {
    name: "fuzz",
    shows: "no input crashes a decoder: 10 minutes for each target",
    cargo: &["xtask", "fuzz", "--seconds", "600"],
    environment: &[],
}];

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
        // A count given by the caller is the one that is wanted.
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let start = Instant::now();
    let mut figures = Vec::new();
    let succeeded = process::stream(&mut command, |line| {
        figures.extend(figure(line).map(str::to_owned));
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

/// The figure on a line that states one. libtest may print the test's name on the same line.
fn figure(line: &str) -> Option<&str> {
    let fuzz = line.starts_with("fuzz: ").then_some(line);
    fuzz.or_else(|| line.split_once("proof: ").map(|(_, figure)| figure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_beside_the_name_of_a_test() {
        assert_eq!(figure("proof: 1000 cycles, 0 lost"), Some("1000 cycles, 0 lost"));
        assert_eq!(figure("test crash ... proof: 0 lost"), Some("0 lost"));
        assert_eq!(
            figure("fuzz: a: 5 runs, no crash"),
            Some("fuzz: a: 5 runs, no crash")
        );
        assert_eq!(figure("test crash ... ok"), None);
    }

    #[test]
    fn every_proof_has_a_name_of_its_own_and_a_command() {
        for (index, proof) in PROOFS.iter().enumerate() {
            assert!(
                PROOFS
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.name != proof.name)
            );
            assert!(!proof.cargo.is_empty() && !proof.shows.is_empty());
        }
    }
}
