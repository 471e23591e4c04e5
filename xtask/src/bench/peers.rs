//! The programs that `bench cold` measures: `ncred` as it is released, and those it is measured beside.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::Metadata;
use crate::tools::{MOTO, OPENBAO, SOPS};
use crate::{Result, process};

/// The crate that measures a live handle beside the caching client of AWS, with dependencies of its own.
const AWS_CACHE: &str = "benches/peers/aws-cache/Cargo.toml";

/// Programs, and the packages of Debian that have them.
const DEBIAN: &[(&str, &str)] = &[
    ("sqlite3", "sqlite3"),
    ("gopass", "gopass"),
    ("gpg", "gnupg"),
    ("age-keygen", "age"),
];

/// Builds `ncred`, finds or installs its peers, and returns the variables that tell the benchmark where they are.
///
/// A peer that cannot be had is told here and left out; the benchmark counts it as missing.
pub(crate) fn prepare(metadata: &Metadata) -> Result<Vec<(&'static str, PathBuf)>> {
    let root = &metadata.workspace_root;
    let mut build = process::cargo(root);
    build.env("CARGO_TARGET_DIR", &metadata.target_directory);
    build.args([
        "build",
        "--release",
        "--package=nebula-credential-cli",
        "--bin=ncred",
    ]);
    if !process::status(&mut build)? {
        return Err("ncred does not build; see above".into());
    }
    let mut found = vec![(
        "NEBULA_BENCH_NCRED",
        metadata.target_directory.join("release/ncred"),
    )];
    for (variable, wheel) in [("NEBULA_BENCH_BAO", OPENBAO), ("NEBULA_BENCH_SOPS", SOPS)] {
        match wheel.program(root) {
            Ok(program) => found.push((variable, program)),
            Err(error) => println!("bench: {error}"),
        }
    }
    debian(root)?;
    Ok(found)
}

/// Builds and runs the benchmark beside the caching client of AWS.
pub(crate) fn aws_cache(metadata: &Metadata, options: &[&str]) -> Result<bool> {
    let root = &metadata.workspace_root;
    let moto = MOTO.packages(root)?;
    let mut run = process::cargo(root);
    run.env("CARGO_TARGET_DIR", &metadata.target_directory);
    run.env("NEBULA_BENCH_MOTO", moto);
    run.args(["run", "--release", "--manifest-path", AWS_CACHE, "--", "--bench"]);
    process::status(run.args(options))
}

/// Installs what is missing of [`DEBIAN`], or says how to.
fn debian(root: &Path) -> Result<()> {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut install = process::clean("apt-get", root);
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing);
    if is_root() && on_path("apt-get") && process::status(&mut install)? {
        return Ok(());
    }
    println!(
        "bench: missing here, and so not measured: {0}; as root on Debian, `apt-get install {0}` brings them",
        missing.join(" ")
    );
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n")
}
