//! `fuzz`: coverage-guided fuzzing with libFuzzer and the address sanitizer.
//!
//! cargo-fuzz passes unstable compiler flags. They are allowed to the pinned stable compiler
//! (`RUSTC_BOOTSTRAP=1`), so that what is fuzzed is what users compile and no nightly is needed.
//!
//! New inputs go to the target directory; the committed corpus is read and not written. An input
//! worth keeping is copied to `fuzz/corpus/TARGET/` by hand under a name that says what it is.

use crate::cargo::Metadata;
use crate::{Result, process, tools};

/// How long each target runs, unless `--seconds` or the environment says otherwise.
const SECONDS: u64 = 60;
pub(crate) const SECONDS_VARIABLE: &str = "NEBULA_FUZZ_SECONDS";

/// libFuzzer stops at a single allocation beyond this: limits have to be checked before memory is taken. The longest
/// envelope takes little more than 1 MiB; the cheapest Argon2id that is ever run takes 19.
const ALLOCATION_MIB: u64 = 8;
/// And at an input that takes longer than this.
const INPUT_SECONDS: u64 = 10;

pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let (target, seconds) = parse(arguments, std::env::var(SECONDS_VARIABLE).ok().as_deref())?;
    let metadata = Metadata::load()?;
    let root = &metadata.workspace_root;
    let known = targets(&process::read(&root.join("fuzz/Cargo.toml"))?)?;
    let chosen: Vec<&String> = known
        .iter()
        .filter(|name| target.is_none_or(|target| target == *name))
        .collect();
    if chosen.is_empty() {
        let known = known.join(", ");
        return Err(format!("no fuzz target `{}`; there are: {known}", target.unwrap_or("")).into());
    }
    let program = tools::FUZZ.program(root)?;
    let mut figures = Vec::new();
    let mut holds = true;
    for target in chosen {
        let found = metadata.target_directory.join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&found)?;
        let mut command = process::clean(&program, root);
        command.env("RUSTC_BOOTSTRAP", "1");
        command.env("CARGO_TARGET_DIR", metadata.target_directory.join("fuzz"));
        command.args([
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz",
            "--features",
            "libfuzzer",
            target,
        ]);
        command.arg(found).arg(root.join("fuzz/corpus").join(target));
        command.args([
            "--",
            &format!("-max_total_time={seconds}"),
            &format!("-malloc_limit_mb={ALLOCATION_MIB}"),
            &format!("-timeout={INPUT_SECONDS}"),
            "-print_final_stats=1",
        ]);
        let mut runs = None;
        let finished = process::stream(&mut command, |line| runs = runs.or_else(|| executed(line)))?;
        figures.push(match (finished, runs) {
            (true, Some(runs)) => format!("fuzz: {target}: {runs} runs, no crash"),
            (_, Some(runs)) => format!("fuzz: {target}: {runs} runs, STOPPED: see the input named above"),
            (_, None) => format!("fuzz: {target}: DID NOT RUN to an end: see above"),
        });
        holds &= finished && runs.is_some();
    }
    println!();
    for figure in figures {
        println!("{figure}");
    }
    Ok(holds)
}

fn parse<'a>(arguments: &[&'a str], default: Option<&str>) -> Result<(Option<&'a str>, u64)> {
    let (target, flags) = match arguments {
        [target, flags @ ..] if !target.starts_with('-') => (Some(*target), flags),
        flags => (None, flags),
    };
    let count = |text: &str| -> Result<u64> {
        let count = text.parse();
        Ok(count.map_err(|_| format!("`{text}` is not a number of seconds"))?)
    };
    let seconds = match flags {
        [] => default.map_or(Ok(SECONDS), count)?,
        ["--seconds", text] => count(text)?,
        other => return Err(format!("fuzz does not take `{}`", other.join(" ")).into()),
    };
    Ok((target, seconds))
}

/// The names of the binaries in the manifest: the targets.
fn targets(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse()?;
    let binaries = manifest.get("bin").and_then(toml::Value::as_array);
    let names = binaries
        .into_iter()
        .flatten()
        .filter_map(|binary| binary.get("name"));
    Ok(names.filter_map(toml::Value::as_str).map(str::to_owned).collect())
}

/// The count in libFuzzer's `stat::number_of_executed_units: N`.
fn executed(line: &str) -> Option<u64> {
    line.strip_prefix("stat::number_of_executed_units:")?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_a_time_may_be_given() {
        assert_eq!(parse(&[], None).unwrap(), (None, SECONDS));
        assert_eq!(parse(&[], Some("7")).unwrap(), (None, 7));
        assert_eq!(parse(&["a"], None).unwrap(), (Some("a"), SECONDS));
        assert_eq!(parse(&["--seconds", "5"], Some("7")).unwrap(), (None, 5));
        assert_eq!(parse(&["a", "--seconds", "5"], None).unwrap(), (Some("a"), 5));
        assert!(parse(&["a", "--seconds", "x"], None).is_err());
        assert!(parse(&[], Some("x")).is_err());
        assert!(parse(&["a", "b"], None).is_err());
    }

    #[test]
    fn targets_and_counts_are_read() {
        let manifest = "[[bin]]\nname = \"a\"\npath = \"a.rs\"\n[[bin]]\nname = \"b\"\n";
        assert_eq!(targets(manifest).unwrap(), ["a", "b"]);
        assert_eq!(
            executed("stat::number_of_executed_units: 4180000"),
            Some(4_180_000)
        );
        assert_eq!(executed("#4180000 DONE"), None);
    }
}
