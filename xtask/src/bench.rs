//! `bench`: the benchmarks. Each prints its ratio to a peer measured in the same run.

mod peers;

use crate::cargo::Metadata;
use crate::{Result, process};

const PACKAGE: &str = "nebula-credential-benches";
/// The benchmarks that depend on the AEAD library: they run once with each.
const WITH_EITHER_BACKEND: &[&str] = &["seal", "manager"];
/// The benchmark of whole programs, which are brought before it.
const PROGRAMS: &str = "cold";
/// The benchmark with a peer that is built apart from the workspace.
const APART: &str = "stack";

pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    // The benchmarks' own options go to them as they are.
    let options = arguments.iter().position(|argument| argument.starts_with("--"));
    let (names, options) = arguments.split_at(options.unwrap_or(arguments.len()));
    let name = match names {
        [] => None,
        [name] => Some(*name),
        _ => return Err("bench takes the name of one benchmark, and options after it".into()),
    };
    let metadata = Metadata::load()?;
    let programs = match name {
        None | Some(PROGRAMS) => peers::prepare(&metadata)?,
        Some(_) => Vec::new(),
    };
    let bench = |targets: &[&str], features: &[&str]| {
        let mut command = process::cargo(&metadata.workspace_root);
        command.args(["bench", "--package", PACKAGE]).args(features);
        for target in targets {
            command.args(["--bench", target]);
        }
        command.arg("--").args(options);
        command.envs(programs.iter().cloned());
        process::status(&mut command)
    };
    let again: Vec<&str> = WITH_EITHER_BACKEND
        .iter()
        .copied()
        .filter(|target| name.is_none_or(|name| name == *target))
        .collect();
    let all = if names.is_empty() { &["--benches"][..] } else { &[] };
    let within = bench(names, all)? && (again.is_empty() || bench(&again, &["--features", "aws-lc-rs"])?);
    let apart = name.is_some_and(|name| name != APART) || peers::aws_cache(&metadata, options)?;
    Ok(within && apart)
}
