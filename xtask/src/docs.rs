//! `docs`: the book in `docs/`, checked and built.
//!
//! The checks need no mdBook and are part of `test`: links, the table of contents, and that every snippet is of a kind
//! which some test runs. The snippets themselves run elsewhere: Rust as doctests of the facade, consoles and scripts in
//! `crates/credential-cli/tests/book.rs`, where the generated pages are compared with the code as well.

mod markdown;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cargo::Metadata;
use crate::{Result, process, tools};

const SOURCE: &str = "docs/src";

/// Where the facade takes the pages with Rust snippets in as doctests.
const DOCTESTS: &str = "crates/credential-facade/src/book.rs";

/// Languages of code blocks, and what runs them: `rust` and `console` tests, the rest nothing.
const LANGUAGES: &[&str] = &["console", "json", "rust", "sh", "text", "toml"];

pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let metadata = Metadata::load()?;
    match arguments {
        [] => Ok(check(&metadata)? && build(&metadata)?),
        ["--check"] => Ok(check(&metadata)? && generated(&metadata, false)?),
        ["--write"] => Ok(generated(&metadata, true)? && check(&metadata)?),
        other => Err(format!("docs takes --check or --write, not `{}`", other.join(" ")).into()),
    }
}

/// Prints what is wrong with the Markdown of the repository, and whether nothing is.
pub(crate) fn check(metadata: &Metadata) -> Result<bool> {
    let root = &metadata.workspace_root;
    let mut flaws = Vec::new();
    let doctests = process::read(&root.join(DOCTESTS))?;
    let book = root.join(SOURCE);
    let pages = process::files(&book, "md")?;
    let contents = contents(&book)?;
    for page in &pages {
        let name = page.strip_prefix(&book)?;
        if name != Path::new("SUMMARY.md") && !contents.contains(page) {
            flaws.push(format!(
                "{}: is not in SUMMARY.md",
                metadata.relative(page).display()
            ));
        }
        let text = process::read(page)?;
        for block in markdown::blocks(&text) {
            if let Some(flaw) = block_flaw(&block, &name.display().to_string(), &doctests) {
                flaws.push(format!(
                    "{}:{}: {flaw}",
                    metadata.relative(page).display(),
                    block.line
                ));
            }
        }
    }
    let mut links = 0;
    for (name, text) in process::texts(root, &["*.md"])? {
        let path = root.join(&name);
        // What leaves the book leads nowhere once it is built.
        let bound = if path.starts_with(&book) { &book } else { root };
        for link in markdown::links(&text) {
            links += 1;
            if let Some(flaw) = link_flaw(&path, &link.target, bound) {
                flaws.push(format!("{name}:{}: {flaw}", link.line));
            }
        }
    }
    for flaw in &flaws {
        println!("{flaw}");
    }
    println!("  {} pages, {links} links, {} flaws", pages.len(), flaws.len());
    Ok(flaws.is_empty())
}

/// The pages that the table of contents names.
fn contents(book: &Path) -> Result<BTreeSet<PathBuf>> {
    let summary = process::read(&book.join("SUMMARY.md"))?;
    Ok(markdown::links(&summary)
        .into_iter()
        .map(|link| book.join(link.target))
        .collect())
}

fn block_flaw(block: &markdown::Block, page: &str, doctests: &str) -> Option<String> {
    let language = block.language.as_str();
    if !LANGUAGES.contains(&language) {
        return Some(format!(
            "`{language}` is no language of a code block here; use one of {}",
            LANGUAGES.join(", ")
        ));
    }
    let first = block.text.lines().next().unwrap_or_default();
    match language {
        "rust" if !doctests.contains(&format!("docs/src/{page}\"")) => {
            Some(format!("no test runs this Rust; add the page to {DOCTESTS}"))
        }
        "console" if !first.starts_with("$ ") => {
            Some("no test runs this; begin the console with `$ ` and a command".to_owned())
        }
        "sh" if !(first.starts_with("{{#include ") && block.text.lines().count() == 1) => {
            Some("no test runs this; use `console`, or include a script that a test runs".to_owned())
        }
        _ => None,
    }
}

/// What is wrong with a link from `page` to `target`, which must not leave `bound`.
fn link_flaw(page: &Path, target: &str, bound: &Path) -> Option<String> {
    // Other sites are not asked, and rustdoc checks paths of Rust items.
    if target.contains("://") || target.starts_with("mailto:") || target.contains("::") {
        return None;
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let file = match path {
        "" => page.to_path_buf(),
        path => page.parent()?.join(path),
    };
    let Ok(file) = file.canonicalize() else {
        return Some(format!("the link to {target} leads nowhere"));
    };
    if !bound.canonicalize().is_ok_and(|bound| file.starts_with(bound)) {
        return Some(format!(
            "the link to {target} leaves {}; name the file instead",
            bound.display()
        ));
    }
    let anchor = anchor?;
    let text = std::fs::read_to_string(&file).ok()?;
    (!markdown::anchors(&text).contains(anchor))
        .then(|| format!("the link to {target} names no heading of that page"))
}

/// Compares the generated pages with the code, or writes them.
fn generated(metadata: &Metadata, write: bool) -> Result<bool> {
    let mut command = process::cargo(&metadata.workspace_root);
    command.args([
        "test",
        "--quiet",
        "--package",
        "nebula-credential-cli",
        "--test",
        "book",
        "generated",
    ]);
    if write {
        command.env("NEBULA_BOOK_WRITE", "1");
    }
    process::status(&mut command)
}

/// Builds the book; a warning fails it.
fn build(metadata: &Metadata) -> Result<bool> {
    let root = &metadata.workspace_root;
    let program = tools::MDBOOK.program(root)?;
    let mut command = process::clean(program, root);
    command.args(["build", "docs"]);
    let mut warnings = 0;
    let succeeded = process::stream(&mut command, |line| {
        let words = line.split_whitespace().take(3);
        if words
            .into_iter()
            .any(|word| matches!(word, "WARN" | "ERROR" | "[WARN]" | "[ERROR]"))
        {
            warnings += 1;
        }
    })?;
    println!("  target/book/index.html, {warnings} warnings");
    Ok(succeeded && warnings == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw_of(text: &str) -> Option<String> {
        let blocks = markdown::blocks(text);
        block_flaw(
            blocks.first().unwrap(),
            "a.md",
            "include_str!(\"../docs/src/a.md\")",
        )
    }

    #[test]
    fn every_snippet_is_of_a_kind_that_something_runs() {
        assert_eq!(flaw_of("```console\n$ ncred list\n```\n"), None);
        assert_eq!(flaw_of("```rust\nfn main() {}\n```\n"), None);
        assert_eq!(flaw_of("```sh\n{{#include ../a.sh}}\n```\n"), None);
        assert!(flaw_of("```console\nncred list\n```\n").is_some());
        assert!(flaw_of("```sh\nncred list\n```\n").is_some());
        assert!(flaw_of("```bash\nncred list\n```\n").is_some());
        assert!(flaw_of("```\nncred list\n```\n").is_some());
        let blocks = markdown::blocks("```rust\nfn main() {}\n```\n");
        assert!(block_flaw(blocks.first().unwrap(), "b.md", "docs/src/a.md\"").is_some());
    }

    #[test]
    fn a_link_resolves_within_its_bound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = root.join("README.md");
        let flaw = |target| link_flaw(&page, target, &root);
        assert_eq!(flaw("CHANGELOG.md#unreleased"), None);
        assert_eq!(flaw("https://example.org/nowhere"), None);
        assert!(flaw("no-such-file.md").is_some());
        assert!(flaw("CHANGELOG.md#no-such-heading").is_some());
        assert!(link_flaw(&page, "CHANGELOG.md", &root.join("docs")).is_some());
    }
}
