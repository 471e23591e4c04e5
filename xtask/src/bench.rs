//! `bench`: the benchmarks. Each prints its ratio to a peer measured in the same run.

use crate::cargo::Metadata;
use crate::{Result, process};

pub(crate) fn run(name: Option<&str>) -> Result<bool> {
    let metadata = Metadata::load()?;
    let mut command = process::cargo(&metadata.workspace_root);
    command.args([
        "bench",
        "--package",
        "nebula-credential-benches",
        "--all-features",
    ]);
    if let Some(name) = name {
        command.args(["--", name]);
    }
    process::status(&mut command)
}
