//! `seed`: every Rust block of the overview, compiled in the class the ledger gives it.
//!
//! The overview is the users' document and is not kept here. The ledger knows its blocks by a
//! fingerprint; what surrounds a block so that it compiles is in `xtask/seed/preamble`, and our
//! own version of a block that could not be kept is in `xtask/seed/changed`. A block that is not
//! in the ledger, an entry without a block, a test that does not exist and a block that does not
//! compile in its class each fail the command.

mod ledger;
mod markdown;
mod scratch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::cargo::Metadata;
use crate::{Result, process};
use ledger::{Class, Entry, Ledger};
use markdown::Block;
use scratch::Scratch;

pub(crate) fn run(document: &Path) -> Result<bool> {
    let metadata = Metadata::load()?;
    let root = &metadata.workspace_root;
    let scratch = Scratch {
        folder: metadata.target_directory.join("seed"),
        target_directory: metadata.target_directory.clone(),
    };
    check(document, &root.join("xtask/seed"), root, &scratch)
}

/// Compares `document` with the ledger in `folder`; tests are looked for below `root`.
fn check(document: &Path, folder: &Path, root: &Path, scratch: &Scratch) -> Result<bool> {
    let blocks = markdown::rust_blocks(&process::read(document)?);
    let ledger: Ledger = toml::from_str(&process::read(&folder.join("ledger.toml"))?)
        .map_err(|error| format!("the ledger: {error}"))?;
    let joined = match ledger::join(&blocks, &ledger.entries) {
        Ok(joined) => joined,
        Err(problems) => return Ok(report(&problems)),
    };
    let modules = scratch::modules(folder, &joined)?;
    scratch.write(root, &ledger.dependencies, &modules)?;
    let errors = scratch.check()?;

    let mut problems: Vec<String> = joined
        .iter()
        .filter_map(|(_, entry)| entry.missing_test(root))
        .collect();
    let broken: BTreeSet<&str> = errors.keys().map(String::as_str).collect();
    table(&joined, &broken);
    problems.extend(errors.values().flatten().cloned());
    Ok(report(&problems))
}

fn report(problems: &[String]) -> bool {
    for problem in problems {
        println!("{}", problem.trim_end());
    }
    if problems.is_empty() {
        println!("seed: ok");
    } else {
        println!(
            "seed: FAILED, {} problems; the ledger is xtask/seed/ledger.toml",
            problems.len()
        );
    }
    problems.is_empty()
}

fn table(joined: &[(&Block, &Entry)], broken: &BTreeSet<&str>) {
    println!(
        "{:>3} {:>5} {:>5}  {:9}  what it shows",
        "no", "line", "lines", "class"
    );
    let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
    for (block, entry) in joined {
        let Block { order, line, .. } = block;
        let mark = if broken.contains(entry.name.as_str()) {
            "DOES NOT COMPILE: "
        } else {
            ""
        };
        println!(
            "{order:>3} {line:>5} {:>5}  {:9}  {mark}{}",
            block.lines(),
            entry.class,
            entry.title
        );
        if let Some(because) = &entry.because {
            println!("{:27}{because}", "");
        }
        if let Some(test) = &entry.test {
            println!("{:27}test: {test}", "");
        }
        *counts.entry(entry.class).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(class, count)| format!("{count} {class}"))
        .collect();
    println!("seed: {} blocks: {}", joined.len(), counts.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document, its ledger and the workspace around them, in the target directory.
    struct Sample {
        folder: std::path::PathBuf,
    }

    const DOCUMENT: &str = "# Sample\n\n```rust\nlet sum = add(1, 2);\n```\n\n```rust\nlet sum = add(1, later);\n```\n\n```rust\nfn gone(x: &NoSuchType);\n```\n";

    impl Sample {
        fn new(name: &str) -> Self {
            let target_directory = Metadata::load().unwrap().target_directory;
            let folder = target_directory.join("xtask").join(format!("seed-{name}"));
            let sample = Self { folder };
            sample.put("Cargo.toml", "[profile.dev]\ndebug = false\n");
            sample.put("Cargo.lock", "version = 4\n");
            sample.put("tests/sums.rs", "#[test]\nfn sums() {}\n");
            sample.put("overview.md", DOCUMENT);
            let preamble = "fn add(a: u8, b: u8) -> u8 { a + b }\nfn block() {\n    //@ block\n}\n";
            sample.put("seed/preamble/sum.rs", preamble);
            sample.put("seed/changed/gone.rs", "fn gone(x: &u8) {}\n");
            let ids: Vec<String> = markdown::rust_blocks(DOCUMENT).iter().map(Block::id).collect();
            let [first, second, third] = ids.as_slice() else {
                panic!("three blocks")
            };
            sample.put("seed/ledger.toml", &format!(
                "[dependencies]\n\
                 [[block]]\nname = \"sum\"\nid = \"{first}\"\ntitle = \"a sum\"\nclass = \"verbatim\"\npreamble = \"sum\"\ntest = \"tests/sums.rs::sums\"\n\
                 [[block]]\nname = \"annotated\"\nid = \"{second}\"\ntitle = \"a sum\"\nclass = \"annotated\"\nbecause = \"a number was missing\"\npreamble = \"sum\"\nreplace = [{{ old = \"later\", new = \"2\" }}]\ntest = \"tests/sums.rs::sums\"\n\
                 [[block]]\nname = \"gone\"\nid = \"{third}\"\ntitle = \"a type\"\nclass = \"changed\"\nbecause = \"the type is gone\"\ntest = \"tests/sums.rs::sums\"\n"
            ));
            sample
        }

        fn put(&self, path: &str, text: &str) {
            process::write(&self.folder.join(path), text).unwrap();
        }

        fn edit(&self, path: &str, old: &str, new: &str) {
            let text = process::read(&self.folder.join(path)).unwrap();
            assert!(text.contains(old), "{old} is not in {path}");
            self.put(path, &text.replacen(old, new, 1));
        }

        fn holds(&self) -> bool {
            let scratch = Scratch {
                folder: self.folder.join("scratch"),
                // Of its own: cargo takes two crates of one name for one.
                target_directory: self.folder.join("target"),
            };
            let root = &self.folder;
            check(&root.join("overview.md"), &root.join("seed"), root, &scratch).unwrap()
        }
    }

    #[test]
    fn a_document_that_matches_its_ledger_passes() {
        assert!(Sample::new("good").holds());
    }

    #[test]
    fn a_block_that_does_not_compile_in_its_class_fails() {
        let sample = Sample::new("does-not-compile");
        sample.edit("seed/changed/gone.rs", "&u8", "&NoSuchType");
        assert!(!sample.holds());
        sample.edit("seed/changed/gone.rs", "&NoSuchType", "&u8");
        assert!(sample.holds());
        sample.edit("seed/preamble/sum.rs", "b: u8", "b: &str");
        assert!(!sample.holds());
    }

    #[test]
    fn a_changed_document_fails() {
        let sample = Sample::new("document");
        sample.edit("overview.md", "add(1, 2)", "add(1, 3)");
        assert!(!sample.holds());
    }

    #[test]
    fn a_test_that_is_gone_fails() {
        let sample = Sample::new("test");
        sample.edit("tests/sums.rs", "#[test]", "#[test]\n#[ignore]");
        assert!(!sample.holds());
    }
}
