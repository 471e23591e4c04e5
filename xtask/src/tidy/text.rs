//! Committed text: nothing that is true on one machine only, and a changelog that is kept.

use std::path::Path;

use super::Violation;
use crate::cargo::Metadata;
use crate::{Result, process};

/// The source that Cargo.lock may name: the public index, whatever mirror a machine uses.
const PUBLIC_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What no committed file may hold. Split, so that this file does not hold them either.
const MACHINE: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "reg"),
    concat!("replace-", "with"),
    concat!("index.crates.io-", "1949cf8c6b5b557f"),
];

pub(super) fn check(metadata: &Metadata) -> Result<Vec<Violation>> {
    let root = &metadata.workspace_root;
    let mut found = Vec::new();
    for (name, text) in process::texts(root, &[])? {
        let path = root.join(name);
        found.extend(machine_words(&path, &text));
        if path.file_name().is_some_and(|name| name == "Cargo.lock") {
            found.extend(lock_sources(&path, &text));
        }
    }
    let changelog = root.join("CHANGELOG.md");
    let text = std::fs::read_to_string(&changelog).unwrap_or_default();
    found.extend(changelog_violation(&changelog, &text));
    Ok(found)
}

fn machine_words(path: &Path, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in MACHINE.iter().filter(|word| begins(line, word)) {
            found.push(Violation::new(
                path,
                index + 1,
                format!("`{word}` is true on one machine only"),
                "use a relative path, or a name that stands for any machine",
            ));
        }
    }
    found
}

/// Whether `word` is in `line` other than inside a longer path.
fn begins(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(offset, _)| {
        let before = line.get(..offset).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| {
            before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '~' | '}' | '>')
        })
    })
}

fn lock_sources(path: &Path, text: &str) -> Vec<Violation> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let source = line.strip_prefix("source = \"")?.strip_suffix('"')?;
            (source != PUBLIC_INDEX).then(|| {
                Violation::new(
                    path,
                    index + 1,
                    "a package that is not from the public index",
                    "use a published version; no git sources and no mirror in the lock file",
                )
            })
        })
        .collect()
}

fn changelog_violation(path: &Path, text: &str) -> Option<Violation> {
    let has_section = text
        .lines()
        .any(|line| line.starts_with("## ") && line.to_lowercase().contains("unreleased"));
    (!has_section).then(|| {
        Violation::new(
            path,
            1,
            "no section `## Unreleased`",
            "write CHANGELOG.md with a section `## Unreleased` at the top",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_are_found_with_their_line() {
        let text = format!("fine\nsee {}main\n", concat!("/wo", "rk/"));
        let found = machine_words("a.md".as_ref(), &text);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|violation| violation.line == 2));
        assert!(
            machine_words(
                "a.md".as_ref(),
                "crates/work/x, ~/root, ./tmp/registry, homework/"
            )
            .is_empty()
        );
    }

    #[test]
    fn the_lock_file_names_the_public_index_only() {
        let good = format!("[[package]]\nname = \"a\"\nsource = \"{PUBLIC_INDEX}\"\n");
        assert!(lock_sources("Cargo.lock".as_ref(), &good).is_empty());
        let bad = "[[package]]\nsource = \"git+https://example.org/a\"\nsource = \"sparse+https://mirror.example.org/\"\n";
        assert_eq!(lock_sources("Cargo.lock".as_ref(), bad).len(), 2);
    }

    #[test]
    fn the_changelog_has_an_unreleased_section() {
        let path = Path::new("CHANGELOG.md");
        assert!(changelog_violation(path, "# Changelog\n\n## [Unreleased]\n").is_none());
        assert!(changelog_violation(path, "# Changelog\n\nUnreleased\n").is_some());
        assert!(changelog_violation(path, "").is_some());
    }
}
