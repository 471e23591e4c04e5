//! `bench`: the benchmarks. Each prints its ratio to a peer measured in the same run.

use crate::cargo::Metadata;
use crate::{Result, process};

const PACKAGE: &str = "nebula-credential-benches";
/// The benchmarks that depend on the AEAD library: they run once with each.
const WITH_EITHER_BACKEND: &[&str] = &["seal", "manager"];

pub(crate) fn run(name: Option<&str>) -> Result<bool> {
    let metadata = Metadata::load()?;
    let bench = |targets: &[&str], features: &[&str]| {
        let mut command = process::cargo(&metadata.workspace_root);
        command.args(["bench", "--package", PACKAGE]).args(features);
        for target in targets {
            command.args(["--bench", target]);
        }
        process::status(&mut command)
    };
    let named: Vec<&str> = name.into_iter().collect();
    let again: Vec<&str> = WITH_EITHER_BACKEND
        .iter()
        .copied()
        .filter(|target| name.is_none_or(|name| name == *target))
        .collect();
    let all = if named.is_empty() { &["--benches"][..] } else { &[] };
    Ok(bench(&named, all)? && (again.is_empty() || bench(&again, &["--features", "aws-lc-rs"])?))
}
