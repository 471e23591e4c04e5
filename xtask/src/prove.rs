//! `prove`: the proofs that take minutes or hours, at full count.
//!
//! A proof is an ordinary test or example whose count comes from an environment variable with a
//! small default, so that `cargo xtask test` runs a short form of it every time. It prints its
//! figures. To add one, write such a test and list it in [`PROOFS`] with its full count and the
//! words by which the lines with its figures are known; a run that prints none shows nothing and
//! fails.

use std::path::Path;
use std::time::Instant;

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

const CLI: &str = "--package=nebula-credential-cli";
const CRYPTO: &str = "--package=nebula-credential-crypto";
const FACADE: &str = "--package=nebula-credential";
const LOCAL: &str = "--package=nebula-credential-provider-local";

/// In the order of what they show: formats and primitives, then secrecy, then durability.
const PROOFS: &[Proof] = &[
    Proof {
        name: "vectors",
        shows: "every published vector of the primitives; golden key rings and envelopes open",
        runs: &[
            &[
                "test",
                CRYPTO,
                "--all-features",
                "--test=vectors",
                "--",
                "--nocapture",
            ],
            &["test", CRYPTO, "--test=sealing", "golden", "--", "--nocapture"],
        ],
        environment: &[],
        figures: &[" vectors", " vector", "test result: ok."],
    },
    Proof {
        name: "bitflips",
        shows: "no envelope, key ring or message opens after any bit flip, cut or extension",
        runs: &[
            &[
                "test",
                CRYPTO,
                "--test=sealing",
                "no_damaged",
                "--",
                "--nocapture",
            ],
            &[
                "test",
                CRYPTO,
                "--test=encryption",
                "no_damaged",
                "--",
                "--nocapture",
            ],
            &[
                "test",
                CRYPTO,
                "--all-features",
                "--test=primitive",
                "nothing_opens_after_any_change",
                "--",
                "--nocapture",
            ],
        ],
        environment: &[],
        figures: &[" damaged", " accepted", "refused: "],
    },
    Proof {
        name: "transplant",
        shows: "an envelope opens at no other tenant, scope, name, type, version or time",
        runs: &[&[
            "test",
            CRYPTO,
            "--test=sealing",
            "an_envelope_opens_nowhere_but_where_it_belongs",
            "--",
            "--nocapture",
        ]],
        environment: &[],
        figures: &[" transplants, "],
    },
    Proof {
        name: "two-keys",
        shows: "nothing crafted to open under two keys does, though plain AES-GCM opens it",
        runs: &[
            &[
                "test",
                CRYPTO,
                "--all-features",
                "--test=primitive_salamander",
                "--",
                "--nocapture",
            ],
            &["test", CRYPTO, "--test=sealing", "two_keys", "--", "--nocapture"],
        ],
        environment: &[("NEBULA_PROOF_COUNT", "1000")],
        figures: &["crafted ", "wrapped for two"],
    },
    Proof {
        name: "random",
        shows: "a random source that always answers alike repeats no (key, nonce) pair",
        runs: &[
            &[
                "test",
                CRYPTO,
                "--all-features",
                "--test=primitive",
                "a_constant_random_source",
                "--",
                "--nocapture",
            ],
            &[
                "test",
                CRYPTO,
                "--test=sealing",
                "a_broken_random_source",
                "--",
                "--nocapture",
            ],
        ],
        environment: &[("NEBULA_PROOF_COUNT", "100000")],
        figures: &["distinct (key, nonce) pairs", "under a constant random source"],
    },
    Proof {
        name: "fuzz",
        shows: "no input breaks a promise of a decoder: 10 minutes for each target",
        runs: &[&["xtask", "fuzz"]],
        environment: &[(crate::fuzz::SECONDS_VARIABLE, "600")],
        figures: &["fuzz: "],
    },
    Proof {
        name: "leaks",
        shows: "no canary secret shows up in texts, errors, traces or files, and one that leaks is caught",
        runs: &[
            &[
                "test",
                FACADE,
                "--all-features",
                "--test=leaks",
                "--",
                "--nocapture",
            ],
            &[
                "test",
                "--package=nebula-credential-testkit",
                "--test=leak_hunter",
            ],
        ],
        environment: &[],
        figures: &[" places searched", "test result: ok."],
    },
    Proof {
        name: "memory",
        shows: "no copy of a secret or key outlives its owner in the memory of the process, optimised or not",
        runs: &[
            &[
                "test",
                FACADE,
                "--all-features",
                "--test=memory",
                "--",
                "--nocapture",
            ],
            &["test", CRYPTO, "--test=primitive_memory", "--", "--nocapture"],
            &[
                "test",
                "--package=nebula-credential-types",
                "--test=memory",
                "--",
                "--nocapture",
            ],
            &[
                "test",
                "--release",
                FACADE,
                "--all-features",
                "--test=memory",
                "--",
                "--nocapture",
            ],
            &[
                "test",
                "--release",
                CRYPTO,
                "--test=primitive_memory",
                "--",
                "--nocapture",
            ],
        ],
        environment: &[],
        figures: &[" copies", "copies of ", "test result: ok."],
    },
    Proof {
        name: "dotenv",
        shows: "a .env file is read and imported as python-dotenv reads it, line for line",
        runs: &[&["test", CLI, "--test=import", "reference", "--", "--nocapture"]],
        environment: &[("NEBULA_DOTENV_FILES", "2000")],
        figures: &[": 0 differences"],
    },
    Proof {
        name: "conformance",
        shows: "the local store and the example of a third party keep every promise, and every check can fail",
        runs: &[
            &["test", LOCAL, "--test=conformance"],
            &[
                "test",
                "--package=nebula-credential-testkit",
                "--test=conformance",
            ],
            &["test", "--package=nebula-credential-testkit", "--test=suite"],
        ],
        environment: &[],
        figures: &["test result: ok."],
    },
    Proof {
        name: "increments",
        shows: "of the compare-and-set increments of four processes none is lost",
        runs: &[&[
            "test",
            LOCAL,
            "--test=processes",
            "increments_of_four_processes",
            "--",
            "--nocapture",
        ]],
        environment: &[("NEBULA_PROOF_COUNT", "2000")],
        figures: &["increments: "],
    },
    Proof {
        name: "crash",
        shows: "a writer killed at a random place loses no acknowledged write, and the store opens at once",
        runs: &[&[
            "test",
            FACADE,
            "--test=crash",
            "killed_writers_lose_nothing",
            "--",
            "--nocapture",
        ]],
        environment: &[("NEBULA_PROOF_COUNT", "1000")],
        figures: &["kills: "],
    },
    Proof {
        name: "crash-store",
        shows: "the same of the store alone: after each kill it holds what the acknowledged steps leave, or one more",
        runs: &[&[
            "test",
            LOCAL,
            "--test=processes",
            "a_killed_writer",
            "--",
            "--nocapture",
        ]],
        environment: &[("NEBULA_KILL_CYCLES", "1000")],
        figures: &["kills: "],
    },
    Proof {
        name: "crash-files",
        shows: "a writer killed while it replaces a file leaves the old or the new content, whole",
        runs: &[&[
            "test",
            "--package=nebula-credential-fs",
            "--test=processes",
            "a_killed_writer",
            "--",
            "--nocapture",
        ]],
        environment: &[("NEBULA_FS_KILLS", "1000")],
        figures: &["kills: "],
    },
    Proof {
        name: "faults",
        shows: "a full disk and a failed sync or write are reported, never acknowledged, and harm nothing stored",
        runs: &[&["test", LOCAL, "--test=faults", "--", "--nocapture"]],
        environment: &[("NEBULA_FAULT_COUNT", "16")],
        figures: &["full disk: ", "failed syncs: ", "failed writes: "],
    },
    Proof {
        name: "rewrap",
        shows: "key rotation and rewrap of 10,000 records, killed and resumed beside readers, lose nothing; their speed",
        runs: &[&[
            "test",
            "--release",
            CLI,
            "--test=rewrap",
            "--",
            "--nocapture",
            "--test-threads=1",
        ]],
        environment: &[
            ("NEBULA_PROOF_COUNT", "50"),
            ("NEBULA_REWRAP_RECORDS", "10000"),
            ("NEBULA_REWRAP_WAIT", "310"),
        ],
        figures: &["kills: ", "rewrap: "],
    },
    Proof {
        name: "crash-ncred",
        shows: "an `ncred` killed at a random moment loses nothing acknowledged, and leaves old or new",
        runs: &[&["xtask", "crash"]],
        environment: &[(crate::crash::CYCLES_VARIABLE, "2000")],
        figures: &["crash: "],
    },
    Proof {
        name: "faults-ncred",
        shows: "each write, sync, rename, opening and truncation of each verb of `ncred` that fails leaves old or new",
        runs: &[&["xtask", "faults"]],
        environment: &[],
        figures: &["faults: "],
    },
];

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
