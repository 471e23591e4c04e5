//! `tidy`: the rules of the repository that the compiler does not know.
//!
//! Each rule is one file and one function from what it looks at to the violations it finds; its
//! tests feed it small inputs that keep and break the rule.

mod features;
mod foreign_errors;
mod manifests;
mod sources;
mod star;
mod text;
mod tree;

use std::fmt;
use std::path::PathBuf;

use crate::Result;
use crate::cargo::Metadata;
use crate::source::Source;

/// A broken rule, where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: PathBuf,
    line: usize,
    what: String,
    remedy: &'static str,
}

impl Violation {
    fn new(file: impl Into<PathBuf>, line: usize, what: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            file: file.into(),
            line,
            what: what.into(),
            remedy,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            what,
            remedy,
        } = self;
        write!(f, "{}:{line}: {what}\n    remedy: {remedy}", file.display())
    }
}

pub(crate) fn run() -> Result<bool> {
    let metadata = Metadata::load()?;
    let holds = check(&metadata)?;
    if holds {
        println!("tidy: ok");
    }
    Ok(holds)
}

/// Checks every rule and prints what breaks one.
pub(crate) fn check(metadata: &Metadata) -> Result<bool> {
    let sources = library_sources(metadata)?;
    let mut violations = star::check(metadata);
    violations.extend(features::check_facade(metadata, &sources)?);
    violations.extend(tree::check(metadata)?);
    violations.extend(manifests::check(metadata)?);
    violations.extend(foreign_errors::check(&sources));
    violations.extend(sources::check(metadata, &sources)?);
    violations.extend(text::check(metadata)?);
    violations.sort();
    for violation in &mut violations {
        violation.file = metadata.relative(&violation.file).to_path_buf();
        println!("{violation}");
    }
    if !violations.is_empty() {
        println!("tidy: {} violations", violations.len());
    }
    Ok(violations.is_empty())
}

/// The non-test source of one package under `crates/`.
struct Library {
    package: String,
    sources: Vec<Source>,
}

/// Reads `crates/*/src` and takes the tests out of it.
fn library_sources(metadata: &Metadata) -> Result<Vec<Library>> {
    let mut libraries = Vec::new();
    for package in metadata.crates() {
        let mut sources = Vec::new();
        let mut test_files = Vec::new();
        for path in crate::process::files(&package.folder().join("src"), "rs")? {
            let mut source = Source::read(&path)?;
            for module in source.strip_tests() {
                let folder = module_folder(&path);
                test_files.push(folder.join(format!("{module}.rs")));
                test_files.push(folder.join(module));
            }
            sources.push(source);
        }
        sources.retain(|source| !test_files.iter().any(|file| source.path.starts_with(file)));
        libraries.push(Library {
            package: package.name.clone(),
            sources,
        });
    }
    Ok(libraries)
}

/// The folder in which the file at `path` keeps its child modules.
fn module_folder(path: &std::path::Path) -> PathBuf {
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => path
            .parent()
            .map(std::path::Path::to_path_buf)
            .unwrap_or_default(),
        Some(_) => path.with_extension(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_says_where_what_and_how_to_mend_it() {
        let violation = Violation::new("a/b.rs", 7, "a rule is broken", "mend it");
        assert_eq!(
            violation.to_string(),
            "a/b.rs:7: a rule is broken\n    remedy: mend it"
        );
    }

    #[test]
    fn child_modules_live_beside_a_root_and_below_other_files() {
        assert_eq!(module_folder("src/lib.rs".as_ref()), PathBuf::from("src"));
        assert_eq!(module_folder("src/a/mod.rs".as_ref()), PathBuf::from("src/a"));
        assert_eq!(module_folder("src/a.rs".as_ref()), PathBuf::from("src/a"));
    }
}
