//! The ledger: what became of each block, why, and which test covers it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::markdown::Block;
use crate::source::is_word;

/// `xtask/seed/ledger.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// What the blocks are compiled against; a `path` is relative to the root of the workspace.
    pub(super) dependencies: toml::Table,
    #[serde(rename = "block")]
    pub(super) entries: Vec<Entry>,
}

/// What became of one block.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The name of the module it is compiled as, and by which preambles include it.
    pub(super) name: String,
    /// The fingerprint of the block's text.
    pub(super) id: String,
    /// What the block shows, in our words.
    pub(super) title: String,
    pub(super) class: Class,
    /// Why it is not taken to the letter.
    pub(super) because: Option<String>,
    /// `path/of/file.rs::name_of_the_test`.
    pub(super) test: Option<String>,
    /// The file in `xtask/seed/preamble` that surrounds it.
    pub(super) preamble: Option<String>,
    #[serde(default)]
    pub(super) replace: Vec<Replacement>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Class {
    /// Compiles as written, inside a preamble.
    Verbatim,
    /// Compiles after small replacements that the ledger lists.
    Annotated,
    /// Our own version, in `xtask/seed/changed`, compiles instead.
    Changed,
    /// Belongs to work that is not done yet.
    Later,
}

/// A text in a block, and what stands in its place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    pub(super) old: String,
    pub(super) new: String,
    /// How often `old` occurs.
    #[serde(default = "once")]
    pub(super) times: usize,
}

fn once() -> usize {
    1
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Verbatim => "verbatim",
            Self::Annotated => "annotated",
            Self::Changed => "changed",
            Self::Later => "later",
        })
    }
}

/// The entries with their blocks, in the order of the document, or everything that does not fit.
pub(super) fn join<'a>(
    blocks: &'a [Block],
    entries: &'a [Entry],
) -> Result<Vec<(&'a Block, &'a Entry)>, Vec<String>> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let mut by_id: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries {
        problems.extend(entry.problems());
        if !names.insert(&entry.name) {
            problems.push(format!("{}: two entries have this name", entry.name));
        }
        if by_id.insert(&entry.id, entry).is_some() {
            problems.push(format!("{}: another entry has its id {}", entry.name, entry.id));
        }
    }
    let mut joined = Vec::new();
    for block in blocks {
        match by_id.remove(block.id().as_str()) {
            Some(entry) => joined.push((block, entry)),
            None => problems.push(format!(
                "block {} at line {} is not in the ledger (or its text changed): id = \"{}\"",
                block.order,
                block.line,
                block.id()
            )),
        }
    }
    for entry in by_id.values() {
        problems.push(format!(
            "{}: no block has its id {} (any more)",
            entry.name, entry.id
        ));
    }
    if problems.is_empty() {
        Ok(joined)
    } else {
        Err(problems)
    }
}

impl Entry {
    /// What this entry says twice, or does not say.
    fn problems(&self) -> Vec<String> {
        let compiles = self.class != Class::Later;
        let takes_text = matches!(self.class, Class::Verbatim | Class::Annotated);
        let rules = [
            (
                self.name.is_empty() || !self.name.chars().all(is_word),
                "its name is no identifier",
            ),
            (self.title.trim().is_empty(), "it has no title"),
            (
                self.class != Class::Verbatim && self.because.as_ref().is_none_or(String::is_empty),
                "it does not say why (`because`)",
            ),
            (
                self.class == Class::Verbatim && self.because.is_some(),
                "verbatim needs no `because`",
            ),
            (compiles && self.test.is_none(), "it names no test"),
            (takes_text && self.preamble.is_none(), "it names no preamble"),
            (!takes_text && self.preamble.is_some(), "its preamble is not used"),
            (
                (self.class == Class::Annotated) == self.replace.is_empty(),
                "only an annotated block has replacements, and it has some",
            ),
        ];
        rules
            .into_iter()
            .filter(|(broken, _)| *broken)
            .map(|(_, what)| format!("{}: {what}", self.name))
            .collect()
    }

    /// The block's text with this entry's replacements.
    pub(super) fn annotate(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for Replacement { old, new, times } in &self.replace {
            let found = text.matches(old.as_str()).count();
            if found != *times || old.is_empty() {
                return Err(format!(
                    "{}: `{old}` occurs {found} times, not {times}",
                    self.name
                ));
            }
            text = text.replace(old.as_str(), new);
        }
        Ok(text)
    }

    /// Why the test this entry names does not exist, if it does not.
    pub(super) fn missing_test(&self, root: &Path) -> Option<String> {
        let test = self.test.as_deref()?;
        let Some((file, name)) = test.rsplit_once("::") else {
            return Some(format!("{}: `{test}` is not FILE::TEST", self.name));
        };
        let Ok(source) = std::fs::read_to_string(root.join(file)) else {
            return Some(format!("{}: there is no file {file}", self.name));
        };
        (!defines_test(&source, name))
            .then(|| format!("{}: {file} has no test `{name}` that runs", self.name))
    }
}

/// Whether `source` defines the test `name` and does not ignore it.
fn defines_test(source: &str, name: &str) -> bool {
    let declares = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(index, line)| {
        if !line
            .trim_start_matches("pub ")
            .trim_start_matches("async ")
            .starts_with(&declares)
        {
            return false;
        }
        let attributes: Vec<&&str> = lines
            .iter()
            .take(index)
            .rev()
            .take_while(|line| line.starts_with('#') || line.starts_with("//"))
            .collect();
        let has = |wanted: fn(&str) -> bool| attributes.iter().any(|line| wanted(line));
        has(|line| line.starts_with("#[") && line.contains("test"))
            && !has(|line| line.starts_with("#[ignore"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        Block {
            order: 1,
            line: 3,
            text: text.to_owned(),
        }
    }

    fn entry(text: &str, rest: &str) -> Entry {
        let id = block(text).id();
        toml::from_str(&format!("name = \"a\"\nid = \"{id}\"\ntitle = \"t\"\n{rest}")).unwrap()
    }

    #[test]
    fn blocks_and_entries_are_joined_one_to_one() {
        let blocks = [block("one\n"), block("two\n")];
        let mut later = entry("one\n", "class = \"later\"\nbecause = \"remote stores\"");
        later.name = "b".to_owned();
        let verbatim = entry("two\n", "class = \"verbatim\"\ntest = \"a::b\"\npreamble = \"p\"");
        let entries = [verbatim, later];
        let joined = join(&blocks, &entries).unwrap();
        let names: Vec<_> = joined.iter().map(|(_, entry)| entry.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let blocks = [block("new text\n")];
        let entries = [entry("old text\n", "class = \"later\"\nbecause = \"x\"")];
        let problems = join(&blocks, &entries).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("block 1 at line 3"))
        );
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("no block has its id"))
        );
        let twice = [entries[0].clone(), entries[0].clone()];
        assert_eq!(join(&[block("old text\n")], &twice).unwrap_err().len(), 2);
    }

    #[test]
    fn each_class_says_what_it_must() {
        let problems = |rest: &str| entry("x", rest).problems().len();
        assert_eq!(problems("class = \"later\""), 1);
        assert_eq!(problems("class = \"verbatim\""), 2);
        assert_eq!(
            problems("class = \"verbatim\"\ntest = \"a::b\"\npreamble = \"p\"\nbecause = \"x\""),
            1
        );
        assert_eq!(
            problems("class = \"annotated\"\ntest = \"a::b\"\npreamble = \"p\"\nbecause = \"x\""),
            1
        );
        assert_eq!(
            problems("class = \"changed\"\ntest = \"a::b\"\npreamble = \"p\"\nbecause = \"x\""),
            1
        );
        assert_eq!(
            problems("class = \"changed\"\ntest = \"a::b\"\nbecause = \"x\""),
            0
        );
    }

    #[test]
    fn a_replacement_matches_as_often_as_it_says() {
        let annotated = |times: usize| {
            entry(
                "x",
                &format!(
                    "class = \"annotated\"\nreplace = [{{ old = \"a\", new = \"b\", times = {times} }}]"
                ),
            )
        };
        assert_eq!(annotated(2).annotate("a a").unwrap(), "b b");
        assert!(
            annotated(1)
                .annotate("a a")
                .unwrap_err()
                .contains("occurs 2 times, not 1")
        );
    }

    #[test]
    fn a_named_test_must_exist_and_run() {
        let source = "#[test]\nfn here() {}\n#[tokio::test]\nasync fn later() {}\nfn plain() {}\n#[test]\n#[ignore = \"slow\"]\nfn ignored() {}\n";
        assert!(defines_test(source, "here"));
        assert!(defines_test(source, "later"));
        assert!(!defines_test(source, "plain"));
        assert!(!defines_test(source, "ignored"));
        assert!(!defines_test(source, "her"));
    }
}
